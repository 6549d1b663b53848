"""A peripheral for the Bluetooth machine: an MCU (``firmware_bridge.device``) behind the Nordic UART Service.

Two virtual controllers on one virtual air: the kernel has the first (/dev/vhci), this peripheral the second. It prints
what it displays. SIGUSR1 takes it out of the air for three seconds and cuts the connection, as a reset does.
"""

import asyncio
import signal
import time

from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData
from bumble.device import Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport
from bumble.transport.common import AsyncPipeSink

from firmware_bridge.device import DeviceEffect, DeviceSession, Display, Send
from firmware_bridge.protocol import Received, Tick

NUS = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
RX = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
TX = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
ADDRESS = "F0:F1:F2:F3:F4:F5"
NOTIFICATION_BYTES = 20
AWAY_S = 3.0


class Air(LocalLink):
    """bumble 0.0.236 sends LE data from the random address, also where the connection was made by the public one."""

    def send_acl_data(self, sender, dest, transport, data):  # type: ignore[no-untyped-def]  # the library's own are untyped
        connections = sender.le_connections.values()
        source = next((each.self_address for each in connections if each.peer_address == dest), sender.random_address)
        found = self.find_le_controller(dest)
        if found is not None:
            asyncio.get_running_loop().call_soon(lambda: found.on_link_acl_data(source, transport, data))


class Peripheral:
    """One MCU in the air."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._session = DeviceSession()
        self._tasks: set[asyncio.Task[None]] = set()
        written = CharacteristicValue(write=self._written)
        properties = Characteristic.Properties
        receive = Characteristic(
            RX, properties.WRITE | properties.WRITE_WITHOUT_RESPONSE, Characteristic.WRITEABLE, written
        )
        self._send = Characteristic(TX, properties.NOTIFY, Characteristic.READABLE, b"")
        device.add_service(Service(NUS, [receive, self._send]))

    def _written(self, _connection: object, value: bytes) -> None:
        task = asyncio.ensure_future(self._carry_out(self._session.handle(Received(bytes(value)), time.monotonic())))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, effects: list[DeviceEffect]) -> None:
        for effect in effects:
            if isinstance(effect, Display):
                by_itself = " by itself" if effect.static else ""
                print(f"mcu: shows {effect.cue}{by_itself} {effect.text}".rstrip(), flush=True)
            elif isinstance(effect, Send):
                for at in range(0, len(effect.data), NOTIFICATION_BYTES):
                    await self._device.notify_subscribers(self._send, effect.data[at : at + NOTIFICATION_BYTES])

    async def keep_time(self) -> None:
        """Let cues end by their time to live."""
        while True:
            await asyncio.sleep(0.05)
            await self._carry_out(self._session.handle(Tick(), time.monotonic()))

    async def vanish(self) -> None:
        """Be gone, and come back having forgotten the host."""
        print("mcu: gone", flush=True)
        await self._device.stop_advertising()
        for connection in list(self._device.connections.values()):
            await connection.disconnect()
        self._session = DeviceSession()
        await asyncio.sleep(AWAY_S)
        await self._device.start_advertising(auto_restart=True)
        print("mcu: back", flush=True)


async def main() -> None:
    """Be in the air until the machine goes off."""
    air = Air()
    kernel = await open_transport("vhci")
    Controller("kernel", host_source=kernel.source, host_sink=kernel.sink, link=air, public_address="00:11:22:33:44:55")
    controller = Controller("mcu", link=air, public_address=ADDRESS)
    device = Device(name="TAP-MCU", address=Address(ADDRESS), host=Host(controller, AsyncPipeSink(controller)))
    peripheral = Peripheral(device)
    fields = [
        (AdvertisingData.FLAGS, bytes([6])),
        (AdvertisingData.COMPLETE_LOCAL_NAME, b"TAP-MCU"),
        (AdvertisingData.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, bytes(UUID(NUS))),
    ]
    device.advertising_data = bytes(AdvertisingData(fields))
    await device.power_on()
    await device.start_advertising(auto_restart=True)
    loop = asyncio.get_running_loop()
    vanishing: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGUSR1, lambda: vanishing.add(asyncio.ensure_future(peripheral.vanish())))
    print("mcu: in the air", flush=True)
    await peripheral.keep_time()


if __name__ == "__main__":
    asyncio.run(main())

"""One way to a device with the Nordic UART Service: scan, connect, subscribe, talk, leave. The only importer of bleak.

No call into bluetoothd is waited for longer than its time: what does not return is cut off, and bluetoothd is told to
forget the device, which it otherwise believes for hours to be in progress.
"""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from bleak import BleakClient, BleakScanner
from bleak.backends.bluezdbus.manager import get_global_bluez_manager
from bleak.backends.bluezdbus.version import BlueZFeatures
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode

from firmware_bridge.links import bluez
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.bounded import bounded
from firmware_bridge.links.talk import Talk
from firmware_bridge.printable import printable
from firmware_bridge.protocol import Effect, HostSession, Received

T = TypeVar("T")

NUS_SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
NUS_RX = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
"""The host writes here, without response."""
NUS_TX = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
"""The MCU notifies here."""
SMALLEST_PIECE = 20
"""The smallest ATT MTU is 23, and a write command takes 3 of it (Bluetooth Core, Vol 3, Part F, 3.2.8 and 3.4.5.3)."""
_ADDRESS = re.compile(r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}", re.IGNORECASE)
_MAX_TEXT = 120
_PAIRING = (
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHORIZATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
)
# What bleak lets through, beside its own errors, where an object of bluetoothd goes away between two of its steps.
_BLEAK_FAILS = (BleakError, OSError, EOFError, AssertionError, AttributeError, KeyError)

# bleak's check runs a program; cut off once, it would be waited for by every later connect in this process, for ever.
# BlueZ 5.55, which it asks for, is older than any Debian that has Python 3.11.
BlueZFeatures.checked_bluez_version = True

# What it warns of becomes a LinkError, which a bridge tells once; bleak would tell it with each attempt.
logging.getLogger("bleak").setLevel(logging.CRITICAL + 1)

# bluetoothd's name on the bus when bleak last took its picture of it.
_pictured: WeakKeyDictionary[asyncio.AbstractEventLoop, str] = WeakKeyDictionary()
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that each step may take; nothing is waited for beyond them."""

    scan_s: float = 10.0
    same_name_s: float = 0.5
    """How long a scan by name goes on after its first find, for a second device of that name."""
    connect_s: float = 15.0
    """Connection and discovery of the services."""
    ask_s: float = 3.0
    """Anything else that bluetoothd is asked."""
    write_s: float = 2.0
    leave_s: float = 3.0
    """Disconnection."""
    tidy_s: float = 0.5
    """What a step that was cut off has to tidy up."""


def is_address(target: str) -> bool:
    """Whether this is the address of a device, as AA:BB:CC:DD:EE:FF; anything else is a name."""
    return _ADDRESS.fullmatch(target) is not None


def turn() -> asyncio.Lock:
    """One scan or connect at a time: an adapter does either, and bluetoothd refuses a process its second scan."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _claim(address: str) -> socket.socket:
    """Be the only process of this machine that drives a screen, until the socket is closed or the process ends."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0firmware-bridge/ble/{address.upper()}")
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise LinkError(LinkFault.IO, f"its lock cannot be taken: {error.strerror}") from error
        text = "another process drives this screen: the agent, or a firmware-bridge command"
        raise LinkError(LinkFault.BUSY, text) from None
    return claim


class Attempt:
    """One way from the scan to the end of the connection; ``close`` is called whatever happened."""

    def __init__(self, target: str, adapter: str | None, timeouts: Timeouts) -> None:
        self.where = ""
        self._target = target
        self._by_address = is_address(target)
        self._adapter = adapter
        self._timeouts = timeouts
        self._stale: list[str] = []
        """Objects that bluetoothd is to forget if the attempt fails. A paired one never: a person has paired it."""
        self._claim: socket.socket | None = None
        self._client: BleakClient | None = None
        self._ends: tuple[BleakGATTCharacteristic, BleakGATTCharacteristic] | None = None
        self._talk: Talk | None = None
        self._lost = False

    async def connect(self) -> None:
        """Find the device, see that nobody else drives it, connect, find its service; raises LinkError."""
        radio = await bluez.look(self._adapter, within_s=self._timeouts.ask_s)
        await self._renew_picture(radio.owner)
        device, heard = await self._find(radio)
        self._claim = _claim(device.address)
        self.where = f"{device.address} on {radio.adapter}{heard}"
        if not device.details["props"].get("Paired"):
            self._stale = [device.details["path"]]
        client = BleakClient(
            device,
            self._disconnected,
            services=[NUS_SERVICE],
            timeout=self._timeouts.connect_s,
            bluez={"adapter": radio.adapter},
        )
        self._client = client

        async def connecting() -> tuple[BleakGATTCharacteristic | None, BleakGATTCharacteristic | None]:
            await client.connect()
            return client.services.get_characteristic(NUS_RX), client.services.get_characteristic(NUS_TX)

        rx, tx = await self._step("connecting", connecting(), self._timeouts.connect_s)
        if rx is None or tx is None:
            raise LinkError(LinkFault.NOT_FOUND, "no Nordic UART Service: this is no screen, or has another firmware")
        self._ends = rx, tx

    def join(self, session: HostSession, tell: Callable[[Effect, float], None]) -> Talk:
        """Join a session to the characteristics of the service."""
        client, ends = self._client, self._ends
        assert client is not None and ends is not None  # noqa: S101, PT018 - connect() has returned
        rx, _ = ends

        async def write(piece: bytes) -> None:
            await self._step("writing", client.write_gatt_char(rx, piece, response=False), self._timeouts.write_s)

        # bluetoothd tells the MTU from 5.62 on, and may tell it late; what it does not tell is the smallest.
        self._talk = Talk(
            session,
            write=write,
            piece_size=lambda: max(SMALLEST_PIECE, rx.max_write_without_response_size),
            tell=tell,
        )
        return self._talk

    async def run(self) -> None:
        """Subscribe and talk until the end; raises LinkError."""
        client, ends, talk = self._client, self._ends, self._talk
        assert client is not None and ends is not None and talk is not None  # noqa: S101, PT018 - join() has returned
        if self._lost:
            raise _disconnected()
        subscribing = client.start_notify(ends[1], lambda _, data: talk.handle(Received(bytes(data))))
        await self._step("subscribing", subscribing, self._timeouts.ask_s)
        await talk.run()

    async def close(self, *, failed: bool) -> None:
        """Leave nothing open behind; bluetoothd forgets a device that failed otherwise than by going away."""
        answered = self._talk is not None and self._talk.session.heard_at is not None
        try:
            if self._client:
                with suppress(LinkError):  # it is given up anyway
                    await self._step("disconnecting", self._client.disconnect(), self._timeouts.leave_s)
            if failed and not (self._lost and answered):
                for path in self._stale:
                    with suppress(LinkError):  # the next attempt says what is wrong with bluetoothd
                        await bluez.remove(path, within_s=self._timeouts.ask_s)
        finally:
            if self._claim:
                self._claim.close()

    async def _renew_picture(self, owner: str) -> None:
        """After a crash of bluetoothd, bleak believes for ever in the connections of before: let it look anew."""
        loop = asyncio.get_running_loop()
        before, _pictured[loop] = _pictured.get(loop, owner), owner
        if before != owner:
            manager = await self._step("asking bluetoothd", get_global_bluez_manager(), self._timeouts.ask_s)
            if bus := manager._bus:  # noqa: SLF001 - it looks anew on a new connection only
                bus.disconnect()

    async def _find(self, radio: bluez.Radio) -> tuple[BLEDevice, str]:
        """Return the device and how well it was heard. One that is connected does not advertise: no scan finds it."""
        known = [device for device in radio.devices if self._is_target(device.address, device.name)]
        for there in known:
            if there.connected:
                details = {"path": there.path, "props": there.properties}
                return BLEDevice(there.address, there.name, details), ""
        found = await self._scan(radio.adapter)
        if not found:
            self._stale = [there.path for there in known if not there.paired]
            text = f"not found in {self._timeouts.scan_s:g} s: is it on, in reach, and connected to nobody else?"
            raise LinkError(LinkFault.NOT_FOUND, text)
        if len(found) > 1:
            text = f"{len(found)} devices have this name, configure the address: {', '.join(sorted(found))}"
            raise LinkError(LinkFault.BUSY, text)
        ((device, advertisement),) = found.values()
        return device, f", {advertisement.rssi} dBm"

    async def _scan(self, adapter: str) -> dict[str, tuple[BLEDevice, AdvertisementData]]:
        found: dict[str, tuple[BLEDevice, AdvertisementData]] = {}
        heard = asyncio.Event()

        def detected(device: BLEDevice, advertisement: AdvertisementData) -> None:
            if self._is_target(device.address, advertisement.local_name or device.name or ""):
                found[device.address] = device, advertisement
                heard.set()

        scanner = BleakScanner(detected, bluez={"adapter": adapter})
        ended = False
        try:
            await self._step("scanning", scanner.start(), self._timeouts.ask_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeouts.scan_s):
                    await heard.wait()
            if found and not self._by_address:
                await asyncio.sleep(self._timeouts.same_name_s)
            await self._step("scanning", scanner.stop(), self._timeouts.ask_s)
            ended = True
        except LinkError as error:
            if error.fault is not LinkFault.UNPLUGGED:
                raise
            raise LinkError(LinkFault.NOT_FOUND, f"the Bluetooth adapter {adapter} went away") from error
        finally:
            if not ended:
                await self._end_scan(scanner, adapter)
        return found

    async def _end_scan(self, scanner: BleakScanner, adapter: str) -> None:
        """A scan whose start was cut off may run on in bluetoothd, which then refuses every other as in progress."""
        with suppress(LinkError):
            await self._step("scanning", scanner.stop(), self._timeouts.ask_s)
        with suppress(LinkError):
            manager = await self._step("scanning", get_global_bluez_manager(), self._timeouts.ask_s)
            if bus := manager._bus:  # noqa: SLF001 - only the connection that began a scan can end it
                await bluez.stop_discovery(bus, adapter, within_s=self._timeouts.ask_s)

    def _is_target(self, address: str, name: str) -> bool:
        return address.upper() == self._target.upper() if self._by_address else name == self._target

    def _disconnected(self, _: BleakClient) -> None:
        self._lost = True
        if self._talk:
            self._talk.end(_disconnected())

    async def _step(self, what: str, call: Coroutine[Any, Any, T], within_s: float) -> T:
        """Make one call of bleak, cut off after ``within_s``; raises LinkError for whatever comes of it."""
        try:
            return await bounded(call, within_s, grace_s=self._timeouts.tidy_s)
        except TimeoutError:
            raise LinkError(LinkFault.NO_ANSWER, f"{what}: cut off after {within_s:g} s") from None
        except BleakDBusError as error:
            said = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], str) else None
            reason = bluez.explained(error.dbus_error, said)
            raise LinkError(reason.fault, f"{what}: {reason.text}") from error
        except BleakGATTProtocolError as error:
            name = "org.bluez.Error.NotAuthorized" if error.code in _PAIRING else ""
            reason = bluez.explained(name, str(error.args[1]))
            raise LinkError(reason.fault, f"{what}: {reason.text}") from error
        except _BLEAK_FAILS as error:
            said = printable(str(error), _MAX_TEXT) or type(error).__name__
            raise LinkError(LinkFault.IO, f"{what}: {said}") from error


def _disconnected() -> LinkError:
    return LinkError(LinkFault.UNPLUGGED, "disconnected: out of reach, switched off or restarted")

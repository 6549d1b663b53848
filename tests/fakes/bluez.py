"""A Bluetooth adapter and screens in reach, behind a fake org.bluez on a private D-Bus; the real bleak runs above it.

Each screen is the real MCU's end of the protocol. What bluetoothd and radio do wrong in the field is in `Faults`.
"""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceEvent, DeviceSession, Display, Raise, Restart, Send
from firmware_bridge.links.nus import NUS_RX, NUS_SERVICE, NUS_TX
from firmware_bridge.messages import McuEvent
from firmware_bridge.protocol import Received, Tick
from tests.system_parts import PARTS

HCI0 = "/org/bluez/hci0"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
SERVICE, CHARACTERISTIC = "org.bluez.GattService1", "org.bluez.GattCharacteristic1"
_DBUS = "org.freedesktop.DBus"
_ADVERTISE_EVERY_S = 0.03

_BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="signal"/><allow receive_type="method_call"/>
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>{deny}
  </policy>
</busconfig>
"""


@dataclass
class Faults:
    """What goes wrong; change it at any time."""

    connect: str = ""
    """``never`` answers, is ``in-progress`` for ever, ends with ``abort``."""
    failing_connects: int = 0
    """How many attempts to connect fail before one does not."""
    stale: bool = False
    """No attempt to connect ends until bluetoothd has been told to forget the device."""
    scan: str = ""
    """StartDiscovery ``never`` answers, and yet scans."""
    hidden: bool = False
    """No screen is heard."""
    unresolved: bool = False
    """The services are never told."""
    subscribe_never: bool = False
    write_never: bool = False
    disconnect_never: bool = False
    mute: bool = False
    """Notifications are lost."""
    denied: bool = False
    """Reading and writing need pairing."""


@dataclass
class Screen:
    """One screen in reach: a radio and the MCU behind it."""

    name: str = "TAP-MCU"
    mtu: int | None = 185
    """ATT MTU; None: a bluetoothd that does not tell it."""
    address: str = field(default_factory=lambda: ":".join(f"{random.randrange(256):02X}" for _ in range(6)))
    paired: bool = False
    nus: bool = True
    service: str = "service0010"
    """Its handle, as bluetoothd writes it; another firmware may have another one."""
    session: DeviceSession = field(default_factory=DeviceSession)
    shown: list[Display] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    """Sizes of what was written."""
    connects: int = 0
    connected: bool = False
    connecting: bool = False
    notifying: bool = False
    _timer: asyncio.TimerHandle | None = None

    @property
    def path(self) -> str:
        return f"{HCI0}/dev_{self.address.replace(':', '_')}"

    @property
    def cues(self) -> list[CueName]:
        """What a host had shown, oldest first."""
        return [display.cue for display in self.shown if not display.static]


class PrivateBus:
    """A dbus-daemon of its own, at ``address`` (DBUS_SYSTEM_BUS_ADDRESS); ``deny``: nobody may speak to bluetoothd."""

    def __init__(self, folder: Path, *, deny: bool = False) -> None:
        config = folder / "bus.conf"
        denied = '<deny send_destination="org.bluez"/>' if deny else ""
        config.write_text(_BUS.format(folder=folder, deny=denied), encoding="utf-8")
        command = [str(PARTS["dbus-daemon"].find()), f"--config-file={config}", "--nofork", "--nopidfile"]
        self._daemon = subprocess.Popen([*command, "--print-address"], stdout=subprocess.PIPE, text=True)
        assert self._daemon.stdout is not None
        self.address = self._daemon.stdout.readline().strip()

    def close(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        assert self._daemon.stdout is not None
        self._daemon.stdout.close()

    async def connections(self) -> int:
        """How many connections the bus has, this question's excluded."""
        bus = await MessageBus(bus_address=self.address).connect()
        reply = await bus.call(Message(destination=_DBUS, path="/", interface=_DBUS, member="ListNames"))
        bus.disconnect()
        await bus.wait_for_disconnect()
        return sum(name.startswith(":") for name in reply.body[0]) - 1

    async def has_connections(self, most: int) -> None:
        """Wait until it has no more than so many: the bus comes to the end of a closed one when it is its turn."""
        async with asyncio.timeout(30):
            while await self.connections() > most:  # noqa: ASYNC110 - the bus is another process
                await asyncio.sleep(0.02)


class FakeBluez:
    """bluetoothd with the adapter hci0; ``start`` and ``crash`` as often as wanted."""

    def __init__(self, address: str, *screens: Screen) -> None:
        self.faults = Faults()
        self.screens = screens or (Screen(),)
        self.calls: list[str] = []
        """Members called so far, as bluetoothd saw them."""
        self.powered = True
        self.adapters = ("hci0",)
        self._address = address
        self._bus: MessageBus | None = None
        self._objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self._scanning: set[str] = set()
        self._advertising: asyncio.Task[None] | None = None

    @property
    def screen(self) -> Screen:
        """The only screen, or the first."""
        return self.screens[0]

    @property
    def scanning(self) -> bool:
        return bool(self._scanning)

    # Life.

    async def start(self) -> None:
        self._objects = {f"/org/bluez/{name}": {ADAPTER: self._adapter()} for name in self.adapters}
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._handle)
        for screen in self.screens:
            screen.connected = screen.connecting = screen.notifying = False
            if screen.paired:
                self._add(screen.path, {DEVICE: self._device(screen)})
        await self._bus.request_name("org.bluez")
        self._advertising = asyncio.create_task(self._advertise())

    async def crash(self) -> None:
        """bluetoothd is killed: its name goes, and nobody is told of anything else. Idempotent."""
        if self._bus is None or self._advertising is None:
            return
        self._advertising.cancel()
        await asyncio.gather(self._advertising, return_exceptions=True)
        bus, self._bus = self._bus, None
        bus.disconnect()
        with contextlib.suppress(EOFError):
            await bus.wait_for_disconnect()
        self._objects.clear()
        self._scanning.clear()
        for screen in self.screens:
            self._restart_timer(screen, None)

    def power(self, on: bool) -> None:
        """Switch the adapter off or on, as `bluetoothctl power` and a flight mode key do."""
        self.powered = on
        if not on:
            self._scanning.clear()
            for screen in self.screens:
                self.drop(screen)
        self._change(HCI0, ADAPTER, {"Powered": Variant("b", on)})

    def drop(self, screen: Screen | None = None) -> None:
        """Lose the connection."""
        screen = screen or self.screen
        screen.connecting = False
        if screen.connected:
            screen.connected = screen.notifying = False
            for path in [path for path in self._objects if path.startswith(f"{screen.path}/")]:
                self._remove(path)
            self._change(screen.path, DEVICE, {"Connected": Variant("b", False)})
            self._change(screen.path, DEVICE, {"ServicesResolved": Variant("b", False)})

    def hold_connected(self) -> None:
        """Leave the screen connected, as an agent that was killed does."""
        self._add(self.screen.path, {DEVICE: self._device(self.screen)})
        self._connected(self.screen)

    def restart_mcu(self) -> None:
        self.screen.session = DeviceSession()

    def raise_event(self, event: McuEvent) -> None:
        self._run(self.screen, Raise(event))

    # Objects.

    def _adapter(self) -> dict[str, Variant]:
        return {
            "Address": Variant("s", "00:11:22:33:44:55"),
            "Powered": Variant("b", self.powered),
            "Roles": Variant("as", ["central", "peripheral"]),
        }

    def _device(self, screen: Screen) -> dict[str, Variant]:
        return {
            "Address": Variant("s", screen.address),
            "Name": Variant("s", screen.name),
            "Alias": Variant("s", screen.name),
            "Adapter": Variant("o", HCI0),
            "Paired": Variant("b", screen.paired),
            "Connected": Variant("b", screen.connected),
            "ServicesResolved": Variant("b", False),
            "UUIDs": Variant("as", [NUS_SERVICE]),
            "RSSI": Variant("n", -50),
        }

    def _add(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        self._objects[path] = interfaces
        self._signal("/", f"{_DBUS}.ObjectManager", "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def _remove(self, path: str) -> None:
        interfaces = list(self._objects.pop(path))
        self._signal("/", f"{_DBUS}.ObjectManager", "InterfacesRemoved", "oas", [path, interfaces])

    def _change(self, path: str, interface: str, changed: dict[str, Variant]) -> None:
        if path in self._objects:
            self._objects[path][interface].update(changed)
            self._signal(path, f"{_DBUS}.Properties", "PropertiesChanged", "sa{sv}as", [interface, changed, []])

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    async def _advertise(self) -> None:
        while True:
            await asyncio.sleep(_ADVERTISE_EVERY_S)
            for screen in self.screens if self._scanning and not self.faults.hidden else ():
                if screen.connected:
                    continue
                if screen.path in self._objects:
                    self._change(screen.path, DEVICE, {"RSSI": Variant("n", -random.randrange(40, 60))})
                else:
                    self._add(screen.path, {DEVICE: self._device(screen)})

    # Calls.

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface == f"{_DBUS}.Peer":
            return None
        member = str(message.member)
        self.calls.append(member)
        if message.path == "/" and member == "GetManagedObjects":
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects])
        if message.path not in self._objects:
            return Message.new_error(message, f"{_DBUS}.Error.UnknownObject", f"no object {message.path}")
        try:
            answered = getattr(self, f"_{member}")(message)
        except DBusError as error:
            return Message.new_error(message, error.type, error.text)
        return Message.new_method_return(message) if answered is not False else True

    def _SetDiscoveryFilter(self, message: Message) -> None:  # noqa: N802 - bluetoothd's own word
        pass

    def _StartDiscovery(self, message: Message) -> bool | None:  # noqa: N802 - as above
        if not self.powered:
            raise DBusError("org.bluez.Error.NotReady", "Resource Not Ready")
        if message.sender in self._scanning:
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
        self._scanning.add(str(message.sender))
        return None if self.faults.scan != "never" else False

    def _StopDiscovery(self, message: Message) -> None:  # noqa: N802 - as above
        if message.sender not in self._scanning:
            raise DBusError("org.bluez.Error.Failed", "No discovery started")
        self._scanning.discard(str(message.sender))

    def _RemoveDevice(self, message: Message) -> None:  # noqa: N802 - as above
        screen = next((found for found in self.screens if found.path == message.body[0]), None)
        if screen is None or screen.path not in self._objects:
            raise DBusError("org.bluez.Error.DoesNotExist", "Does Not Exist")
        self.drop(screen)
        self._remove(screen.path)
        self.faults.stale = False

    def _of(self, message: Message) -> Screen:
        return next(screen for screen in self.screens if str(message.path).startswith(screen.path))

    def _Connect(self, message: Message) -> bool | None:  # noqa: N802 - as above
        screen = self._of(message)
        screen.connects += 1
        if screen.connecting or self.faults.connect == "in-progress":
            raise DBusError("org.bluez.Error.InProgress", "Operation already in progress")
        if self.faults.connect == "never" or self.faults.stale:
            screen.connecting = True
            return False
        if self.faults.connect == "abort":
            raise DBusError("org.bluez.Error.Failed", "le-connection-abort-by-local")
        if self.faults.failing_connects:
            self.faults.failing_connects -= 1
            raise DBusError("org.bluez.Error.Failed", "Software caused connection abort")
        self._connected(screen)
        return None

    def _connected(self, screen: Screen) -> None:
        screen.connected = True
        self._change(screen.path, DEVICE, {"Connected": Variant("b", True)})
        if self.faults.unresolved:
            return
        service = f"{screen.path}/{screen.service}"
        if screen.nus:
            self._add(service, {SERVICE: {"UUID": Variant("s", NUS_SERVICE), "Device": Variant("o", screen.path)}})
            for number, uuid, flag in (("1", NUS_RX, "write-without-response"), ("3", NUS_TX, "notify")):
                characteristic = {
                    "UUID": Variant("s", uuid),
                    "Service": Variant("o", service),
                    "Flags": Variant("as", [flag]),
                }
                if screen.mtu is not None:
                    characteristic["MTU"] = Variant("q", screen.mtu)
                self._add(f"{service}/char{screen.service[-4:-1]}{number}", {CHARACTERISTIC: characteristic})
        self._change(screen.path, DEVICE, {"ServicesResolved": Variant("b", True)})

    def _Disconnect(self, message: Message) -> bool | None:  # noqa: N802 - as above
        if self.faults.disconnect_never:
            return False
        screen = self._of(message)
        if not screen.connected and not screen.connecting:
            raise DBusError("org.bluez.Error.NotConnected", "Not Connected")
        if self.faults.connect == "never":  # such a one is not impressed
            return None
        self.drop(screen)
        return None

    def _StartNotify(self, message: Message) -> bool | None:  # noqa: N802 - as above
        if self.faults.denied:
            raise DBusError("org.bluez.Error.NotAuthorized", "Not Authorized")
        if self.faults.subscribe_never:
            return False
        self._of(message).notifying = True
        return None

    def _WriteValue(self, message: Message) -> bool | None:  # noqa: N802 - as above
        if self.faults.write_never:
            return False
        screen = self._of(message)
        data, options = message.body
        assert options["type"].value == "command", "a write without response was promised"
        screen.pieces.append(len(data))
        if len(data) > (screen.mtu or 23) - 3:
            raise DBusError("org.bluez.Error.InvalidArguments", "Invalid Length")
        self._run(screen, Received(bytes(data)))
        return None

    # The MCU.

    def _run(self, screen: Screen, event: DeviceEvent) -> None:
        for effect in screen.session.handle(event, time.monotonic()):
            match effect:
                case Send(data=data):
                    self._notify(screen, data)
                case Display():
                    screen.shown.append(effect)
                case Restart():
                    screen.session = DeviceSession()
        self._restart_timer(screen, screen.session.due)

    def _restart_timer(self, screen: Screen, due: float | None) -> None:
        if screen._timer:
            screen._timer.cancel()
        if due is not None:
            delay = max(0.0, due - time.monotonic())
            screen._timer = asyncio.get_running_loop().call_later(delay, self._run, screen, Tick())

    def _notify(self, screen: Screen, data: bytes) -> None:
        size = (screen.mtu or 23) - 3
        for at in range(0, len(data) if screen.notifying and not self.faults.mute else 0, size):
            changed = {"Value": Variant("ay", data[at : at + size])}
            self._change(f"{screen.path}/{screen.service}/char{screen.service[-4:-1]}3", CHARACTERISTIC, changed)


@asynccontextmanager
async def bluetooth(folder: Path, *screens: Screen) -> AsyncIterator[tuple[FakeBluez, PrivateBus]]:
    """A private bus with a running bluetoothd; the caller sets DBUS_SYSTEM_BUS_ADDRESS to the bus's address."""
    bus = PrivateBus(folder)
    bluez = FakeBluez(bus.address, *screens)
    try:
        await bluez.start()
        yield bluez, bus
    finally:
        await bluez.crash()
        bus.close()

"""What bluetoothd says of adapters and devices, asked over D-Bus anew each time. The only importer of dbus-fast.

bleak keeps a picture of its own in this process, which is out of date once bluetoothd has crashed; what is connected,
stale or switched off is decided by what is asked here. Each question has a connection of its own, closed behind it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from dbus_fast import AuthError, BusType, Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.bounded import bounded
from firmware_bridge.printable import printable

_BLUEZ = "org.bluez"
_ADAPTER = "org.bluez.Adapter1"
_DEVICE = "org.bluez.Device1"
_MAX_TEXT = 120

# Error names of D-Bus and of bluetoothd (doc/org.bluez.*.rst) -> what it is for us, and what helps.
_NOT_RUNNING = (LinkFault.NOT_FOUND, "bluetoothd does not run: apt install bluez, systemctl enable --now bluetooth")
_NOT_ALLOWED = (LinkFault.NO_PERMISSION, "this user may not speak to bluetoothd: add it to the group bluetooth")
_HANGS = (LinkFault.NO_ANSWER, "bluetoothd does not answer: systemctl restart bluetooth")
_GONE = (LinkFault.UNPLUGGED, "the connection is gone")
_PAIRING = (LinkFault.NO_PERMISSION, "the screen asks for pairing; its firmware must not")
_REASONS = {
    "org.freedesktop.DBus.Error.ServiceUnknown": _NOT_RUNNING,
    "org.freedesktop.DBus.Error.NameHasNoOwner": _NOT_RUNNING,
    "org.freedesktop.DBus.Error.Spawn.ServiceNotFound": _NOT_RUNNING,
    "org.freedesktop.DBus.Error.Spawn.ExecFailed": _NOT_RUNNING,
    "org.freedesktop.systemd1.NoSuchUnit": _NOT_RUNNING,
    "org.freedesktop.systemd1.UnitMasked": _NOT_RUNNING,
    "org.freedesktop.DBus.Error.AccessDenied": _NOT_ALLOWED,
    "org.freedesktop.DBus.Error.AuthFailed": _NOT_ALLOWED,
    "org.freedesktop.DBus.Error.NoReply": _HANGS,
    "org.freedesktop.DBus.Error.TimedOut": _HANGS,
    "org.freedesktop.DBus.Error.Timeout": _HANGS,
    "org.freedesktop.DBus.Error.UnknownObject": _GONE,
    "org.freedesktop.DBus.Error.UnknownMethod": _GONE,
    "org.bluez.Error.DoesNotExist": _GONE,
    "org.bluez.Error.NotConnected": _GONE,
    "org.bluez.Error.InProgress": (LinkFault.BUSY, "bluetoothd is still at an earlier attempt, which is cut off now"),
    "org.bluez.Error.NotReady": (LinkFault.NOT_FOUND, "the Bluetooth adapter is off: bluetoothctl power on"),
    "org.bluez.Error.NotAuthorized": _PAIRING,
    "org.bluez.Error.NotPermitted": _PAIRING,
    "org.bluez.Error.AuthenticationFailed": _PAIRING,
}


@dataclass(frozen=True, slots=True)
class Device:
    """A device that bluetoothd has an object for; ``name`` is empty where it told none, and is the peer's word."""

    path: str
    address: str
    name: str
    connected: bool
    paired: bool
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Radio:
    """An adapter that is there and switched on ("hci0"), and the devices that bluetoothd knows at it.

    ``owner`` is bluetoothd's name on the bus, another one after each of its starts.
    """

    owner: str
    adapter: str
    devices: tuple[Device, ...]


def explained(name: str, text: str | None = None) -> LinkError:
    """Return the error of D-Bus or bluetoothd ``name`` as what a person reads; ``text`` in bluetoothd's own words."""
    said = printable(text or name, _MAX_TEXT)
    fault, reason = _REASONS.get(name, (LinkFault.IO, ""))
    return LinkError(fault, f"{reason} ({said})" if reason else said)


async def look(adapter: str | None, *, within_s: float) -> Radio:
    """Ask for the adapter of this name, or the first that is on, and its devices; raises LinkError with what helps."""
    question = Message(
        destination=_BLUEZ, path="/", interface="org.freedesktop.DBus.ObjectManager", member="GetManagedObjects"
    )
    reply = await _ask(question, within_s)
    objects: dict[str, dict[str, Any]] = unpack_variants(reply.body[0])
    adapters = {path.rpartition("/")[2]: found[_ADAPTER] for path, found in objects.items() if _ADAPTER in found}
    chosen = _choose(adapter, adapters)
    devices = tuple(
        _device(path, found[_DEVICE])
        for path, found in objects.items()
        if _DEVICE in found and path.startswith(f"{_path(chosen)}/")
    )
    return Radio(str(reply.sender), chosen, devices)


async def remove(path: str, *, within_s: float) -> None:
    """Let bluetoothd forget a device: its connection, attempts under way, what it believes; raises LinkError.

    That it is not there any more is no error.
    """
    message = Message(
        destination=_BLUEZ,
        path=path.rpartition("/")[0],
        interface=_ADAPTER,
        member="RemoveDevice",
        signature="o",
        body=[path],
    )
    try:
        await _ask(message, within_s)
    except LinkError as error:
        if error.fault is not LinkFault.UNPLUGGED:
            raise


async def stop_discovery(bus: MessageBus, adapter: str, *, within_s: float) -> None:
    """End a scan that ``bus`` may have begun; what bluetoothd answers does not matter, and none at all neither."""
    message = Message(destination=_BLUEZ, path=_path(adapter), interface=_ADAPTER, member="StopDiscovery")
    with suppress(TimeoutError, OSError, EOFError):
        await bounded(bus.call(message), within_s)


def _choose(wanted: str | None, adapters: dict[str, dict[str, Any]]) -> str:
    if not adapters:
        text = "no Bluetooth adapter: is it plugged in, and listed by `rfkill`? (`ls /sys/class/bluetooth`)"
        raise LinkError(LinkFault.NOT_FOUND, text)
    if wanted is not None and wanted not in adapters:
        text = f"no Bluetooth adapter {wanted}, there is {', '.join(sorted(adapters))}"
        raise LinkError(LinkFault.NOT_FOUND, text)
    # "Roles" came with BlueZ 5.51; without it every adapter may do.
    able = [name for name in sorted(adapters) if "central" in adapters[name].get("Roles", ["central"])]
    names = [wanted] if wanted is not None else able
    if not set(names) & set(able):
        raise LinkError(LinkFault.NOT_FOUND, "the Bluetooth adapter is too old: it cannot do Bluetooth LE")
    on = next((name for name in names if adapters[name].get("Powered")), None)
    if on is None:
        text = f"the Bluetooth adapter {names[0]} is off: rfkill unblock bluetooth, bluetoothctl power on"
        raise LinkError(LinkFault.NOT_FOUND, text)
    return on


def _device(path: str, properties: dict[str, Any]) -> Device:
    return Device(
        path,
        str(properties.get("Address", "")),
        str(properties.get("Name", "")),
        connected=bool(properties.get("Connected")),
        paired=bool(properties.get("Paired")),
        properties=properties,
    )


def _path(adapter: str) -> str:
    return f"/org/bluez/{adapter}"


async def _ask(message: Message, within_s: float) -> Message:
    """One call on a connection of its own; raises LinkError for an answer that is an error, and for none."""
    try:
        async with _connection(within_s) as bus:
            reply = await bounded(bus.call(message), within_s)
    except TimeoutError:
        raise LinkError(*_HANGS) from None
    if reply.message_type is MessageType.ERROR:
        said = reply.body[0] if reply.body and isinstance(reply.body[0], str) else None
        raise explained(str(reply.error_name), said)
    return reply


@asynccontextmanager
async def _connection(within_s: float) -> AsyncIterator[MessageBus]:
    """Connect to the system bus, and let go of it; raises LinkError."""
    try:
        bus = MessageBus(bus_type=BusType.SYSTEM)
    except (OSError, ValueError) as error:
        raise _no_bus(error) from error
    try:
        try:
            await bounded(bus.connect(), within_s)
        except AuthError as error:
            fault, reason = _NOT_ALLOWED
            raise LinkError(fault, f"{reason} ({printable(str(error), _MAX_TEXT)})") from error
        except TimeoutError:
            raise LinkError(
                LinkFault.NO_ANSWER, "the D-Bus system bus does not answer: systemctl status dbus"
            ) from None
        except (OSError, EOFError) as error:
            raise _no_bus(error) from error
        yield bus
    except (ConnectionError, EOFError) as error:  # it went away meanwhile
        raise _no_bus(error) from error
    finally:
        bus.disconnect()


def _no_bus(error: Exception) -> LinkError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = f"no D-Bus system bus ({printable(reason, _MAX_TEXT)}): systemctl start dbus; in a container share /run/dbus"
    return LinkError(LinkFault.NOT_FOUND, text)

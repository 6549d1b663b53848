"""Which serial ports are there, which one a name of the configuration means now, and which name lasts.

Read from the kernel's tree (sysfs) and udev's links; no port is opened. pyserial's own list is not used: it leaves out
the UARTs of most boards, and cannot be pointed at another tree.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.port_names import UsbName, check_device, parse_port
from edge_agent.sanitize import printable

ROOT = Path("/")
_DEEP = 12  # folders between a tty and its USB device are three or four
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class SerialPort:
    """One port of this machine. ``serial`` is as the device has it and may hold anything; ``text`` is printable."""

    path: str
    by_id: str | None = None
    """udev's link that is named after the USB device."""
    by_path: str | None = None
    """udev's link that is named after the socket that the device is plugged into."""
    vendor: int | None = None
    product: int | None = None
    serial: str = ""
    text: str = ""
    console: bool = False
    """The kernel speaks on it."""

    @property
    def on_usb(self) -> bool:
        """Whether its number can change when it is plugged in again."""
        return self.vendor is not None and self.product is not None

    def goes_by(self, name: UsbName) -> bool:
        """Whether this name is one for it."""
        wanted = (name.vendor, name.product)
        return (self.vendor, self.product) == wanted and name.serial in (None, self.serial)


def list_ports(root: Path = ROOT) -> tuple[SerialPort, ...]:
    """Return the serial ports that have hardware behind them, by path; empty where the kernel tells none."""
    consoles = _line(root / "sys/class/tty/console/active").split()
    links = {kind: _links(root / "dev/serial" / kind) for kind in ("by-id", "by-path")}
    found = []
    with contextlib.suppress(OSError):
        for entry in sorted((root / "sys/class/tty").iterdir()):
            path = root / "dev" / entry.name
            # An 8250 port that the kernel made room for, and that is not there, has the type 0 (PORT_UNKNOWN).
            if not (entry / "device").exists() or _line(entry / "type") == "0" or not path.exists():
                continue
            target = path.resolve()
            usb = _usb_device(entry / "device")
            found.append(
                SerialPort(
                    path=str(path),
                    by_id=links["by-id"].get(target),
                    by_path=links["by-path"].get(target),
                    vendor=_number(usb, "idVendor"),
                    product=_number(usb, "idProduct"),
                    serial=_line(usb / "serial") if usb else "",
                    text=printable(_line(usb / "product"), 48) if usb else "",
                    console=entry.name in consoles,
                )
            )
    return tuple(found)


def resolve(port: str, root: Path = ROOT) -> str:
    """Return the path at which the port is now; a path stays what it is, whether it is there or not.

    Raises ReaderError (NOT_FOUND) when no USB device goes by the name, or several do; ValueError if it is no name.
    """
    name = parse_port(port)
    if not isinstance(name, UsbName):
        return name
    ports = list_ports(root)
    found = [candidate for candidate in ports if candidate.goes_by(name)]
    if len(found) == 1:
        return found[0].path
    if found:
        raise ReaderError(
            ReaderFault.NOT_FOUND,
            f"{len(found)} ports go by {name}: {', '.join(map(_told, found))}",
            remedy="add the serial number (usb:VENDOR:PRODUCT:SERIAL), or take a link of /dev/serial/by-id or by-path",
        )
    kin = [candidate for candidate in ports if candidate.goes_by(UsbName(name.vendor, name.product))]
    also = f"; there is {', '.join(map(_told, kin))}" if kin else ""
    raise ReaderError(
        ReaderFault.NOT_FOUND,
        f"no USB device {name}{also}",
        remedy="plug in the reader, or correct `device` in [[readers]] (lsusb shows the ids, `edge-agent reader probe` "
        "the whole name)",
    )


def lasting_name(port: SerialPort, ports: tuple[SerialPort, ...]) -> tuple[str, str]:
    """Return the name for the configuration that lasts longest, and when it will not hold; empty where it always does.

    ``ports`` are all that there are: two of a kind without serial numbers cannot be told apart by their ids.
    """
    if not port.on_usb:
        return port.path, ""
    twins = [other for other in ports if _identity(other) == _identity(port)]
    if _usable(port.by_id) and all(twin.by_id for twin in twins):
        return str(port.by_id), ""
    if len(twins) == 1 and (name := _usb_name(port, ports)) is not None:
        return name, ""
    if _usable(port.by_path):
        return str(port.by_path), "holds while the reader stays in this USB socket"
    return port.path, "this path can change when something is plugged in or the machine restarts"


def _identity(port: SerialPort) -> tuple[int | None, int | None, str]:
    return port.vendor, port.product, port.serial


def _usb_name(port: SerialPort, ports: tuple[SerialPort, ...]) -> str | None:
    if port.vendor is None or port.product is None:
        return None
    name = UsbName(port.vendor, port.product, port.serial or None)
    try:
        parse_port(str(name))
    except ValueError:  # a serial number of other characters
        name = UsbName(port.vendor, port.product)
    return str(name) if sum(other.goes_by(name) for other in ports) == 1 else None


def _usable(link: str | None) -> bool:
    try:
        return check_device(link or "") == link
    except ValueError:  # udev lets more characters into a link than a configuration takes
        return False


def _told(port: SerialPort) -> str:
    return (
        f"{printable(port.serial, 64)} at {port.path}" if port.serial else f"one without serial number at {port.path}"
    )


def _links(folder: Path) -> dict[Path, str]:
    with contextlib.suppress(OSError):
        return {link.resolve(): str(link) for link in sorted(folder.iterdir(), reverse=True)}
    return {}


def _usb_device(device: Path) -> Path | None:
    """The folder with the ids, above the interface and the port."""
    return next((folder for folder in _upwards(device.resolve()) if (folder / "idVendor").exists()), None)


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from list(folder.parents)[:_DEEP]


def _number(usb: Path | None, name: str) -> int | None:
    try:
        return int(_line(usb / name), 16) if usb else None
    except ValueError:
        return None


def _line(path: Path) -> str:
    """The first line of a file of the kernel; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.readline(_LONGEST).decode("utf-8", "replace").strip()
    except OSError:
        return ""

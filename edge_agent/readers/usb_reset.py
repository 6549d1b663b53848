"""Resets the USB device behind a serial port, as if it had been unplugged and plugged in again (usbfs).

It touches that one device, and only where nobody else can be using it: never a hub, nor a device with other ports or a
network of its own (a modem, a converter for two). Every way in which it cannot be done is told.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.ports import resolve
from edge_agent.sanitize import printable

USBDEVFS_RESET = 0x5514
"""_IO('U', 20) of linux/usbdevice_fs.h."""

Ioctl = Callable[[int, int, int], object]
_HUB = 0x09  # bDeviceClass, USB 2.0, 11.23.1
_DEEP = 12


class UsbReset:
    """Resets what is at ``port``: a path, a link of udev, or ``usb:VVVV:PPPP[:SERIAL]``.

    ``root`` holds ``sys`` and ``dev``: another one, and another ``ioctl``, for tests.
    """

    def __init__(self, port: str, *, root: Path = Path("/"), ioctl: Ioctl = fcntl.ioctl) -> None:
        self._port = port
        self._root = root
        self._ioctl = ioctl

    def __call__(self) -> str:
        """Reset it and return what it was, for a person. Blocks for up to some seconds.

        Raises ReaderError: NOT_FOUND when no USB device is behind the port, NO_PERMISSION, or IO when the kernel could
        not do it.
        """
        folder = self._device()
        node = self._root / "dev/bus/usb" / f"{_number(folder, 'busnum'):03}" / f"{_number(folder, 'devnum'):03}"
        name = f"{printable(_text(folder, 'product') or 'a USB device', 48)} ({folder.name})"
        try:
            fd = os.open(node, os.O_WRONLY | os.O_CLOEXEC)
            try:
                self._ioctl(fd, USBDEVFS_RESET, 0)
            finally:
                os.close(fd)
        except OSError as error:
            raise _refused(error, node, name) from error
        return name

    def _device(self) -> Path:
        """The folder of the USB device in sysfs."""
        path = Path(resolve(self._port, self._root))
        port = self._root / "sys/class/tty" / path.resolve().name / "device"
        if not port.exists():
            raise ReaderError(ReaderFault.NOT_FOUND, f"no port of the kernel is at {path} now")
        found = next(_usb_devices(port.resolve()), None)
        if found is None:
            raise ReaderError(ReaderFault.NOT_FOUND, f"{path} is not on USB")
        if _number(found, "bDeviceClass", 16) == _HUB:
            raise ReaderError(ReaderFault.NOT_FOUND, f"nothing but a hub is behind {path}")
        if others := sorted(self._others(found, port.parent.name)):
            raise ReaderError(ReaderFault.NOT_FOUND, f"{path} shares its USB device with {', '.join(others)}")
        return found

    def _others(self, device: Path, own: str) -> Iterator[str]:
        """What else the device gives to this machine: ports and networks."""
        for kind in ("tty", "net"):
            with contextlib.suppress(OSError):  # no such class on this machine
                for entry in (self._root / "sys/class" / kind).iterdir():
                    if (kind, entry.name) != ("tty", own) and device in (entry / "device").resolve().parents:
                        yield printable(entry.name, 32)


def _usb_devices(folder: Path) -> Iterator[Path]:
    """The device that the port belongs to, then what it hangs on; interfaces have no number of their own."""
    for upper in [folder, *folder.parents][:_DEEP]:
        if (upper / "busnum").exists() and (upper / "devnum").exists():
            yield upper


def _refused(error: OSError, node: Path, name: str) -> ReaderError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReaderError(
            ReaderFault.NO_PERMISSION,
            f"no permission to reset {name} at {node}",
            remedy="let the group of the agent write to it, by the udev rule of docs/readers.md",
        )
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return ReaderError(ReaderFault.NOT_FOUND, f"{name} is not there any more")
    return ReaderError(ReaderFault.IO, f"the kernel cannot reset {name}: {error.strerror}")


def _number(folder: Path, name: str, base: int = 10) -> int:
    text = _text(folder, name)
    try:
        return int(text, base)
    except ValueError:
        raise ReaderError(ReaderFault.IO, f"sysfs says {printable(text, 16)!r} as {name} of {folder.name}") from None


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

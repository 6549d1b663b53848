"""The kernel's tree of serial ports in a folder: sysfs, device nodes and udev's links, as they look on a real machine.

A node of ``dev`` is a link to what a test puts behind it, as a pty of an emulator, or an empty file.
"""

import itertools
import os
from pathlib import Path


class PortTree:
    """``root`` stands for ``/``; ports come and go by ``plug`` and ``pull``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._bus = itertools.count(1)
        for folder in ("sys/class/tty", "sys/devices", "dev/serial/by-id", "dev/serial/by-path"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def plug(
        self,
        tty: str,
        behind: str | Path | None = None,
        *,
        ids: str = "1a86:7523",
        serial: str | None = None,
        product: str = "USB Serial",
        by_id: str | None = None,
        by_path: str | None = None,
    ) -> str:
        """A USB device with one serial port; returns the port's path."""
        usb = self.root / f"sys/devices/pci0000:00/usb1/1-{next(self._bus)}"
        vendor, product_id = ids.split(":")
        texts = {"idVendor": vendor, "idProduct": product_id, "product": product, "serial": serial}
        usb.mkdir(parents=True)
        for name, text in texts.items():
            if text is not None:
                (usb / name).write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")
        return self._tty(tty, usb / "1-1:1.0" / tty, behind, by_id, by_path)

    def solder(self, tty: str, behind: str | Path | None = None, *, kind: str = "4") -> str:
        """A UART of the board; ``kind`` 0 is one that the driver made room for only."""
        path = self._tty(tty, self.root / "sys/devices/platform" / f"serial8250-{tty}", behind)
        (self.root / "sys/class/tty" / tty / "type").write_text(f"{kind}\n")
        return path

    def terminal(self, tty: str) -> None:
        """A virtual terminal: no hardware behind it."""
        (self.root / "sys/class/tty" / tty).mkdir()
        (self.root / "dev" / tty).symlink_to("/dev/null")

    def console(self, *ttys: str) -> None:
        """The kernel speaks on these."""
        folder = self.root / "sys/class/tty/console"
        folder.mkdir()
        (folder / "active").write_text(" ".join(ttys) + "\n")

    def pull(self, tty: str) -> None:
        """Unplug."""
        entry = self.root / "sys/class/tty" / tty
        (entry / "device").unlink()
        entry.rmdir()
        (self.root / "dev" / tty).unlink()

    def _tty(
        self, tty: str, device: Path, behind: str | Path | None, by_id: str | None = None, by_path: str | None = None
    ) -> str:
        device.mkdir(parents=True)
        entry = self.root / "sys/class/tty" / tty
        entry.mkdir()
        (entry / "device").symlink_to(os.path.relpath(device, entry))
        node = self.root / "dev" / tty
        node.symlink_to(behind) if behind else node.touch()
        for kind, link in (("by-id", by_id), ("by-path", by_path)):
            if link is not None:
                path = self.root / "dev/serial" / kind / link
                path.unlink(missing_ok=True)  # of two devices with one name, the later has the link
                path.symlink_to(f"../../{tty}")
        return str(node)

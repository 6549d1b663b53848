"""A kernel's view of one USB serial converter: sysfs, its port, and the node by which it is reset."""

from pathlib import Path

HUB = "devices/pci0000:00/usb1/1-1"


class UsbTree:
    """``root`` holds ``sys`` and ``dev``; the converter is 1-1.2 behind the hub 1-1, device 7 of bus 1."""

    def __init__(self, root: Path, tty: str = "ttyUSB0") -> None:
        self.root = root
        self.node = root / "dev/bus/usb/001/007"
        self.hub_node = root / "dev/bus/usb/001/002"
        for node in (self.node, self.hub_node):
            node.parent.mkdir(parents=True, exist_ok=True)
            node.touch()
        self.hub = root / "sys" / HUB
        self.device = self.hub / "1-1.2"
        self._write(self.hub, busnum=1, devnum=2, bDeviceClass="09", idVendor="05e3", product="USB2.0 Hub")
        self._write(
            self.device, busnum=1, devnum=7, bDeviceClass="00", idVendor="1a86", idProduct="7523", product="USB Serial"
        )
        self.plug(tty)

    def plug(self, tty: str) -> str:
        """Give the port this name instead of the one before; returns the path of its device."""
        for before in (self.root / "sys/class/tty").glob("*/device"):
            if before.parent.name != tty and self.device in before.readlink().parents:
                before.unlink()
        port = self.device / "1-1.2:1.0" / tty
        (port / "tty" / tty).mkdir(parents=True, exist_ok=True)
        entry = self.root / "sys/class/tty" / tty
        entry.mkdir(parents=True, exist_ok=True)
        if not (entry / "device").is_symlink():
            (entry / "device").symlink_to(port)
        (self.root / "dev" / tty).touch()
        return str(self.root / "dev" / tty)

    def second_interface(self, kind: str, name: str, *, device: str = "1-1.2") -> None:
        """Give the converter, or another device behind the hub, something more: a port ("tty") or a network ("net")."""
        interface = self.hub / device / f"{device}:1.1"
        interface.mkdir(parents=True, exist_ok=True)
        entry = self.root / "sys/class" / kind / name
        entry.mkdir(parents=True)
        (entry / "device").symlink_to(interface)

    @staticmethod
    def _write(folder: Path, **attributes: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in attributes.items():
            (folder / name).write_text(f"{value}\n", encoding="utf-8")

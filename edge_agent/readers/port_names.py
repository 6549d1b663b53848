"""How a serial port is named in the configuration: by a path, or by the USB device behind it. Pure.

A USB device keeps its vendor, product and serial number when the kernel gives its port another number.
"""

import re
from dataclasses import dataclass

_DEVICE_NAME = re.compile(r"/[A-Za-z0-9/._:+-]{1,255}")
_USB = re.compile(r"usb:([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})(?::([A-Za-z0-9._-]{1,64}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class UsbName:
    """A port by its USB device: vendor and product id, and the serial number where two of a kind are plugged in."""

    vendor: int
    product: int
    serial: str | None = None

    def __str__(self) -> str:
        return f"usb:{self.vendor:04x}:{self.product:04x}" + (f":{self.serial}" if self.serial else "")


def check_device(device: str) -> str:
    """Return a device path that is safe to hand on; raises ValueError.

    Letters, digits and `/ . _ - : +` name every udev link; nothing that a shell could take for more is let through.
    """
    if not _DEVICE_NAME.fullmatch(device):
        raise ValueError("a device is an absolute path of letters, digits and / . _ - : +")
    return device


def parse_port(text: str) -> str | UsbName:
    """Return the path, or what ``usb:VVVV:PPPP[:SERIAL]`` names; raises ValueError."""
    if not text.startswith("usb:"):
        return check_device(text)
    found = _USB.fullmatch(text)
    if found is None:
        raise ValueError("a USB port is usb:VENDOR:PRODUCT[:SERIAL], the ids in four hexadecimal digits")
    return UsbName(int(found[1], 16), int(found[2], 16), found[3])


def check_port(text: str) -> str:
    """Return a port name that is safe to hand on; raises ValueError."""
    return str(parse_port(text))

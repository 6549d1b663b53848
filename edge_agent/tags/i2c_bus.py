"""An I2C bus of Linux (/dev/i2c-N) by smbus2: the only module that imports it.

It moves bytes and judges nothing: a NAK is the OSError that the kernel gives, told by ``is_nak``.
"""

import errno
import re
from typing import TYPE_CHECKING, Protocol

from edge_agent.errors import ReaderError, ReaderFault

if TYPE_CHECKING:
    import smbus2

_NAKS = frozenset({errno.ENXIO, errno.EREMOTEIO})
"""Documentation/i2c/fault-codes: "returned by drivers when no device answered", by some as EREMOTEIO."""
_INSTALL = "install it: pip install 'edge-agent[ntag]'"


class I2cBus(Protocol):
    """One open bus; ``address`` has seven bits. Every call raises OSError, and returns in bounded time."""

    def write(self, address: int, data: bytes, /) -> None:
        """START, address, ``data``, STOP."""

    def write_read(self, address: int, data: bytes, count: int, /) -> bytes:
        """Write ``data``, STOP, and read ``count`` bytes in a transaction of its own."""

    def close(self) -> None:
        """Release the bus. Idempotent, never raises."""


def is_nak(error: OSError) -> bool:
    """Whether the chip did not acknowledge."""
    return error.errno in _NAKS


def bus_number(bus: str) -> str:
    """Return N of /dev/i2c-N for a command line, or the path itself."""
    found = re.fullmatch(r"/dev/i2c-(\d+)", bus)
    return found[1] if found else bus


def open_bus(bus: str) -> I2cBus:
    """Open the device node ``bus``; raises ReaderError."""
    try:
        import smbus2  # noqa: PLC0415 - a terminal without a tag chip does not have it
    except ImportError as error:
        raise ReaderError(ReaderFault.NOT_FOUND, "the library smbus2 is not installed", remedy=_INSTALL) from error
    try:
        return _Smbus2(smbus2.SMBus(bus), smbus2.i2c_msg)
    except PermissionError as error:
        raise ReaderError(
            ReaderFault.NO_PERMISSION,
            f"{bus} may not be opened",
            remedy="add the agent's user to the group i2c: usermod --append --groups i2c edge-agent",
        ) from error
    except OSError as error:
        raise ReaderError(
            ReaderFault.NOT_FOUND,
            f"no I2C bus at {bus} ({error.strerror})",
            remedy="switch I2C on (raspi-config, or the board's device tree) and load i2c-dev; see ls /dev/i2c-*",
        ) from error


class _Smbus2:
    def __init__(self, bus: "smbus2.SMBus", message: "type[smbus2.i2c_msg]") -> None:
        self._bus = bus
        self._message = message

    def write(self, address: int, data: bytes, /) -> None:
        self._bus.i2c_rdwr(self._message.write(address, data))

    def write_read(self, address: int, data: bytes, count: int, /) -> bytes:
        # Two transactions: with NC_REG bit 7 set, a repeated START resets the chip.
        self.write(address, data)
        answer = self._message.read(address, count)
        self._bus.i2c_rdwr(answer)
        return bytes(answer)

    def close(self) -> None:
        self._bus.close()

"""What an operating system error on a reader's serial line means, and what a person can do about it."""

import errno
import termios
from pathlib import Path

from edge_agent.errors import ReaderError, ReaderFault

_GONE = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_TAKEN = frozenset({errno.EBUSY, errno.EAGAIN})


PN532 = "PN532"
_REMEDY_PN532 = "check `device` and `baud`, the wiring (RX to TX, mode switches on HSU), then power-cycle the reader"
_REMEDY_OTHER = (
    "check `device`, `baud` and `profile` (`edge-agent reader probe` tries them) and the wiring, then power-cycle the "
    "reader"
)


def open_error(error: OSError | termios.error, device: str, what: str = PN532) -> ReaderError:
    """Explain why a line could not be opened; ``what`` was expected on it."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _GONE or not Path(device).exists():
        return ReaderError(
            ReaderFault.NOT_FOUND,
            f"no reader at {device}",
            remedy="plug in the reader, or correct `device` in [[readers]] (see ls -l /dev/serial/by-id)",
        )
    if number in _FORBIDDEN:
        return ReaderError(
            ReaderFault.NO_PERMISSION,
            f"no permission to open {device}",
            remedy="add the user of the agent to the group of the device (ls -l; on Debian it is dialout)",
        )
    if number in _TAKEN:
        return ReaderError(
            ReaderFault.TAKEN, f"{device} is in use by another process", remedy="stop the other one (see fuser -v)"
        )
    return no_answer(device, what)


def line_error(error: OSError | termios.error, device: str, what: str = PN532) -> ReaderError:
    """Explain why an open line failed: pulled out, or the chip has gone silent.

    termios.error is what the library lets through when the device is gone; it is no OSError.
    """
    if isinstance(error, termios.error) or error.errno in _GONE or not Path(device).exists():
        return unplugged(device)
    return no_answer(device, what)


def unplugged(device: str) -> ReaderError:
    """A line that is gone."""
    return ReaderError(
        ReaderFault.UNPLUGGED, f"the reader at {device} was unplugged", remedy="plug it in again, check its cable"
    )


def no_answer(device: str, what: str = PN532) -> ReaderError:
    """A line without ``what`` answering on it."""
    return ReaderError(
        ReaderFault.NO_ANSWER,
        f"no {what} answers at {device}",
        remedy=_REMEDY_PN532 if what == PN532 else _REMEDY_OTHER,
    )


def garbled(device: str, error: Exception) -> ReaderError:
    """A chip that answers what no PN532 would."""
    return ReaderError(
        ReaderFault.IO,
        f"garbled answers at {device} ({type(error).__name__})",
        remedy="check the wiring and its length, set `baud` to 115200, power-cycle the reader",
    )

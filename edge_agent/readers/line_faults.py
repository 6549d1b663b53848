"""What an operating system error on a reader's serial line means, and what a person can do about it."""

import errno
import termios
from pathlib import Path

from edge_agent.errors import ReaderError, ReaderFault

_GONE = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_TAKEN = frozenset({errno.EBUSY, errno.EAGAIN})


def open_error(error: OSError | termios.error, device: str) -> ReaderError:
    """Explain why a line could not be opened."""
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
            ReaderFault.IO, f"{device} is in use by another process", remedy="stop the other one (see fuser -v)"
        )
    return no_answer(device)


def line_error(error: OSError | termios.error, device: str) -> ReaderError:
    """Explain why an open line failed: pulled out, or the chip has gone silent.

    termios.error is what the library lets through when the device is gone; it is no OSError.
    """
    if isinstance(error, termios.error) or error.errno in _GONE or not Path(device).exists():
        return ReaderError(
            ReaderFault.UNPLUGGED, f"the reader at {device} was unplugged", remedy="plug it in again, check its cable"
        )
    return no_answer(device)


def no_answer(device: str) -> ReaderError:
    """A line without a chip that answers."""
    return ReaderError(
        ReaderFault.NO_ANSWER,
        f"no PN532 answers at {device}",
        remedy="check `device` and `baud`, the wiring (RX to TX, mode switches on HSU), then power-cycle the reader",
    )


def garbled(device: str, error: Exception) -> ReaderError:
    """A chip that answers what no PN532 would."""
    return ReaderError(
        ReaderFault.IO,
        f"garbled answers at {device} ({type(error).__name__})",
        remedy="check the wiring and its length, set `baud` to 115200, power-cycle the reader",
    )

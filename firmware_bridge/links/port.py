"""Opens what a screen is wired to: a serial port or pty by its path, or ``tcp:HOST:PORT`` for bring-up.

Gives a non-blocking descriptor. pyserial (this is its only importer) finds, locks and configures a port; bytes go
through the descriptor itself, because pyserial's own non-blocking write spins on EAGAIN while the MCU takes nothing.
Only opening may take time (a TCP peer has three seconds); closing never waits for bytes that nobody took.
"""

import errno
import ipaddress
import os
import socket
import termios
from contextlib import suppress
from types import TracebackType
from typing import Self

import serial

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.printable import printable
from firmware_bridge.protocol import DEFAULT_BAUD

TCP = "tcp:"
CONNECT_WITHIN_S = 3.0
_READ_BYTES = 4096

_FAULTS = {
    errno.ENOENT: LinkFault.NOT_FOUND,
    errno.ENODEV: LinkFault.NOT_FOUND,
    errno.ENXIO: LinkFault.NOT_FOUND,
    errno.ECONNREFUSED: LinkFault.NOT_FOUND,
    errno.EHOSTUNREACH: LinkFault.NOT_FOUND,
    errno.ENETUNREACH: LinkFault.NOT_FOUND,
    errno.EACCES: LinkFault.NO_PERMISSION,
    errno.EPERM: LinkFault.NO_PERMISSION,
    errno.EBUSY: LinkFault.BUSY,
    errno.EAGAIN: LinkFault.BUSY,  # flock(2): another process drives this screen
    errno.EIO: LinkFault.UNPLUGGED,
    errno.EPIPE: LinkFault.UNPLUGGED,
    errno.ECONNRESET: LinkFault.UNPLUGGED,
    errno.ETIMEDOUT: LinkFault.NO_ANSWER,
}


class Port:
    """An open line, for ``select`` and ``with``. ``device`` is its name in what a person reads."""

    def __init__(self, device: str, line: serial.Serial | socket.socket) -> None:
        self.device = device
        self._line = line
        self._open = True

    def fileno(self) -> int:
        """The descriptor, non-blocking."""
        return self._line.fileno()

    def read(self) -> bytes:
        """Return what is there now, at most 4096 bytes, b"" for nothing; raises LinkError when the line is gone."""
        try:
            data = os.read(self.fileno(), _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _link_error(error, self.device) from error
        if not data:
            raise _gone(self.device)
        return data

    def write(self, data: bytes) -> int:
        """Return how many of the bytes the kernel took, 0 while it takes none; raises LinkError when it is gone."""
        try:
            return os.write(self.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _link_error(error, self.device) from error

    def close(self) -> None:
        """Give the line back, without a wait for unsent bytes. Idempotent, never raises."""
        if not self._open:
            return
        self._open = False
        with suppress(OSError, termios.error):  # already unplugged
            if isinstance(self._line, serial.Serial):
                # Closing a terminal waits for unsent bytes, up to 30 s with an MCU that takes none.
                self._line.reset_output_buffer()
        with suppress(OSError, termios.error):  # as above
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_port(device: str, baud: int = DEFAULT_BAUD, *, within_s: float = CONNECT_WITHIN_S) -> Port:
    """Open ``device``: a path (8N1 at ``baud``, locked against a second process) or ``tcp:HOST:PORT``.

    HOST is an IPv4 address, an IPv6 address in brackets or ``localhost``: a name that has to be looked up could hang.
    A TCP peer has ``within_s`` to answer.
    Raises LinkError.
    """
    try:
        if device.startswith(TCP):
            return Port(device, _connected(device, within_s))
        return Port(device, _opened(device, baud))
    except (OSError, termios.error, ValueError) as error:
        raise _link_error(error, device) from error


def _opened(device: str, baud: int) -> serial.Serial:
    """Raises SerialException (an OSError), OSError, ValueError for a speed, and termios.error, which is neither."""
    line = serial.Serial(device, baud, timeout=0, exclusive=True)
    # pyserial asks for reads of no bytes (VMIN 0); only with 1 does an empty read mean that the line is gone.
    modes = termios.tcgetattr(line.fileno())
    modes[6][termios.VMIN] = 1
    termios.tcsetattr(line.fileno(), termios.TCSANOW, modes)
    return line


def _connected(device: str, within_s: float) -> socket.socket:
    host, port = _address(device)
    try:
        connection = socket.create_connection((host, port), timeout=within_s)
    except TimeoutError as error:
        raise LinkError(LinkFault.NO_ANSWER, f"{device}: no answer for {within_s:g} s") from error
    connection.setblocking(False)  # noqa: FBT003 - the library's signature
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _address(device: str) -> tuple[str, int]:
    host, _, port = device.removeprefix(TCP).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    if name != "localhost" or bracketed:
        try:
            version: int = ipaddress.ip_address(name).version
        except ValueError:
            version = 0
        if version != (6 if bracketed else 4):
            raise ValueError("HOST of tcp:HOST:PORT is an IPv4 address, an IPv6 address in brackets or localhost")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 0xFFFF):
        raise ValueError("PORT of tcp:HOST:PORT is a number from 1 to 65535")
    return name, int(port)


def _gone(device: str) -> LinkError:
    what = "was closed by the other end" if device.startswith(TCP) else "was unplugged"
    return LinkError(LinkFault.UNPLUGGED, f"{device} {what}")


def _link_error(error: OSError | termios.error | ValueError, device: str) -> LinkError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else getattr(error, "errno", None)
    fault = _FAULTS.get(code or 0, LinkFault.IO)
    if fault is LinkFault.UNPLUGGED:
        return _gone(device)
    reason = os.strerror(code) if code and code > 0 else printable(str(error), 120)
    return LinkError(fault, f"{device}: {reason}")

"""A serial line of a reader that has no driver of its own: open, read what is there, write, close.

The only importer of pyserial in edge_agent. pyserial finds, locks and configures the port; bytes go through the
descriptor, so that one wait ends at a byte, at its time, or by ``wake`` from another thread. It knows no protocol.
"""

import contextlib
import errno
import os
import select
import termios
import threading
import time

import serial

from edge_agent.errors import ReaderError
from edge_agent.readers.line_faults import line_error, no_answer, open_error, unplugged

_READ_BYTES = 4096
_WRITE_WITHIN_S = 0.5


class SerialLine:
    """One port, 8N1 at ``baud``, for itself alone while open; ``what`` is named in errors.

    Every method but ``wake`` belongs to one thread.
    """

    def __init__(self, device: str, *, baud: int, what: str) -> None:
        self.device = device
        self._baud = baud
        self._what = what
        self._port: serial.Serial | None = None
        self._lock = threading.Lock()
        self._wake_read = self._wake_write = -1

    def open(self) -> None:
        """Open and throw away what waits there; raises ReaderError."""
        try:
            # SerialException is an OSError; termios.error is none.
            port = serial.Serial(self.device, self._baud, timeout=0, write_timeout=_WRITE_WITHIN_S, exclusive=True)
        except (OSError, termios.error) as error:
            raise open_error(error, self.device, self._what) from error
        with self._lock:
            self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self._port = port
        # Takes an FTDI converter's latency from 16 ms to 1 ms for each answer; other devices do not know it.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            port.set_low_latency_mode(True)
        try:
            port.reset_input_buffer()
        except (OSError, termios.error) as error:
            self.close()
            raise line_error(error, self.device, self._what) from error

    def read(self, wait_s: float) -> bytes:
        """Return what is there, at most 4096 bytes; empty when nothing came in ``wait_s`` seconds, or after ``wake``.

        Raises ReaderError.
        """
        fd = self._fd()
        poller = select.poll()  # select(2) knows no descriptor above 1023
        for watched in (fd, self._wake_read):
            poller.register(watched, select.POLLIN)
        try:
            ready = dict(poller.poll(max(0.0, wait_s) * 1000))
            if self._wake_read in ready:
                os.read(self._wake_read, _READ_BYTES)
            if fd not in ready:
                return b""
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._broken(error) from error
        if not data:
            raise unplugged(self.device)
        return data

    def write(self, data: bytes) -> None:
        """Send all of it; raises ReaderError when the line does not take it within half a second."""
        fd = self._fd()
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        until = time.monotonic() + _WRITE_WITHIN_S
        while data:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise no_answer(self.device, self._what)
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._broken(error) from error

    def change_speed(self, baud: int) -> None:
        """Go on at another speed, without what came at the last one and was not read; raises ReaderError."""
        self._baud = baud
        if self._port is None:
            raise no_answer(self.device, self._what)
        try:
            self._port.baudrate = baud
            self._port.reset_input_buffer()
        except (OSError, ValueError, termios.error) as error:  # ValueError: a speed that the port cannot do
            fault = OSError(errno.EINVAL, str(error)) if isinstance(error, ValueError) else error
            raise line_error(fault, self.device, self._what) from error

    def wake(self) -> None:
        """End a read that waits; may be called from any thread, also while closed."""
        with self._lock:
            if self._wake_write >= 0:
                with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._wake_write, b"\x00")

    def close(self) -> None:
        """Release the port. Idempotent, never raises."""
        with self._lock:
            port, self._port = self._port, None
            pipe = (self._wake_read, self._wake_write)
            self._wake_read = self._wake_write = -1
        if port is None:
            return
        for fd in pipe:
            os.close(fd)
        with contextlib.suppress(OSError, termios.error):
            port.reset_output_buffer()  # else closing waits for a device that takes nothing, 30 s
        with contextlib.suppress(OSError, termios.error):
            port.close()

    def _fd(self) -> int:
        if self._port is None:
            raise no_answer(self.device, self._what)
        return self._port.fileno()

    def _broken(self, error: OSError) -> ReaderError:
        # What a UART's driver and a pty say once the device is gone, whether its path is still there or not.
        return unplugged(self.device) if error.errno == errno.EIO else line_error(error, self.device, self._what)

"""The line of a simulated serial reader: a pty, a thread that sleeps while nothing happens, noise, unplug and replug.

What is spoken belongs to the readers built on it (``serial_readers``, ``acs_reader``). Hands may act from any thread.
"""

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from edge_agent.simulation.pty_port import PtyPort
from edge_agent.simulation.uart import received

_BITS_PER_CHARACTER = 10


class SerialEmulator:
    """A device at ``baud``, plugged in from ``start`` (or ``with``) to ``close``.

    ``timed``: each byte takes its time on the wire and comes alone; else all come at once. A host at another speed
    reads what a UART makes of it, and is not understood.
    """

    def __init__(self, *, baud: int = 9600, timed: bool = False) -> None:
        self.baud = baud
        self._timed = timed
        self._changed = threading.Condition()
        self._port = PtyPort("nfc-serial0")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._out_busy = 0.0
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._stopping = False

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Plug it in; ``device_path`` exists from now on."""
        if self._thread is not None:
            raise RuntimeError("the emulator is running")
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with self._changed:
            self._port.plug_in()
        self._thread = threading.Thread(target=self._serve, name="serial-emulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Unplug, end the thread, remove the directory. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._changed:
            self._stopping = True
            self._pull_out()
        self._wake()
        thread.join()
        with self._changed:
            for fd in (self._wake_read, self._wake_write):
                os.close(fd)
            self._wake_read = self._wake_write = -1
            self._port.discard()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def device_path(self) -> str:
        """Path for ``device``: a symbolic link that stays the same over unplug and replug. Raises RuntimeError."""
        return str(self._port.path)

    # -- hands --------------------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Pull the cable."""
        with self._changed:
            self._pull_out()
        self._wake()

    def replug(self) -> None:
        """Put it back."""
        with self._changed:
            self._port.plug_in()
        self._wake()

    def noise(self, data: bytes) -> None:
        """Let these bytes come in at the host, as they are."""
        with self._changed:
            self._transmit(data)
        self._wake()

    # -- for the readers; all called with the lock held ----------------------------------------------------------------

    def _heard(self, data: bytes) -> None:
        """Take what the host sent; a reader that listens to nobody leaves it."""

    def _forget(self) -> None:
        """Lose power: the cable was pulled."""

    def _send(self, data: bytes) -> None:
        """Send to the host, at our speed."""
        rate = self._port.host_rate() if self._port.plugged else None
        self._transmit(data if rate is None else received(data, sent_at=self.baud, read_at=rate))

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), action))

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _transmit(self, data: bytes) -> None:
        if not self._timed:
            self._write(data)
            return
        for byte in data:
            self._out_busy = max(time.monotonic(), self._out_busy) + _BITS_PER_CHARACTER / self.baud
            self._at(self._out_busy, lambda byte=byte: self._write(bytes([byte])))  # type: ignore[misc] # mypy cannot infer a lambda with a default

    def _write(self, data: bytes) -> None:
        if self._port.plugged and data:
            self._port.write(data)

    def _pull_out(self) -> None:
        self._port.pull_out()
        self._due.clear()
        self._out_busy = 0.0
        self._forget()

    def _serve(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                line = self._port.fd
                left = self._due[0][0] - time.monotonic() if self._due else None
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            if line >= 0:
                poller.register(line, select.POLLIN)
            ready = dict(poller.poll(None if left is None else max(0.0, left * 1000)))
            with self._changed:
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                # It may have been pulled off while nobody held the lock.
                if line in ready and line == self._port.fd:
                    data = self._port.read()
                    if self._port.host_rate() == self.baud:
                        self._heard(data)
                while self._due and self._due[0][0] <= time.monotonic():
                    heapq.heappop(self._due)[2]()

    def _wake(self) -> None:
        with self._changed:
            if self._wake_write >= 0:
                with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._wake_write, b"!")

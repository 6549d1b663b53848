"""Simulated hardware at the end of a pseudo terminal: a thread with timers that sleeps while nothing happens.

Hands (plug, unplug, whatever a subclass adds) may act from any thread: they take ``_changed`` and call ``_wake``.
What is spoken on the line belongs to the subclass; it is called by the thread with the lock held.
"""

import contextlib
import heapq
import itertools
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from edge_agent.simulation.pty_port import PtyPort


class PtyDevice(ABC):
    """A device that is plugged in from ``start`` (or ``with``) to ``close``."""

    def __init__(self, port_name: str) -> None:
        self._changed = threading.Condition()
        self._port = PtyPort(port_name)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
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
        self._thread = threading.Thread(target=self._serve, name=type(self).__name__, daemon=True)
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

    @property
    def plugged(self) -> bool:
        """Whether it is plugged in."""
        return self._port.plugged

    def unplug(self) -> None:
        """Pull it off: open descriptors see a hang-up, the path is gone, the device loses its state."""
        with self._changed:
            self._pull_out()
        self._wake()

    def replug(self) -> None:
        """Plug it in again under the same path."""
        with self._changed:
            self._port.plug_in()
        self._wake()

    # -- for the device, with the lock held ---------------------------------------------------------------------------

    @abstractmethod
    def _receive(self) -> None:
        """The host has written."""

    @abstractmethod
    def _lose_power(self) -> None:
        """It was pulled off."""

    def _at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at this time (CLOCK_MONOTONIC seconds), unless it is pulled off before."""
        heapq.heappush(self._due, (when, next(self._order), action))

    def _pull_out(self) -> None:
        self._port.pull_out()
        self._due.clear()
        self._lose_power()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                line = self._port.fd
                left = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            poller = select.poll()
            poller.register(self._wake_read, select.POLLIN)
            if line >= 0:
                poller.register(line, select.POLLIN)
            # poll(2) counts in milliseconds and rounds up, eleven characters at 115200: the last one is slept exactly.
            if left is not None and 0 < left < 0.001:
                time.sleep(left)
            ready = dict(poller.poll(None if left is None else int(left * 1000)))
            with self._changed:
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                # It may have been pulled off while nobody held the lock.
                if line in ready and line == self._port.fd:
                    self._receive()
                while self._due and self._due[0][0] <= time.monotonic():
                    heapq.heappop(self._due)[2]()

    def _wake(self) -> None:
        with self._changed:
            if self._wake_write >= 0:
                with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
                    os.write(self._wake_write, b"!")

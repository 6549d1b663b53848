"""Helps a thread that sleeps in a selector: wake it from elsewhere, change what it waits for, spare its socket delays.

Knows no protocol.
"""

import os
import selectors
import socket
import ssl
import threading
from contextlib import suppress
from typing import Protocol


class HasFileno(Protocol):
    """A socket or anything else with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class Wakeup:
    """A pipe with a memory: many wake-ups before the sleeper looks cost one system call.

    ``wake`` from any thread; the sleeper selects on this object and calls ``clear``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fds: tuple[int, int] | None = None
        self._woken = False

    def open(self) -> None:
        """Create the pipe."""
        self._fds = os.pipe()
        for fd in self._fds:
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The readable end; raises ValueError when closed."""
        if self._fds is None:
            raise ValueError("the wake-up is closed")
        return self._fds[0]

    def wake(self) -> None:
        """Make the readable end readable; nothing happens when closed or already woken."""
        with self._lock:
            if self._fds is not None and not self._woken:
                self._woken = True
                os.write(self._fds[1], b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with self._lock:
            if self._fds is not None and self._woken:
                self._woken = False
                os.read(self._fds[0], 1)

    def close(self) -> None:
        """Close both ends; later wake-ups are lost, as nobody sleeps any more. Idempotent."""
        with self._lock:
            fds, self._fds = self._fds, None
        for fd in fds or ():
            os.close(fd)


def set_interest(selector: selectors.BaseSelector, source: HasFileno, wanted: int) -> None:
    """Wait for ``wanted`` (a mask, 0 for nothing) on ``source`` from now on."""
    key = selector.get_map().get(source)
    if not wanted:
        if key is not None:
            selector.unregister(source)
    elif key is None:
        selector.register(source, wanted)
    elif key.events != wanted:
        selector.modify(source, wanted)


def wait_readable(
    selector: selectors.BaseSelector, source: HasFileno, *, reading: bool, writing: bool, timeout: float
) -> bool:
    """Sleep until there is something to do; whether ``source`` is to be read. Another registered source wakes, too."""
    mask = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if writing else 0)
    set_interest(selector, source, mask)
    if reading and isinstance(source, ssl.SSLSocket) and source.pending():
        return True
    ready = selector.select(timeout)
    return reading and any(key.fileobj is source and events & selectors.EVENT_READ for key, events in ready)


def send_at_once(sock: HasFileno) -> None:
    """Let small messages leave: Nagle's algorithm and delayed ACKs together hold them back for up to 40 ms."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(sock: HasFileno | None) -> None:
    """Acknowledge what was just read, on TCP; after each read, since the option does not last (tcp(7)).

    A peer with Nagle's algorithm on (mosquitto and others by default) holds back a small message until the one before
    is acknowledged, and our kernel delays that by 40 ms.
    """
    if isinstance(sock, socket.socket):
        with suppress(OSError):  # the connection has just ended; the next read tells
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

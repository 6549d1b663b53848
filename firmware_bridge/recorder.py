"""Stands between host and MCU: passes bytes on unchanged and at once, then tells what they were.

A stuck MCU looks stuck to the host: its bytes are not taken. For a host that takes nothing bytes are lost after 64 KiB,
as on a port that nobody has open. Must never change, delay or keep back what one side says to the other.
"""

import os
import select
import shutil
import tempfile
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from firmware_bridge.links.port import Port
from firmware_bridge.pty_link import put_link, take_link
from firmware_bridge.trace import Direction, Pieces, Record

_READ_BYTES = 4096
_MAX_UNTAKEN = 0x10000


class HostSide:
    """A pty for the host, with a link to it at ``path`` (a folder of its own when there is none)."""

    def __init__(self, path: str | None = None) -> None:
        self._folder = None if path else tempfile.mkdtemp(prefix="screen-line-")
        self.path = str(path or Path(self._folder or "") / "screen")
        # The host's end stays open here, too: otherwise the pty fails whenever no host has it open.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)

    def __enter__(self) -> Self:
        try:
            put_link(Path(self.path), os.ttyname(self._slave))
        except OSError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the pty and its link away. Idempotent."""
        if self._master >= 0:
            take_link(Path(self.path), os.ttyname(self._slave))
            os.close(self._master)
            os.close(self._slave)
            self._master = self._slave = -1
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def fileno(self) -> int:
        """The descriptor that carries the host's bytes, non-blocking."""
        return self._master

    def read(self) -> bytes:
        """Return what the host has written, b"" for nothing."""
        try:
            return os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return b""

    def write(self, data: bytes) -> int:
        """Return how many of the bytes the pty took."""
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0


class Recorder:
    """Carries bytes between the two; ``tell(record)`` hears each frame when its last byte has passed."""

    def __init__(
        self,
        host: HostSide,
        mcu: Port,
        tell: Callable[[Record], None],
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.lost = 0
        """Bytes of the MCU that no host took."""
        self._host = host
        self._mcu = mcu
        self._tell = tell
        self._clock_ns = clock_ns
        self._start_ns = clock_ns()
        self._to_mcu = self._to_host = b""
        self._pieces = {direction: Pieces() for direction in Direction}

    def run_once(self, timeout_s: float | None = None) -> None:
        """Wait for bytes and carry them; raises LinkError when the MCU's port is gone."""
        reading: list[Port | HostSide] = [self._mcu, *([] if self._to_mcu else [self._host])]
        writing: list[Port | HostSide] = [
            *([self._mcu] if self._to_mcu else []),
            *([self._host] if self._to_host else []),
        ]
        readable, _, _ = select.select(reading, writing, [], timeout_s)
        said_by_host = self._host.read() if self._host in readable else b""
        if data := self._to_mcu + said_by_host:
            self._to_mcu = data[self._mcu.write(data) :]
        if said_by_host:
            self._record(Direction.TO_MCU, said_by_host)
        said_by_mcu = self._mcu.read() if self._mcu in readable else b""
        if data := self._to_host + said_by_mcu:
            rest = data[self._host.write(data) :]
            self._to_host = rest[:_MAX_UNTAKEN]
            self.lost += len(rest) - len(self._to_host)
        if said_by_mcu:
            self._record(Direction.TO_HOST, said_by_mcu)

    def flush(self) -> None:
        """Tell what no delimiter has ended, at the end."""
        for direction, pieces in self._pieces.items():
            if rest := pieces.flush():
                self._tell(Record(self._now_us(), direction, rest))

    def _record(self, direction: Direction, data: bytes) -> None:
        at_us = self._now_us()
        for piece in self._pieces[direction].feed(data):
            self._tell(Record(at_us, direction, piece))

    def _now_us(self) -> int:
        return (self._clock_ns() - self._start_ns) // 1000

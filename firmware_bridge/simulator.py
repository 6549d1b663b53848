"""The MCU side behind a pty: for tests, demonstrations and bring-up without hardware.

A link in a folder of its own points at the pty, so that the path stays while the "cable" is pulled and plugged again.
"""

import os
import random
import select
import shutil
import tempfile
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceEvent, DeviceSession, Display, Raise, Restart, Send
from firmware_bridge.messages import McuEvent, McuHello
from firmware_bridge.protocol import Received, Tick
from firmware_bridge.pty_link import put_link, take_link

_LONGEST_WAIT_S = 0.5
_READ_BYTES = 4096
_MAX_CUES_KEPT = 10_000


@dataclass(slots=True)
class Faults:
    """What is wrong with the MCU or its line; change it at any time."""

    deaf: bool = False
    """Reads, but does nothing and never answers."""
    stuck: bool = False
    """Does not even read: the line fills up."""
    noise: float = 0.0
    """Probability of line noise before an answer."""
    loss: float = 0.0
    """Probability that what was read, or an answer, is lost."""
    slow_s: float = 0.0
    """Seconds that pass before an answer."""


class McuSimulator:
    """A display's MCU in one thread: ``with McuSimulator() as sim: ... sim.device_path``."""

    def __init__(
        self,
        *,
        path: str | Path | None = None,
        hello: McuHello | None = None,
        on_display: Callable[[Display], None] | None = None,
        seed: int = 0,
    ) -> None:
        self.faults = Faults()
        self.cues: list[tuple[float, CueName, str]] = []
        """(monotonic seconds, cue, text) of each cue that a host had shown, not of fall backs; the newest 10,000."""
        self.temperature_c = 41
        """What STATUS tells, -128 to 127; change it at any time, like ``fault_bits``, 0-65535."""
        self.fault_bits = 0
        self._folder = None if path else tempfile.mkdtemp(prefix="screen-mcu-")
        self.device_path = str(path or Path(self._folder or "") / "screen")
        self._hello = hello
        self._on_display = on_display
        self._random = random.Random(seed)  # noqa: S311 - reproducible faults, no secret
        self._changed = threading.Condition()
        self._session = DeviceSession(hello, started=time.monotonic())
        self._pty: tuple[int, int] | None = None
        self._raised: list[McuEvent] = []
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="mcu-simulator", daemon=True)

    def __enter__(self) -> Self:
        try:
            self.replug()
        except OSError:
            self.close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def showing(self) -> Display:
        """What a person would see now."""
        return self._session.showing

    @property
    def falls_back_at(self) -> float | None:
        """CLOCK_MONOTONIC seconds at which the display goes to its own picture; None while that stands."""
        return self._session.falls_back_at

    @property
    def greeted_by(self) -> str | None:
        """Terminal id of the host that said HELLO; None before."""
        return self._session.greeted_by

    def close(self) -> None:
        """End the thread and take the pty and its link away. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        os.write(self._wake_write, b"\x00")
        if self._thread.ident is not None:
            self._thread.join()
        self.unplug()
        os.close(self._wake_read)
        os.close(self._wake_write)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def unplug(self) -> None:
        """Pull the cable: the host's open port fails, the path is gone. Idempotent."""
        with self._changed:
            if self._pty:
                take_link(Path(self.device_path), os.ttyname(self._pty[1]))
                for fd in self._pty:
                    os.close(fd)
                self._pty = None

    def replug(self) -> None:
        """Plug it in again (a new pty, the same path); the MCU has restarted. Idempotent."""
        with self._changed:
            if self._pty:
                return
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._pty = (master, slave)
            self._session = DeviceSession(self._hello, started=time.monotonic())
            put_link(Path(self.device_path), os.ttyname(slave))
        os.write(self._wake_write, b"\x00")

    def restart(self) -> None:
        """Restart the MCU while the cable stays: it has forgotten the host."""
        with self._changed:
            self._session = DeviceSession(self._hello, started=time.monotonic())

    def raise_event(self, event: McuEvent) -> None:
        """Press a button, open the cover, change the light."""
        self._raised.append(event)
        os.write(self._wake_write, b"\x00")

    def wait_for(self, cue: CueName, timeout: float, *, since: int = 0) -> float:
        """Wait until ``cue`` was shown (at or after index ``since`` of ``cues``); return when; raises TimeoutError."""

        def found() -> float | None:
            return next((at for at, name, _ in self.cues[since:] if name is cue), None)

        with self._changed:
            if not self._changed.wait_for(lambda: found() is not None, timeout):
                seen = ", ".join(name for _, name, _ in self.cues[since:])
                raise TimeoutError(f"no {cue} within {timeout} s; shown: {seen or 'nothing'}")
            at = found()
        assert at is not None  # noqa: S101 - narrows what wait_for has made true
        return at

    def _run(self) -> None:
        while not self._stopping:
            fd, wait = self._look()
            watched = [self._wake_read] if fd is None or self.faults.stuck else [self._wake_read, fd]
            try:
                readable, _, _ = select.select(watched, [], [], wait)
            except (OSError, ValueError):
                continue  # unplugged meanwhile
            if self._wake_read in readable:
                os.read(self._wake_read, _READ_BYTES)
            with self._changed:
                if self._pty is None or self._pty[0] != fd:
                    continue
                if fd in readable and not self.faults.stuck and (data := self._read(fd)):
                    self._handle(Received(data), fd)
                while self._raised:
                    self._handle(Raise(self._raised.pop(0)), fd)
                self._handle(Tick(), fd)

    def _look(self) -> tuple[int | None, float]:
        with self._changed:
            due = self._session.due
            wait = _LONGEST_WAIT_S if due is None else min(max(0.0, due - time.monotonic()), _LONGEST_WAIT_S)
            return (self._pty[0] if self._pty else None), wait

    def _read(self, fd: int) -> bytes:
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        lost = self.faults.deaf or self._random.random() < self.faults.loss
        return b"" if lost else data

    def _handle(self, event: DeviceEvent, fd: int) -> None:
        self._session.temperature_c, self._session.faults = self.temperature_c, self.fault_bits
        for effect in self._session.handle(event, time.monotonic()):
            match effect:
                case Send(data=data):
                    self._write(fd, data)
                case Display():
                    self._displayed(effect)
                case Restart():
                    self._session = DeviceSession(self._hello, started=time.monotonic())

    def _write(self, fd: int, data: bytes) -> None:
        if self.faults.slow_s:
            time.sleep(self.faults.slow_s)
        if self._random.random() < self.faults.loss:
            return
        if self._random.random() < self.faults.noise:
            data = self._random.randbytes(self._random.randint(1, 40)) + b"\x00" + data
        with suppress(BlockingIOError):  # the host reads nothing: an MCU drops it as well
            os.write(fd, data)

    def _displayed(self, display: Display) -> None:
        if not display.static:
            self.cues.append((time.monotonic(), display.cue, display.text))
            del self.cues[:-_MAX_CUES_KEPT]
        self._changed.notify_all()
        if self._on_display:
            self._on_display(display)

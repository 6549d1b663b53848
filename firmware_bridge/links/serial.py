"""Screen link over a serial line, a pty or TCP: one thread per opening, woken through a pipe.

A stuck or vanished MCU, or an opening that hangs, costs this thread and nobody else.
"""

import asyncio
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from firmware_bridge.cues import Cue, Lang
from firmware_bridge.links.base import LinkError, LinkFault, LinkObserver
from firmware_bridge.links.driving import KeptCue, UnsentWrites, tell_observer
from firmware_bridge.links.port import Port, open_port
from firmware_bridge.protocol import (
    DEFAULT_BAUD,
    Ask,
    Down,
    Effect,
    HostEvent,
    HostSession,
    Opened,
    Received,
    Tick,
    Want,
    Write,
    ack_within_s,
)

# What waits for the thread. The oldest goes first: a cue that is late is a cue that is wrong.
_MAX_EVENTS = 8
_READ_BYTES = 4096
_LONGEST_WAIT_S = 1.0
_END_WITHIN_S = 2.0
# A peer may send twice what the line carries at its speed, and a tenth of a second's worth at once. A pty or a TCP peer
# that sends more is read no faster: what it does must not take the processor from a tap.
_READ_OVER_LINE = 2.0
_READ_AHEAD_S = 0.1
_BITS_A_BYTE = 10


class SerialLink:
    """An MCU on ``device`` (what ``open_port`` takes), 8N1 at ``baud``."""

    kind = "serial"

    def __init__(
        self, name: str, device: str, *, terminal_id: str, baud: int = DEFAULT_BAUD, lang: Lang = Lang.EN
    ) -> None:
        self.name = name
        self.device = device
        self.baud = baud
        self._terminal_id = terminal_id
        self._lang = lang
        self._line: _Line | None = None
        self._wanted = KeptCue()

    @property
    def detail(self) -> str:
        """The device, and what went wrong on its line."""
        trouble = self._line.session.trouble if self._line else ""
        return f"{self.device}, {trouble}" if trouble else self.device

    @property
    def heard_at(self) -> float | None:
        """The last sign of the MCU in this opening, in CLOCK_MONOTONIC seconds."""
        return self._line.session.heard_at if self._line else None

    def show(self, cue: Cue) -> None:
        """Hand the cue to the thread; keep it for the next opening."""
        now = time.monotonic()
        self._wanted.keep(cue, now)
        if self._line:
            self._line.put(Want(cue, now))

    def ask(self, message: Ask) -> None:
        """Send LEVEL, ASK_STATUS or RESET when the line is free; dropped while the link is down."""
        if self._line:
            self._line.put(message)

    async def serve(self, observer: LinkObserver) -> None:
        """Open the port, run the session until the MCU is gone or silent; raises LinkError."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def on_loop(call: Callable[[], None]) -> None:
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                self._line = None  # the loop is closed: nobody is left to be told

        def end(error: Exception | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error else ended.set_result(None)

        line = _Line(
            self.device,
            self.baud,
            HostSession(self._terminal_id, lang=self._lang, ack_within_s=ack_within_s(self.baud)),
            tell=lambda effect, at: on_loop(lambda: tell_observer(observer, self.name, effect, at)),
            end=lambda error: on_loop(lambda: end(error)),
        )
        self._line = line
        now = time.monotonic()
        if cue := self._wanted.left(now):
            line.put(Want(cue, now))
        line.start(f"screen-{self.name}")
        try:
            await asyncio.shield(ended)
            raise LinkError(LinkFault.IO, f"{self.device}: the line ended by itself")
        finally:
            self._line = None
            line.stop()
            await asyncio.wait([ended], timeout=_END_WITHIN_S)
            if ended.done() and not ended.cancelled():
                ended.exception()  # taken, so that asyncio does not report it as lost


class _Line:
    """One opening of the port; everything but ``put`` and ``stop`` runs in its own thread."""

    def __init__(
        self,
        device: str,
        baud: int,
        session: HostSession,
        *,
        tell: Callable[[Effect, float], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self.session = session
        self._device = device
        self._baud = baud
        self._read_rate = _READ_OVER_LINE * baud / _BITS_A_BYTE
        self._paid_until = 0.0
        self._tell = tell
        self._end = end
        self._events: deque[HostEvent] = deque(maxlen=_MAX_EVENTS)
        self._writes = UnsentWrites()
        self._stopping = False
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def put(self, event: HostEvent) -> None:
        """Queue an event for the thread; the oldest is dropped when it does not keep up."""
        self._events.append(event)
        self._wake()

    def start(self, thread_name: str) -> None:
        """Begin; ``end`` is called once, whatever happens."""
        threading.Thread(target=self._thread, name=thread_name, daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_write < 0:
                return
            with suppress(BlockingIOError):  # the pipe is full: the thread is as good as awake
                os.write(self._wake_write, b"\x00")

    def _thread(self) -> None:
        error: Exception | None = None
        try:
            with open_port(self._device, self._baud) as port:
                self._run(port)
        except Exception as found:  # noqa: BLE001 - serve() raises it: what is no LinkError is told with its traceback
            error = found
        finally:
            with self._wake_lock:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1
            self._end(error)

    def _run(self, port: Port) -> None:
        fd = port.fileno()
        self._handle(Opened())
        while not self._stopping:
            due = self.session.due
            now = time.monotonic()
            wait = _LONGEST_WAIT_S if due is None else min(max(0.0, due - now), _LONGEST_WAIT_S)
            wanting = [fd] if self._writes else []
            too_early = self._paid_until - now - _READ_AHEAD_S
            hearing = [fd, self._wake_read] if too_early <= 0 else [self._wake_read]
            readable, writable, _ = select.select(hearing, wanting, [], min(wait, too_early) if too_early > 0 else wait)
            if self._wake_read in readable:
                os.read(self._wake_read, _READ_BYTES)
            while self._events:
                self._handle(self._events.popleft())
            if fd in readable:
                data = port.read()
                self._paid_until = max(self._paid_until, now) + len(data) / self._read_rate
                self._handle(Received(data))
            self._handle(Tick())
            if writable or not wanting:
                self._flush(port)

    def _handle(self, event: HostEvent) -> None:
        for effect in self.session.handle(event, time.monotonic()):
            match effect:
                case Write():
                    self._writes.put(effect)
                case Down(reason=reason):
                    raise LinkError(LinkFault.NO_ANSWER, f"{self._device}: {reason}")
                case _:
                    self._tell(effect, time.monotonic())

    def _flush(self, port: Port) -> None:
        """Write what the kernel takes now."""
        while piece := self._writes.piece():
            taken = port.write(piece)
            if begun := self._writes.took(taken):
                self._tell(begun, time.monotonic())
            if taken < len(piece):
                return

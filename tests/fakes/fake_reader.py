"""A Reader and Session in memory, for the moments that no emulated chip can be told to have."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.errors import LostReason, ReaderError, SessionLost
from edge_agent.readers.base import RawUid, ReaderInfo, Target, TargetKind


@dataclass
class Reply:
    """What one command gets: bytes after ``delay_s``, or an error."""

    response: bytes = b""
    delay_s: float = 0.0
    error: SessionLost | ReaderError | None = None
    wtx: int = 0


class FakeSession:
    """Answers commands from a script; the phone stays until ``leave``."""

    def __init__(
        self, *replies: Reply | bytes, kind: TargetKind = TargetKind.ISO_DEP, uid: bytes = b"\x04" * 7
    ) -> None:
        self.target = Target(kind, RawUid(uid), 0x20 if kind is TargetKind.ISO_DEP else 0x08)
        self.seen_at = 0.0
        self.wtx = 0
        self.rtt_s = 0.0
        self.ats = b""
        self.apdus: list[bytes] = []
        self.timeouts: list[float] = []
        self.closed = False
        self.waited = False
        self.removal_error: ReaderError | None = None
        self._replies = deque(Reply(reply) if isinstance(reply, bytes) else reply for reply in replies)
        self._left = asyncio.Event()

    async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
        assert not self.closed
        self.apdus.append(apdu)
        self.timeouts.append(timeout_s)
        if not self._replies:
            raise SessionLost(LostReason.VANISHED, "the script is over")
        reply = self._replies.popleft()
        if reply.delay_s > timeout_s:
            await asyncio.sleep(timeout_s)
            raise SessionLost(LostReason.TIMEOUT, "too slow")
        await asyncio.sleep(reply.delay_s)
        if reply.error is not None:
            raise reply.error
        self.rtt_s = reply.delay_s
        self.wtx += reply.wtx
        return reply.response

    def leave(self) -> None:
        self._left.set()

    async def wait_removed(self) -> None:
        self.waited = True
        await self._left.wait()
        if self.removal_error is not None:
            raise self.removal_error

    async def close(self) -> None:
        self.closed = True


@dataclass
class FakeReader:
    """Hands out what ``put`` was given; ``open_errors`` are raised by the next attempts to open, in order."""

    name: str = "fake0"
    last_poll: float = 0.0
    open_errors: deque[ReaderError] = field(default_factory=deque)
    opened: int = 0
    closed: int = 0
    is_open: bool = False
    now: Callable[[], float] = time.monotonic
    _field: asyncio.Queue[FakeSession | ReaderError] = field(default_factory=asyncio.Queue)

    def put(self, thing: FakeSession | ReaderError) -> None:
        self._field.put_nowait(thing)

    async def open(self) -> ReaderInfo:
        if self.open_errors:
            raise self.open_errors.popleft()
        self.opened += 1
        self.is_open = True
        return ReaderInfo(driver="fake", device="/dev/fake", chip="FAKE 1")

    async def next_session(self) -> FakeSession:
        assert self.is_open
        thing = await self._field.get()
        self.last_poll = self.now()
        if isinstance(thing, ReaderError):
            raise thing
        thing.seen_at = self.now()
        return thing

    async def close(self) -> None:
        self.closed += 1
        self.is_open = False

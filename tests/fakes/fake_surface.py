"""A TicketSurface in memory, for the moments that no emulated chip can be told to have."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from edge_agent.errors import ReaderError
from edge_agent.readers.base import ReaderInfo
from edge_agent.tags.base import FieldGone, FieldSeen, SurfaceEvent, TicketRead


@dataclass
class FakeSurface:
    """Shows what it is given; each list of errors is raised by the next calls, in order, before they do anything.

    ``untold`` is what the next ``show`` returns: a read that came just before it.
    """

    name: str = "tag0"
    tells_reads: bool = True
    last_sign: float = 0.0
    open_errors: deque[ReaderError] = field(default_factory=deque)
    show_errors: deque[ReaderError] = field(default_factory=deque)
    hide_errors: deque[ReaderError] = field(default_factory=deque)
    untold: TicketRead | None = None
    shown: list[str] = field(default_factory=list)
    """Every URL that stood on it, in order."""
    face: str | None = "https://left-by-an-earlier-run.example"
    """What a phone finds now."""
    opened: int = 0
    hides: int = 0
    closed: int = 0
    is_open: bool = False
    listeners: int = 0
    show_takes_s: float = 0.0
    _told: asyncio.Queue[SurfaceEvent | ReaderError] = field(default_factory=asyncio.Queue)

    # What people and accidents do.

    def tell(self, event: SurfaceEvent | ReaderError) -> None:
        """The next thing that ``next_event`` returns or raises."""
        self._told.put_nowait(event)

    def read(self, url: str | None = None) -> None:
        """A phone comes, reads what stands there (or what the driver takes for it), and leaves."""
        found = url or self.face
        assert found is not None, "there is nothing to read"
        now = time.monotonic()
        for event in (FieldSeen(now), TicketRead(found, field_at=now, at=now), FieldGone(now)):
            self.tell(event)

    # The port.

    async def open(self) -> ReaderInfo:
        if self.open_errors:
            raise self.open_errors.popleft()
        self.opened += 1
        self.is_open = True
        return ReaderInfo(driver="fake", device="/dev/fake", chip="FAKE 1")

    async def show(self, url: str) -> TicketRead | None:
        assert self.is_open
        assert self.listeners == 0, "one call at a time"
        if self.show_errors:
            raise self.show_errors.popleft()
        await asyncio.sleep(self.show_takes_s)
        self.face = url
        self.shown.append(url)
        read, self.untold = self.untold, None
        return read

    async def hide(self) -> None:
        assert self.is_open
        assert self.listeners == 0, "one call at a time"
        if self.hide_errors:
            raise self.hide_errors.popleft()
        self.hides += 1
        self.face = None

    async def next_event(self) -> SurfaceEvent:
        assert self.is_open
        self.listeners += 1
        try:
            told = await self._told.get()
        finally:
            self.listeners -= 1
        self.last_sign = time.monotonic()
        if isinstance(told, ReaderError):
            raise told
        return told

    async def close(self) -> None:
        self.closed += 1
        if self.is_open:
            self.face = None
        self.is_open = False

"""One phone at a surface: when its field came, whether it read, when it left. Pure: (observation, now) in, events out.

However often a phone reads while it is there, it is one read; a blink of its field is no departure. A further ticket
that was read meanwhile is told at the end: it may be another phone's, and nobody else must get it.
"""

from edge_agent.tags.base import FieldGone, FieldSeen, SurfaceEvent, TicketRead

GONE_AFTER_S = 0.5
"""Phones switch their field off between two looks of their own, for up to 0.3 s."""


class FieldWatch:
    """Debounces the looks at a chip's field and read bits."""

    def __init__(self, *, gone_after_s: float = GONE_AFTER_S) -> None:
        self._gone_after_s = gone_after_s
        self._since: float | None = None
        self._last = 0.0
        self._told: str | None = None
        self._also_read: str | None = None

    @property
    def present(self) -> bool:
        """Whether a phone is there, as far as told."""
        return self._since is not None

    def observe(self, *, field: bool, read: str | None, now: float) -> list[SurfaceEvent]:
        """Take one look: whether a field is there, and the ticket that was read since the look before."""
        events: list[SurfaceEvent] = []
        if field or read is not None:
            if self._since is None:
                self._since, self._told, self._also_read = now, None, None
                events.append(FieldSeen(now))
            self._last = now
        if self._since is None:
            return events
        if read is not None and self._told is None:
            self._told = read
            events.append(TicketRead(read, self._since, now))
        elif read not in {None, self._told}:
            self._also_read = read
        if now - self._last >= self._gone_after_s:
            self._since = None
            events.append(FieldGone(now, self._also_read))
        return events

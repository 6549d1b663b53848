"""The port of a surface that shows a ticket to phones: a dynamic tag, a QR code.

Errors: ReaderError means the hardware or its bus (close, back off, open again), as for a reader. An adapter decides
nothing about tickets: it shows what it is given and tells what the field did.
"""

from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.readers.base import ReaderInfo


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """A phone's field is at the surface since ``at`` (CLOCK_MONOTONIC seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class TicketRead:
    """A phone has read all of the ticket that ``url`` names; ``field_at`` is when its field came, ``at`` when it was
    known to be read (CLOCK_MONOTONIC seconds).
    """

    url: str = field(repr=False)  # a bearer secret
    field_at: float
    at: float


@dataclass(frozen=True, slots=True)
class FieldGone:
    """The phone has left, whether it read or not.

    ``also_read`` is a ticket that was read beside the one that was told, by whomever: no tap comes of it.
    """

    at: float
    also_read: str | None = field(default=None, repr=False)  # a bearer secret


SurfaceEvent = FieldSeen | TicketRead | FieldGone


class TicketSurface(Protocol):
    """One surface. Every call returns or fails in bounded time but ``next_event``."""

    name: str
    last_sign: float
    """CLOCK_MONOTONIC seconds of the last finished look at the hardware: the health check reads it."""
    tells_reads: bool
    """False where nobody knows whether it is read (QR): ``next_event`` never returns, no tap comes of it."""

    async def open(self) -> ReaderInfo:
        """Find and check the hardware; shows nothing yet. Raises ReaderError."""

    async def show(self, url: str) -> TicketRead | None:
        """Replace what is shown by the ticket at ``url``; it is shown when this returns.

        A read of the ticket before that was not told yet is returned, never lost. While a phone is reading, the old
        ticket stays: a second at most, ten where a phone or card holds the memory of a chip. Raises ReaderError.
        """

    async def hide(self) -> None:
        """Show no ticket at all, not even an old one. Raises ReaderError."""

    async def next_event(self) -> SurfaceEvent:
        """Wait for what happens next; cancellable within one look, nothing is lost by that. Raises ReaderError."""

    async def close(self) -> None:
        """Hide the ticket as far as the hardware listens, release it. Idempotent, never raises."""

"""The port of the outbox: what the issuer and the publisher may ask of it.

A row's life: pending -> leased(session) -> sent (PUBACK) -> stored (ack) -> purged; beside it parked and evicted.
A lease belongs to one MQTT connection and lives in memory only: the database has a single owner, and after a
restart no connection of the old process can confirm anything. What is on disk is pending, sent, stored, parked.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.models import ChainPosition, StoredTap, Tap

Sealer = Callable[[Tap, ChainPosition], bytes]
"""Signs one tap for one place in the chain. Called on the writer thread inside the transaction that stores the row."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Contiguous rows of one chain handed to one connection; ends with confirm_sent, release or park."""

    id: int
    session: int
    chain: bytes
    first: int
    last: int
    tokens: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """Counts by state, and the bytes that the database and its WAL take on disk."""

    chain: bytes
    next_seq: int
    pending: int
    leased: int
    sent: int
    stored: int
    parked: int
    bytes_on_disk: int


class Outbox(Protocol):
    """Only the event loop calls these. What touches the disk is a coroutine; the others change memory and return."""

    async def open(self) -> OutboxStats:
        """Open or create the database; raises OutboxError."""

    def append(self, tap: Tap) -> Awaitable[StoredTap]:
        """Begin at once to seal and store one tap; durable when the result is there.

        Awaiting it raises OutboxError, and then nothing was kept.
        """

    def lease_live(self, session: int, stored: StoredTap) -> Lease | None:
        """Lease a row that was just appended, without a read; None if it is no longer pending."""

    async def lease_backlog(self, session: int, *, max_rows: int, max_bytes: int) -> Lease | None:
        """Lease the oldest contiguous pending rows; None if none is pending or the session was released meanwhile."""

    def confirm_sent(self, lease: Lease) -> None:
        """The broker acknowledged (PUBACK) these rows in this session."""

    def park(self, lease: Lease, reason: str) -> None:
        """Take rows that the broker finally refuses out of the way of the others."""

    def release(self, session: int) -> int:
        """The connection ended: its leased rows are pending again. Returns how many."""

    def confirm_stored(self, chain: bytes, through: int, missing: list[tuple[int, int]]) -> int:
        """The receiver has stored all rows up to ``through`` but the missing ranges. Returns how many were new."""

    def requeue_unconfirmed(self, older_than_s: float) -> int:
        """Make rows pending again that were sent longer ago than this and never confirmed. Returns how many."""

    async def tail(self, limit: int) -> list[StoredTap]:
        """Read the newest rows still on disk, newest last."""

    async def stats(self) -> OutboxStats:
        """Count rows and bytes."""

    async def flush(self) -> None:
        """Write all confirmations that are still in memory to disk."""

    async def close(self) -> None:
        """Flush and close. Idempotent."""

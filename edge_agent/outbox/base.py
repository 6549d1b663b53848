"""The port of the outbox: what the issuer, the publisher and the local commands may ask of it.

A row's life: pending -> leased(session) -> sent (PUBACK) -> stored (ack) -> purged; beside it parked and evicted.
A lease belongs to one MQTT connection and lives in memory only: the database has a single owner, and after a
restart no connection of the old process can confirm anything. What is on disk is pending, sent, stored, parked.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.models import CHAIN_ID_BYTES, ChainPosition, ClockReading, StoredTap, Tap

NO_CHAIN = bytes(CHAIN_ID_BYTES)
"""In place of the chain of an outbox that is not open."""

Sealer = Callable[[Tap, ChainPosition], bytes]
"""Signs one tap for one place in the chain. Called on the writer thread inside the transaction that stores the row."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Rows ``first`` to ``last`` of a chain that are given up undelivered; what the gap record says (contract, 4).

    ``prev`` is the prev of ``first``, ``hash`` the link hash of ``last``; ``reason`` is 1-24 of ``[a-z0-9_-]``.
    """

    chain: bytes
    first: int
    last: int
    prev: bytes
    hash: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Codec:
    """All that the outbox knows of tokens; called on the writer thread."""

    seal: Sealer
    seal_gap: Callable[[Hole], bytes]
    """Signs a gap record."""
    link_hash: Callable[[bytes], bytes]
    """What the next token names as its ``prev``."""
    place: Callable[[bytes], ChainPosition | None]
    """Where a token says that it belongs; None for bytes that are no token."""
    exp: Callable[[bytes], int]
    """exp of a token of which ``place`` said that it is one."""
    read_gap: Callable[[bytes], Hole | None]
    """What a gap record says; None for bytes that are none."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the outbox may take; what goes first when it is too much is decided in ``policy``."""

    max_rows: int = 1_000_000
    max_bytes: int = 512 * 1024 * 1024
    """Of the database file with its WAL."""
    min_free_bytes: int = 64 * 1024 * 1024
    """Floor: so much of the file system is left to the rest of the machine."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the current chain: its last seq (0: none yet) and that token's link hash (zeros at 0)."""

    chain: bytes
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class GapRecord:
    """A signed gap record that the receiver has not confirmed; ``number`` is its name in this outbox."""

    number: int
    chain: bytes
    first: int
    last: int
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resent:
    """What became of a wish to have rows again, in rows: pending anew, pending anyway or in flight, not here (any
    more)."""

    requeued: int
    pending: int
    gone: int


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row as `edge-agent outbox list` shows it; ``state`` is pending, leased, sent, stored or parked."""

    chain: bytes
    seq: int
    state: str
    note: str
    exp: int
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RowRange:
    """Neighbours of one chain in the same state; ``gone`` rows are deleted: delivered, or told by a gap record."""

    chain: bytes
    first: int
    last: int
    state: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person must hear of: a stable code (``evt/alarm``), one line, plain data."""

    code: str
    text: str
    data: dict[str, int | str]


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
    evicted: int = 0
    """Rows given up undelivered since this outbox began."""
    gaps: int = 0
    """Gap records that the receiver has not confirmed."""
    fault: str = ""
    """Why taps cannot be kept at the moment (an OutboxFault); empty: they can."""
    quarantined: tuple[str, ...] = ()
    """Names of damaged files that were set aside beside the outbox and not removed yet."""
    salvaging: bool = False
    """Rows of a damaged file are still being taken over."""


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

    def head(self) -> Head:
        """The end of the current chain, for a checkpoint."""

    def gaps_to_send(self) -> list[GapRecord]:
        """Gap records that are neither confirmed nor waiting for it, oldest first."""

    def confirm_gap_sent(self, number: int) -> None:
        """The broker acknowledged this gap record; with confirm = "receiver" an ack that covers it ends its life."""

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """Make rows pending again that were sent, stored or parked and are still here (``cmd/resend``).

        Gap records about any of these rows are to be sent again, too.
        """

    def ranges(self) -> list[RowRange]:
        """All rows by state, in order of chain and seq; what is below the first of a chain is gone."""

    async def page(self, chain: bytes | None, after: int, limit: int) -> list[StoredRow]:
        """Read rows in order of chain and seq, old chains first: those after seq ``after`` of ``chain`` (None: from
        the first chain on). Empty at the end."""

    async def gap_records(self) -> list[GapRecord]:
        """Read all gap records that are still here."""

    async def tail(self, limit: int) -> list[StoredTap]:
        """Read the newest rows still on disk, newest last."""

    async def stats(self) -> OutboxStats:
        """Count rows and bytes."""

    async def remember_wall(self, good: ClockReading, *, at_once: bool) -> None:
        """Keep the last good wall time, now or with the next confirmations; raises OutboxError."""

    async def last_wall(self) -> ClockReading | None:
        """The last good wall time of an earlier run; raises OutboxError."""

    async def flush(self) -> None:
        """Write all confirmations that are still in memory to disk."""

    async def close(self) -> None:
        """Flush and close. Idempotent."""

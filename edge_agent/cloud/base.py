"""The port of the ledger and the values that cross it: what the receiver may ask of any store of taps.

SQLite is one answer (``ledger``); another database must keep the same promises and passes the same tests.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from edge_agent.cloud.witness import Answer, RedemptionAsked, WitnessPolicy
from edge_agent.errors import EdgeAgentError
from edge_agent.uplink.wire import Ack

MAX_SEQ = 2**63 - 2
"""The contract's seq is a uint64; a ledger keeps what fits a signed 64-bit column, with the seq after it: 290 years of
10^9 taps a second."""


MAX_UNFINISHED = 16
"""Chains of one terminal that are searched for holes at its birth: one is what an ordinary terminal has in its life."""


class LedgerError(EdgeAgentError):
    """The ledger could not keep or read rows; nothing of the failed call was kept."""

    code = "ledger"


@dataclass(frozen=True, slots=True)
class Stream:
    """One chain of one terminal: the unit of ``seq``, of continuity and of ``ack``. ``chain`` is 8 bytes."""

    fleet: str
    terminal: str
    chain: bytes


Place = tuple[Stream, int]
"""A stream and a seq: what a cti names within the topic of one terminal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One authentic token and the claims that queries need; times in unix seconds."""

    stream: Stream
    seq: int
    token: bytes = field(repr=False)
    verdict: str
    redeemable: bool
    received_at: float
    kid: bytes
    iat: int
    exp: int
    clk: int
    boot: bytes
    up: int
    prev: bytes
    mode: int
    nonce: bytes | None = None
    sub: bytes | None = None
    campaign: str | None = None
    test: bool = False
    withheld: bool = False
    """Kept and acknowledged, but no tap: it counts for nothing and buys nothing (verdict ``revoked_key``)."""


@dataclass(frozen=True, slots=True)
class GapRow:
    """One authentic gap record: the terminal gave up ``first`` to ``last``. Hashes as in ``tokens.chain.Gap``."""

    stream: Stream
    first: int
    last: int
    prev: bytes
    hash: bytes
    reason: str
    iat: int
    kid: bytes
    record: bytes = field(repr=False)
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One authentic checkpoint: the chain reached ``seq``, whose token hashes to ``head``."""

    stream: Stream
    seq: int
    head: bytes
    clk: int
    iat: int
    kid: bytes
    record: bytes = field(repr=False)
    received_at: float = 0.0


RecordRow = GapRow | CheckpointRow


@dataclass(frozen=True, slots=True)
class Evidence:
    """Bytes that must not count, kept to explain why: a forgery, a stray message, a cloned terminal's second token."""

    topic: str
    verdict: str
    reason: str
    payload: bytes = field(repr=False)
    received_at: float


class Disposition(StrEnum):
    """What became of one row; the two refusals are verdicts of the contract."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Rebased:
    """Rows of one boot whose true time became known; ``offset`` is the unix time at which that boot began."""

    stream: Stream
    boot: bytes
    offset: int
    rows: int


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The outcome of one transaction: a disposition for each row and record in order, and what it brought to light."""

    dispositions: tuple[Disposition, ...]
    breaks: tuple[Place, ...] = ()
    """Links that do not fit (verdict ``chain_break`` of the stream): at each seq, what its token or gap record says of
    the token before is not what that token, a gap record or a checkpoint says."""
    records: tuple[Disposition, ...] = ()
    rebased: tuple[Rebased, ...] = ()
    rebased_at: Mapping[Place, int] = field(default_factory=dict)
    """True times, in unix seconds, of rows of this call that came with ``clk`` 0 and of a boot that is known."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far one stream has come. ``last`` is the highest seq accounted for, ``known`` the highest that exists."""

    ack: Ack
    last: int = 0
    known: int = 0

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """Seqs that exist and are neither stored nor given up, the lowest MAX_MISSING ranges and the end."""
        return (*self.ack.missing, *([(self.last + 1, self.known)] if self.known > self.last else ()))


class Redemption(StrEnum):
    """The answer to one attempt to redeem a tap."""

    REDEEMED = "redeemed"
    ALREADY = "already"
    EXPIRED = "expired"
    NOT_REDEEMABLE = "not_redeemable"
    BY_TICKET = "by_ticket"
    """A read of the terminal's tag: its ticket is what buys (``Ledger.redeem_ticket``)."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TicketAsked:
    """Somebody asks for the reward of an authentic ticket, which has the verdict ``asked.verdict`` now."""

    kid: bytes
    nonce: bytes
    fleet: str
    terminal: str
    asked: RedemptionAsked


@dataclass(frozen=True, slots=True)
class Settled:
    """A redemption that waited for the terminal's report and is granted now."""

    kid: bytes
    nonce: bytes
    fleet: str
    terminal: str
    who: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class ChainAudit:
    """One chain as the stored bytes prove it; ``holes`` and ``breaks`` are empty for an untouched, complete chain.

    ``index_agrees``: what ``acks`` answers is what the rows say. False means that somebody edited the ledger.
    ``gaps`` are seqs that the terminal gave up with a signed record and that did not come after all; ``withheld``
    counts tokens that are kept without being taps. A checkpoint beyond the last row makes the end a hole.
    """

    stream: Stream
    count: int
    through: int
    holes: tuple[tuple[int, int], ...]
    breaks: tuple[int, ...]
    index_agrees: bool
    gaps: tuple[tuple[int, int], ...] = ()
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """Counts of everything ever offered; ``verdicts`` counts stored rows and refusals by verdict."""

    streams: int
    rows: int
    duplicates: int
    redeemed: int
    verdicts: dict[str, int]
    withheld: int = 0
    gaps: int = 0
    """Gap records."""
    rebased: int = 0
    """Rows of terminals without a clock whose true time is known."""
    tickets: dict[str, int] = field(default_factory=dict)
    """Redemptions of tickets by outcome, as it is kept."""


class Ledger(Protocol):
    """Called on the event loop only; every method is safe to repeat after a crash."""

    async def open(self) -> None:
        """Open or create; raises LedgerError."""

    async def store(
        self, rows: Sequence[Row], evidence: Sequence[Evidence] = (), records: Sequence[RecordRow] = ()
    ) -> StoreReport:
        """Keep all of this in one durable transaction or, with LedgerError, nothing of it."""

    async def tokens(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        """The bytes stored at these places; a place without a row is left out."""

    async def acks(self, streams: Collection[Stream]) -> list[Ack]:
        """What is durably stored of each stream, in the order asked; a stream never seen is ``through = 0``."""

    async def standings(self, streams: Collection[Stream]) -> list[Standing]:
        """The acks of these streams and how far they are known to go, in the order asked."""

    async def unfinished(self, terminals: Collection[tuple[str, str]]) -> list[Stream]:
        """The newest MAX_UNFINISHED streams with holes of each of these terminals, (fleet, terminal)."""

    async def redeem(self, *, now: float, cti: bytes | None = None, nonce: bytes | None = None) -> Redemption:
        """Spend a tap, once, until its ``exp`` plus the contract's skew. Exactly one of cti and nonce."""

    async def redeem_ticket(self, asked: TicketAsked, *, now: float, policy: WitnessPolicy) -> Answer:
        """Redeem a ticket by the rules of ``witness``; what is granted is durable when this returns."""

    async def settle_tickets(self, *, now: float, policy: WitnessPolicy) -> list[Settled]:
        """Grant every redemption that waits and whose second witness has come; return them, each once.

        For whoever wants to tell people without being asked again; asking again grants as well.
        """

    async def audit(self) -> list[ChainAudit]:
        """Re-check every chain from the stored bytes; slow, and never in the way of ``store``."""

    async def stats(self) -> LedgerStats:
        """Count rows."""

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""

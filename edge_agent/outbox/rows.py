"""The life of every row: pending, leased, sent, stored, gone, and parked beside it. Pure: takes ``now``, does no I/O.

``now`` is the outbox's operating time in seconds, which goes on counting over restarts: no wall clock decides anything.
It also says what the disk has to learn (``plan``), so that confirmations reach it in few, large transactions.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from edge_agent.outbox.base import Resent
from edge_agent.outbox.gaps import Lost, RecordLoad
from edge_agent.outbox.policy import Need, order
from edge_agent.outbox.runs import GONE, PENDING, STORED, Mark, Run, RunMap, State

SENT_GRAIN_S = 60.0
"""Sent times older than this are rounded up to it: a silent receiver must not cost one run for each row."""

MAX_DELETED_RANGES = 256
MAX_EVICTED_RANGES = 64
"""Each may cost a signature, for which the taps that come meanwhile have to wait."""
MISSING = "the row is missing on disk"
_UNNEEDED = frozenset({State.STORED, State.GONE})


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one chain that are not pending, as the disk knows them; the columns of table ``spans``."""

    chain: int
    first: int
    last: int
    state: int
    at: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class ChainLoad:
    """One chain as found on disk. ``lowest`` is the lowest row that is really there, None if there is none."""

    number: int
    id: bytes
    first_seq: int
    next_seq: int
    lowest: int | None = None
    spans: tuple[Span, ...] = ()
    records: tuple[RecordLoad, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Rows ``first`` to ``last``, both included, of one chain."""

    chain: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One transaction of confirmations: spans to remove and to add, rows to delete, new low ends of the chains."""

    now: float
    removed: tuple[Span, ...]
    added: tuple[Span, ...]
    first_seqs: dict[int, int]
    deleted: tuple[Range, ...]
    spans: frozenset[Span] = field(repr=False)
    evicted: tuple[Lost, ...] = ()
    """Undelivered rows to delete."""
    undo: tuple[tuple[bytes, Run], ...] = field(default=(), repr=False)
    """What the evicted rows were before, by chain."""

    @property
    def lost(self) -> int:
        """How many undelivered rows are to be deleted."""
        return sum(rows.last - rows.first + 1 for rows in self.evicted)

    @property
    def rows(self) -> int:
        """How many rows are to be deleted in all."""
        return self.lost + sum(rows.last - rows.first + 1 for rows in self.deleted)


@dataclass(frozen=True, slots=True)
class Acked:
    """What became of an ack: rows that were news, and why it was ignored as a whole, if it was."""

    new: int = 0
    ignored: str = ""


@dataclass(frozen=True, slots=True)
class _Lease:
    session: int
    chain: bytes
    first: int
    last: int


class Rows:
    """All rows of all chains; the last chain loaded is the current one, which appends extend.

    ``keep_sent_s``: None keeps a row until the receiver has it (confirm = "receiver"); a number lets it go that long
    after its PUBACK (confirm = "broker"). The ``keep_newest`` rows of the current chain are never deleted: the phone
    may come back for its token, and the head of the chain stays readable.
    """

    def __init__(
        self, chains: Iterable[ChainLoad], *, keep_sent_s: float | None, keep_newest: int, last_lease: int = 0
    ) -> None:
        self._keep_sent_s = keep_sent_s
        self._keep_newest = keep_newest
        self._chains: dict[bytes, RunMap] = {}
        self._numbers: dict[bytes, int] = {}
        self._leases: dict[int, _Lease] = {}
        self.last_lease = last_lease
        """Ids of leases go on from here: what is still said of older ones must not meet a new one."""
        self.vanished = 0
        """Rows that were expected on disk at load and are not there."""
        written: set[Span] = set()
        for chain in chains:
            self._load(chain)
            self.current = chain.id
            written.update(chain.spans)
        self._written = frozenset(written)
        self._written_first = {self._numbers[id_]: runs.first for id_, runs in self._chains.items()}

    def _load(self, chain: ChainLoad) -> None:
        runs = RunMap(chain.first_seq)
        runs.extend(chain.next_seq - chain.first_seq, PENDING)
        for span in chain.spans:
            runs.rewrite(_always(Mark(State(span.state), at=span.at, note=span.note)), span.first, span.last)
        lowest = chain.next_seq if chain.lowest is None else chain.lowest
        self.vanished += runs.rewrite(lambda mark: GONE if mark.state is State.PENDING else None, None, lowest - 1)
        self._chains[chain.id] = runs
        self._numbers[chain.id] = chain.number

    def adopt(self, chain: ChainLoad) -> None:
        """Add an old chain that was salvaged meanwhile; its rows go out before those of the current one.

        Of a chain that is here already, only rows that were not here are news.
        """
        known = self._chains.pop(chain.id, None)
        current = self._chains.pop(self.current)
        self._load(chain)
        for run in known.runs() if known is not None else ():
            if run.mark.state is not State.GONE:
                self._chains[chain.id].rewrite(_always(run.mark), run.first, run.last)
        self._chains[self.current] = current
        self._written = frozenset(span for span in self._written if span.chain != chain.number) | set(chain.spans)
        self._written_first[chain.number] = self._chains[chain.id].first

    @property
    def next_seq(self) -> int:
        """Where the current chain goes on."""
        return self._chains[self.current].end

    def number(self, chain: bytes) -> int:
        """The chain's number on disk."""
        return self._numbers[chain]

    def chains(self, since: bytes | None = None) -> list[bytes]:
        """Ids of the chains from this one on (None: from the first), in the order of delivery; empty if unknown."""
        ids = list(self._chains)
        if since is None:
            return ids
        return ids[ids.index(since) :] if since in self._chains else []

    def mark(self, chain: bytes, seq: int) -> Mark:
        """State of one row; GONE for one that is not here."""
        runs = self._chains.get(chain)
        return runs.mark(seq) if runs is not None and runs.first <= seq < runs.end else GONE

    def ranges(self) -> Iterator[tuple[bytes, Run]]:
        """All runs of equal rows with their chains, in the order of delivery."""
        for chain, runs in self._chains.items():
            for run in runs.runs():
                yield chain, run

    def count(self, state: State) -> int:
        """Rows in this state, over all chains."""
        return sum(runs.count(state) for runs in self._chains.values())

    def append(self, seq: int) -> None:
        """A row was committed to the current chain."""
        runs = self._chains[self.current]
        if seq != runs.end:
            raise ValueError(f"row {seq} was committed where {runs.end} was next")
        runs.extend(1, PENDING)

    def oldest_pending(self) -> tuple[bytes, Run] | None:
        """The oldest contiguous pending rows; old chains first."""
        for chain, runs in self._chains.items():
            if (run := runs.oldest_pending()) is not None:
                return chain, run
        return None

    def lease(self, session: int, chain: bytes, first: int, last: int) -> int | None:
        """Hand rows to a connection; returns the id of the lease, None unless all of them are pending."""
        runs = self._chains.get(chain)
        if runs is None or not runs.first <= first <= last < runs.end:
            return None
        if any(run.mark.state is not State.PENDING for run in runs.runs(first, last)):
            return None
        self.last_lease += 1
        runs.rewrite(_always(Mark(State.LEASED, lease=self.last_lease)), first, last)
        self._leases[self.last_lease] = _Lease(session, chain, first, last)
        return self.last_lease

    def confirm_sent(self, lease: int, now: float) -> int:
        """PUBACK: what is still leased under this id is sent. Returns how many; 0 for a lease that has ended."""
        return self._end_lease(lease, Mark(State.SENT, at=now))

    def park(self, lease: int, reason: str) -> int:
        """Final refusal: what is still leased under this id is out of the way. Returns how many."""
        return self._end_lease(lease, Mark(State.PARKED, note=reason))

    def park_missing(self, chain: bytes, seq: int) -> None:
        """A pending row cannot be read: never try it again."""
        self._chains[chain].rewrite(_always(Mark(State.PARKED, note=MISSING)), seq, seq)

    def release(self, session: int) -> int:
        """The connection ended: what is still leased to it is pending again. Returns how many."""
        ended = [lease for lease, held in self._leases.items() if held.session == session]
        return sum(self._end_lease(lease, PENDING) for lease in ended)

    def _end_lease(self, lease: int, mark: Mark) -> int:
        held = self._leases.pop(lease, None)
        if held is None:
            return 0
        return self._chains[held.chain].rewrite(lambda old: mark if old.lease == lease else None, held.first, held.last)

    def confirm_stored(self, chain: bytes, through: int, missing: Iterable[tuple[int, int]]) -> Acked:
        """Ack: rows up to ``through`` are stored but the missing ranges. Idempotent; never raises on peer input.

        An ack that cannot be true is ignored as a whole: of it, nothing can be believed. Of an old chain, which was
        damaged, the receiver may know rows behind those that were left.
        """
        runs = self._chains.get(chain)
        if runs is None:
            return Acked(ignored="unknown chain")
        if through >= runs.end and chain == self.current:
            return Acked(ignored="beyond the last row")
        holes = sorted(missing)
        if any(first > last or first < 1 for first, last in holes):
            return Acked(ignored="malformed range")
        new, low = 0, runs.first
        for first, last in [*holes, (through + 1, through + 1)]:
            high = min(first - 1, through)
            if low <= high:
                new += runs.rewrite(_store, low, high)
            low = max(low, last + 1)
        return Acked(new=new)

    def requeue_unconfirmed(self, now: float, older_than_s: float) -> int:
        """Rows sent at least this long ago and not stored yet are pending again. Returns how many."""
        return self._rewrite_sent(PENDING, lambda at: now - at >= older_than_s)

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """Rows that are still here and not under way are pending again, whatever was confirmed of them."""
        wanted = max(0, last - first + 1)
        runs = self._chains.get(chain)
        if runs is None or not wanted:
            return Resent(0, 0, wanted)
        states = [(run.mark.state, len(run)) for run in runs.runs(first, last)]
        under_way = sum(rows for state, rows in states if state in (State.PENDING, State.LEASED))
        again = runs.rewrite(_repeat, first, last)
        return Resent(requeued=again, pending=under_way, gone=wanted - again - under_way)

    @property
    def ages(self) -> bool:
        """Whether rows will leave without any further event, when their time has come."""
        return self._keep_sent_s is not None and self.count(State.SENT) > 0

    @property
    def on_disk(self) -> int:
        """Rows that take room on disk, over all chains."""
        return sum(runs.end - runs.first - runs.count(State.GONE) for runs in self._chains.values())

    def delivered(self, chain: bytes, first: int, last: int) -> bool:
        """Whether nobody needs any of these rows: they are stored, or gone for whatever reason."""
        runs = self._chains.get(chain)
        return runs is None or all(run.mark.state in _UNNEEDED for run in runs.runs(first, last))

    def plan(self, now: float, max_deleted: int, need: Need | None = None, *, crowded: bool = False) -> Plan | None:
        """The next transaction for the disk; None if it knows everything. At most one plan may be under way.

        With ``need`` undelivered rows go, too, in the order of the policy; what is ``crowded`` is said there.
        """
        self._age(now)
        deleted = tuple(self._delete(max_deleted))
        undo: tuple[tuple[bytes, Run], ...] = ()
        if need is not None:
            wanted = min(need.rows, max_deleted) - sum(rows.last - rows.first + 1 for rows in deleted)
            undo = tuple(self._evict(order(need, crowded=crowded), wanted))
        spans = frozenset(self._spans())
        firsts = {self._numbers[id_]: _first_kept(runs) for id_, runs in self._chains.items()}
        changed = {number: first for number, first in firsts.items() if first != self._written_first[number]}
        if spans == self._written and not changed and not deleted:
            return None
        return Plan(
            now=now,
            removed=tuple(self._written - spans),
            added=tuple(spans - self._written),
            first_seqs=changed,
            deleted=deleted,
            spans=spans,
            evicted=tuple(Lost(self._numbers[chain], chain, run.first, run.last) for chain, run in undo),
            undo=undo,
        )

    def applied(self, plan: Plan) -> None:
        """The disk knows this plan now."""
        self._written = self._written - set(plan.removed) | set(plan.added)  # a chain may have been adopted meanwhile
        self._written_first.update(plan.first_seqs)
        for runs in self._chains.values():
            runs.forget_gone()

    def failed(self, plan: Plan) -> None:
        """The disk knows nothing of this plan; the next one will hold it again."""
        by_number = {number: self._chains[id_] for id_, number in self._numbers.items()}
        for rows in plan.deleted:
            by_number[rows.chain].rewrite(_always(STORED), rows.first, rows.last)
        for chain, run in plan.undo:
            self._chains[chain].rewrite(_always(run.mark), run.first, run.last)

    def _age(self, now: float) -> None:
        if (keep := self._keep_sent_s) is not None:
            self._rewrite_sent(STORED, lambda at: now - at >= keep)
        for runs in self._chains.values():
            runs.rewrite(lambda mark: _coarse(mark, now))

    def _rewrite_sent(self, to: Mark, when: Callable[[float], bool]) -> int:
        def change(mark: Mark) -> Mark | None:
            return to if mark.state is State.SENT and when(mark.at) else None

        return sum(runs.rewrite(change) for runs in self._chains.values() if runs.count(State.SENT))

    def _delete(self, limit: int) -> Iterator[Range]:
        ranges = 0
        for id_, runs in self._chains.items():
            if not runs.count(State.STORED):
                continue
            for run in [run for run in runs.runs(None, self._highest(id_)) if run.mark.state is State.STORED]:
                if limit < 1 or ranges == MAX_DELETED_RANGES:
                    return
                last = min(run.last, run.first + limit - 1)
                runs.rewrite(_always(GONE), run.first, last)
                limit -= last - run.first + 1
                ranges += 1
                yield Range(self._numbers[id_], run.first, last)

    def _evict(self, ranks: Iterable[frozenset[State]], limit: int) -> Iterator[tuple[bytes, Run]]:
        ranges = 0
        for rank in ranks:
            for id_, runs in self._chains.items():
                if not any(runs.count(state) for state in rank):
                    continue
                for run in [run for run in runs.runs(None, self._highest(id_)) if run.mark.state in rank]:
                    if limit < 1 or ranges == MAX_EVICTED_RANGES:
                        return
                    gone = Run(run.first, min(run.last, run.first + limit - 1), run.mark)
                    runs.rewrite(_always(GONE), gone.first, gone.last)
                    limit -= len(gone)
                    ranges += 1
                    yield id_, gone

    def _highest(self, chain: bytes) -> int:
        """Above it nothing is deleted: a phone may come back for its token."""
        return self._chains[chain].end - 1 - (self._keep_newest if chain == self.current else 0)

    def _spans(self) -> Iterator[Span]:
        for id_, runs in self._chains.items():
            for run in runs.runs(_first_kept(runs)):
                mark = run.mark
                if mark.state not in (State.PENDING, State.LEASED):
                    yield Span(self._numbers[id_], run.first, run.last, int(mark.state), mark.at, mark.note)


def _always(mark: Mark) -> Callable[[Mark], Mark]:
    return lambda _: mark


def _store(mark: Mark) -> Mark | None:
    return None if mark.state is State.GONE else STORED


def _repeat(mark: Mark) -> Mark | None:
    again = mark.state in (State.SENT, State.STORED) or (mark.state is State.PARKED and mark.note != MISSING)
    return PENDING if again else None


def _coarse(mark: Mark, now: float) -> Mark | None:
    """Rounds up, never down: a row may wait a little longer for its ack, but is not repeated early."""
    if mark.state is not State.SENT or now - mark.at < SENT_GRAIN_S:
        return None
    return Mark(State.SENT, at=math.ceil(mark.at / SENT_GRAIN_S) * SENT_GRAIN_S)


def _first_kept(runs: RunMap) -> int:
    for run in runs.runs():
        if run.mark.state is not State.GONE:
            return run.first
    return runs.end

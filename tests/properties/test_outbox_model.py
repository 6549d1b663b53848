"""Rows against a naive model: a dictionary from (chain, seq) to state, under any operations, restarts and crashes."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from edge_agent.outbox.base import Resent
from edge_agent.outbox.policy import Need
from edge_agent.outbox.rows import SENT_GRAIN_S, ChainLoad, Plan, Rows, Span
from edge_agent.outbox.runs import State

CURRENT = b"chain-01"
OLD = b"chain-00"
NUMBERS = {OLD: 2, CURRENT: 1}
CHAINS = st.sampled_from([OLD, CURRENT])
SEQS = st.integers(-2, 40)
RANGES = st.builds(lambda first, more: (first, first + more), st.integers(1, 30), st.integers(0, 12))


@dataclass
class Disk:
    """What SQLite would hold: rows, spans by their key, the low and high end of each chain."""

    rows: set[tuple[int, int]] = field(default_factory=set)
    spans: dict[tuple[int, int], Span] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=lambda: {1: 1, 2: 1})
    next: dict[int, int] = field(default_factory=lambda: {1: 1, 2: 1})
    old_is_here: bool = True

    def apply(self, plan: Plan) -> None:
        for span in plan.removed:
            del self.spans[span.chain, span.first]
        for span in plan.added:
            assert (span.chain, span.first) not in self.spans
            self.spans[span.chain, span.first] = span
        for deleted in plan.deleted:
            for seq in range(deleted.first, deleted.last + 1):
                self.rows.remove((deleted.chain, seq))  # raises if it was not there
        for lost in plan.evicted:
            for seq in range(lost.first, lost.last + 1):
                self.rows.remove((lost.number, seq))
        self.first.update(plan.first_seqs)

    def load(self) -> list[ChainLoad]:
        return [
            ChainLoad(
                number,
                id_,
                self.first[number],
                self.next[number],
                lowest=min((seq for chain, seq in self.rows if chain == number), default=None),
                spans=tuple(span for span in self.spans.values() if span.chain == number),
            )
            for id_, number in NUMBERS.items()
            if number == 1 or self.old_is_here
        ]


# Crashes forget leases and unwritten confirmations: too many of them would hide what builds up over time.
OUTCOMES = ["applied"] * 6 + ["failed", "failed", "crash before", "crash after"]


class OutboxMachine(RuleBasedStateMachine):
    """Every rule does the same to both and compares what they say."""

    leases: Bundle[tuple[int, int]] = Bundle("leases")
    keep_newest = 3

    @initialize(old_rows=st.integers(0, 6), rows=st.integers(0, 20), salvaged_later=st.booleans())
    def start(self, *, old_rows: int, rows: int, salvaged_later: bool) -> None:
        self.now = 0.0
        self.disk = Disk(old_is_here=not salvaged_later)
        self.old_rows = {(2, seq) for seq in range(1, old_rows + 1)}
        self.model: dict[tuple[bytes, int], State] = {}
        if not salvaged_later:
            self._old_chain_arrives()
        self.wished: set[tuple[bytes, int]] = set()
        self.holder: dict[tuple[bytes, int], tuple[int, int]] = {}
        self.sent_at: dict[tuple[bytes, int], float] = {}
        self.restart()
        self.append(rows)

    def _old_chain_arrives(self) -> None:
        self.disk.old_is_here = True
        self.disk.next[2] = len(self.old_rows) + 1
        self.disk.rows |= self.old_rows
        self.model |= {(OLD, seq): State.PENDING for _, seq in self.old_rows}

    @precondition(lambda self: not self.disk.old_is_here)
    @rule()
    def adopt(self) -> None:
        self._old_chain_arrives()
        old, _ = self.disk.load()
        self.rows.adopt(old)
        assert self.rows.current == CURRENT
        assert self.rows.chains() == [OLD, CURRENT]

    @rule(chain=CHAINS, wanted=RANGES)
    def resend(self, chain: bytes, wanted: tuple[int, int]) -> None:
        first, last = wanted
        keys = [(chain, seq) for seq in range(first, last + 1)]
        states = [self.model.get(key, State.GONE) for key in keys]
        again = [key for key in keys if self.model.get(key) in (State.SENT, State.STORED, State.PARKED)]
        under_way = sum(state in (State.PENDING, State.LEASED) for state in states)
        assert self.rows.resend(chain, first, last) == Resent(len(again), under_way, len(keys) - len(again) - under_way)
        for key in again:
            self.model[key] = State.PENDING
        self.wished |= set(again)

    @rule(rows=st.integers(1, 9))
    def append(self, rows: int) -> None:
        for _ in range(rows):
            seq = self.rows.next_seq
            self.rows.append(seq)
            self.disk.rows.add((1, seq))
            self.disk.next[1] = seq + 1
            assert (CURRENT, seq) not in self.model, "a seq was used twice"
            self.model[CURRENT, seq] = State.PENDING

    @rule(target=leases, session=st.integers(1, 3), limit=st.integers(1, 9))
    def lease_backlog(self, session: int, limit: int):  # type: ignore[no-untyped-def]  # hypothesis' own result type
        pending = [key for key, state in self.model.items() if state is State.PENDING]
        oldest = self.rows.oldest_pending()
        if oldest is None:
            assert not pending
            return multiple()
        chain, run = oldest
        assert (chain, run.first) == min(pending)
        return self._lease(session, chain, run.first, min(run.last, run.first + limit - 1))

    @rule(target=leases, session=st.integers(1, 3), chain=CHAINS, first=SEQS, length=st.integers(1, 4))
    def lease_any(self, session: int, chain: bytes, first: int, length: int):  # type: ignore[no-untyped-def]  # as above
        return self._lease(session, chain, first, first + length - 1)

    def _lease(self, session: int, chain: bytes, first: int, last: int):  # type: ignore[no-untyped-def]  # as above
        keys = [(chain, seq) for seq in range(first, last + 1)]
        lease = self.rows.lease(session, chain, first, last)
        assert (lease is not None) == all(self.model.get(key) is State.PENDING for key in keys)
        if lease is None:
            return multiple()
        for key in keys:
            self.model[key] = State.LEASED
            self.holder[key] = (session, lease)
        return (session, lease)

    def _held(self, lease: int) -> list[tuple[bytes, int]]:
        return [key for key, (_, held) in self.holder.items() if held == lease and self.model.get(key) is State.LEASED]

    @rule(lease=leases)
    def confirm_sent(self, lease: tuple[int, int]) -> None:
        keys = self._held(lease[1])
        assert self.rows.confirm_sent(lease[1], self.now) == len(keys)
        for key in keys:
            self.model[key] = State.SENT
            self.sent_at[key] = self.now
            del self.holder[key]

    @rule(lease=consumes(leases))
    def park(self, lease: tuple[int, int]) -> None:
        keys = self._held(lease[1])
        assert self.rows.park(lease[1], "refused") == len(keys)
        for key in keys:
            self.model[key] = State.PARKED
            del self.holder[key]

    @rule(session=st.integers(1, 3))
    def release(self, session: int) -> None:
        keys = [key for key, (of, lease) in self.holder.items() if of == session and key in self._held(lease)]
        assert self.rows.release(session) == len(keys)
        for key in keys:
            self.model[key] = State.PENDING
            del self.holder[key]

    @rule(through=st.integers(1, 20), behind=st.integers(0, 10))
    def confirm_stored_plainly(self, through: int, behind: int) -> None:
        """The usual ack: everything up to a row near the end."""
        self.confirm_stored(CURRENT, max(through, self.rows.next_seq - 1 - behind), [])

    @rule(chain=CHAINS, through=SEQS, missing=st.lists(RANGES | st.tuples(SEQS, SEQS), max_size=4))
    def confirm_stored(self, chain: bytes, through: int, missing: list[tuple[int, int]]) -> None:
        acked = self.rows.confirm_stored(chain, through, missing)
        wrong = any(first > last or first < 1 for first, last in missing)
        unknown = chain == OLD and not self.disk.old_is_here
        beyond = chain == CURRENT and through >= self.disk.next[1]  # of an old chain the receiver may know more
        if wrong or unknown or beyond:
            assert acked.ignored
            assert acked.new == 0
            return
        news = [
            (chain, seq)
            for seq in range(1, through + 1)
            if self.model.get((chain, seq), State.GONE) not in (State.STORED, State.GONE)
            and not any(first <= seq <= last for first, last in missing)
        ]
        assert (acked.new, acked.ignored) == (len(news), "")
        for key in news:
            self.model[key] = State.STORED

    @rule(older_than=st.floats(0, 200))
    def requeue(self, older_than: float) -> None:
        before = {key for key, state in self.model.items() if state is State.SENT}
        came_back = self.rows.requeue_unconfirmed(self.now, older_than)
        now_pending = {key for key in before if self._state(key) is State.PENDING}
        assert came_back == len(now_pending)
        for key in before:
            age = self.now - self.sent_at[key]
            assert key in now_pending if age >= older_than + SENT_GRAIN_S else True, "forgotten"
            assert age >= older_than if key in now_pending else True, "repeated too early"
        for key in now_pending:
            self.model[key] = State.PENDING

    @rule(seconds=st.floats(0.1, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 10), outcome=st.sampled_from(OUTCOMES))
    def flush(self, limit: int, outcome: str) -> None:
        self._write(limit, outcome, None, crowded=False)

    @rule(
        limit=st.integers(1, 10),
        outcome=st.sampled_from(OUTCOMES),
        need=st.builds(Need, st.integers(1, 12), st.booleans()),
        crowded=st.booleans(),
    )
    def evict(self, limit: int, outcome: str, need: Need, *, crowded: bool) -> None:
        self._write(limit, outcome, need, crowded=crowded)

    def _write(self, limit: int, outcome: str, need: Need | None, *, crowded: bool) -> None:
        plan = self.rows.plan(self.now, limit, need, crowded=crowded)
        if plan is None:
            return
        assert plan.rows <= limit
        chains = {2: OLD, 1: CURRENT}
        deleted = [(chains[rows.chain], seq) for rows in plan.deleted for seq in range(rows.first, rows.last + 1)]
        evicted = [(lost.chain, seq) for lost in plan.evicted for seq in range(lost.first, lost.last + 1)]
        for chain, seq in deleted + evicted:
            assert chain == OLD or seq < self.rows.next_seq - self.keep_newest
        for key in deleted:
            assert self.model[key] is State.STORED, "a row was deleted that somebody needs"
        self._check_evicted(evicted, need, crowded=crowded)
        if outcome in ("applied", "crash after"):
            self.disk.apply(plan)
            self.wished.clear()
            self.model |= dict.fromkeys(deleted + evicted, State.GONE)
        if outcome == "applied":
            self.rows.applied(plan)
        elif outcome == "failed":
            self.rows.failed(plan)
        else:
            self.restart()

    def _check_evicted(self, evicted: list[tuple[bytes, int]], need: Need | None, *, crowded: bool) -> None:
        """Only as many as are needed, never one that is under way, and nothing worth more than what stays."""
        if need is None:
            assert not evicted
            return
        assert len(evicted) <= need.rows
        worth = {State.SENT: 0, State.PENDING: 1, State.PARKED: 1}
        assert all(self.model[key] in worth for key in evicted)
        assert need.lossy or all(self.model[key] is State.SENT for key in evicted)
        last = self.rows.next_seq - 1 - self.keep_newest
        stays = {
            key
            for key, state in self.model.items()
            if state in worth and key not in evicted and (key[0] == OLD or key[1] <= last)
        }

        def value(key: tuple[bytes, int]) -> tuple[int, tuple[bytes, int]]:
            return (0 if crowded and need.lossy else worth[self.model[key]], key)

        if evicted and stays:
            assert max(map(value, evicted)) < min(map(value, stays)), "something else should have gone first"

    def restart(self) -> None:
        """What the disk never heard of may be forgotten, but only in the direction of sending it again."""
        self.rows = Rows(self.disk.load(), keep_sent_s=None, keep_newest=self.keep_newest)
        assert self.rows.vanished == 0
        self.holder.clear()
        for key, before in self.model.items():
            after = self._state(key)
            allowed = {
                State.GONE: {State.GONE},
                State.STORED: {State.STORED, State.PARKED, State.SENT, State.PENDING},
                State.PARKED: {State.PARKED, State.SENT, State.PENDING},
                State.SENT: {State.SENT, State.PENDING},
                State.LEASED: {State.SENT, State.PENDING},
                State.PENDING: {State.SENT, State.PENDING},
            }
            forgotten = key in self.wished and after is not State.GONE  # who wants it will ask again
            assert after in allowed[before] or forgotten, (key, before, after)
            self.model[key] = after
            if after is State.SENT:
                self.sent_at.setdefault(key, self.now)
        self.wished.clear()

    def _state(self, key: tuple[bytes, int]) -> State:
        return self.rows.mark(*key).state

    @invariant()
    def same(self) -> None:
        """Nothing is lost, nothing is in two states, and the counts tell the truth."""
        if not hasattr(self, "model"):
            return
        for key, state in self.model.items():
            assert self._state(key) is state, key
        for state in set(State) - {State.GONE}:
            assert self.rows.count(state) == sum(one is state for one in self.model.values())
        for runs in self.rows._chains.values():
            marks = [run.mark for run in runs.runs()]
            assert all(one != other for one, other in pairwise(marks)), "neighbours were not joined"


TestOutboxModel = pytest.mark.timeout(300)(OutboxMachine.TestCase)
TestOutboxModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


def test_spans_are_values() -> None:
    """The diff of what the disk knows relies on it."""
    span = Span(1, 2, 3, 1, 4.0)
    assert {span} == {replace(span)}

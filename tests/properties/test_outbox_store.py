"""The real outbox on a real file against a model in memory: any operations, evictions, kills and reopenings.

Every tap that was appended is exactly one of pending, leased, sent, stored, parked, deleted after its ack, or spoken
of by a gap record; seqs never jump; and the chain links up from the first token to the head, across all gaps.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.clock import FakeClock
from edge_agent.models import FIRST_PREV
from edge_agent.outbox.base import Bounds, Hole, Lease, StoredRow
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, hole_in, place_in, plain_link

KEEP_NEWEST = 3
SETTINGS = StoreSettings(
    close_s=CLOSE_S,
    keep_newest=KEEP_NEWEST,
    flush_s=3600.0,
    bounds=Bounds(max_rows=50, max_bytes=64 * 1024 * 1024, min_free_bytes=0),
    probe_s=3600.0,
)


class StoreMachine(RuleBasedStateMachine):
    """Every rule does something to the store and says what the model expects of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-model-"))
        self.clock = FakeClock()
        self.tokens: dict[int, bytes] = {}
        self.acked: set[int] = set()
        self.leases: list[Lease] = []
        self.session = 1

    def run(self, work):  # type: ignore[no-untyped-def]  # any awaitable
        async def limited():  # type: ignore[no-untyped-def]  # as above
            async with asyncio.timeout(20):
                return await work

        return self.loop.run_until_complete(limited())

    def tell(self, method, *args):  # type: ignore[no-untyped-def]  # any method of the store that does not wait
        async def on_the_loop():  # type: ignore[no-untyped-def]  # as above
            return method(*args)

        return self.run(on_the_loop())

    @initialize(taps=st.integers(20, 50))
    def start(self, taps: int) -> None:
        self._open()
        self.chain = self.store.head().chain
        self.append(taps)

    def _open(self) -> None:
        self.store = OutboxStore(self.folder / "outbox.db", PLAIN, clock=self.clock, settings=SETTINGS)
        self.run(self.store.open())

    async def _settled(self) -> None:
        """Evictions that are under way have ended."""
        while (task := self.store._upkeep._look_task) is not None and not task.done():
            await task

    @rule(taps=st.integers(5, 40))
    def append(self, taps: int) -> None:
        async def work() -> None:
            for stored in await asyncio.gather(*(self.store.append(a_tap(number)) for number in range(taps))):
                assert stored.seq == len(self.tokens) + 1, "a seq was left out or used twice"
                self.tokens[stored.seq] = stored.token
            self.store._upkeep.look_soon()
            await self._settled()

        self.run(work())

    @rule(rows=st.integers(1, 9))
    def lease(self, rows: int) -> None:
        lease = self.run(self.store.lease_backlog(self.session, max_rows=rows, max_bytes=9999))
        if lease is not None:
            assert lease.tokens == tuple(self.tokens[seq] for seq in range(lease.first, lease.last + 1))
            self.leases.append(lease)

    @rule(which=st.integers(0, 99))
    def puback(self, which: int) -> None:
        if self.leases:
            self.tell(self.store.confirm_sent, self.leases.pop(which % len(self.leases)))

    @rule(which=st.integers(0, 99))
    def park(self, which: int) -> None:
        if self.leases:
            self.tell(self.store.park, self.leases.pop(which % len(self.leases)), "no")

    @rule()
    def disconnect(self) -> None:
        self.store.release(self.session)
        self.session += 1
        self.leases.clear()

    @rule(behind=st.integers(0, 30), missing=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 9)), max_size=3))
    def ack(self, behind: int, missing: list[tuple[int, int]]) -> None:
        through = max(0, len(self.tokens) - behind)
        holes = [(first, first + more) for first, more in missing]
        before = {record.number: record for record in self.run(self.store.gap_records())}
        self.tell(self.store.confirm_stored, self.chain, through, holes)
        self.acked |= {seq for seq in range(1, through + 1) if not any(first <= seq <= last for first, last in holes)}
        after = {record.number for record in self.run(self.store.gap_records())}
        for number in before.keys() - after:
            record = before[number]
            assert set(range(record.first, record.last + 1)) <= self.acked, "a gap record went without an ack"

    @rule(first=st.integers(1, 200), more=st.integers(0, 40))
    def resend(self, first: int, more: int) -> None:
        told = self.tell(self.store.resend, self.chain, first, first + more)
        assert told.requeued + told.pending + told.gone == more + 1

    @rule(seconds=st.floats(1, 100))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.tell(self.store.requeue_unconfirmed, 60.0)

    @rule()
    def send_gaps(self) -> None:
        for record in self.store.gaps_to_send():
            self.tell(self.store.confirm_gap_sent, record.number)
        assert self.store.gaps_to_send() == []

    @rule()
    def flush(self) -> None:
        self.run(self.store.flush())

    @rule(kill=st.booleans())
    def reopen(self, *, kill: bool) -> None:
        evicted = self.run(self.store.stats()).evicted
        if kill:  # nothing that is in memory only reaches the disk
            self.run(self.store._writer.stop(10.0))
            self.store._upkeep.stop()
        else:
            self.run(self.store.close())
        self.leases.clear()
        self._open()
        assert self.run(self.store.stats()).evicted == evicted, "the count of lost taps was forgotten"

    async def _rows(self) -> list[StoredRow]:
        rows = await self.store.page(None, 0, 1000)
        assert rows == [] or await self.store.page(rows[-1].chain, rows[-1].seq, 1000) == []
        return rows

    @invariant()
    def every_tap_is_accounted_for(self) -> None:
        if not hasattr(self, "store"):
            return
        rows = {row.seq: row for row in self.run(self._rows())}
        assert all(row.token == self.tokens[seq] for seq, row in rows.items())
        records = self.run(self.store.gap_records())
        covered: set[int] = set()
        for record in records:
            hole = hole_in(record.token)
            assert hole is not None
            assert hole == self._hole(record.first, record.last), "the chain does not link up across this gap"
            members = set(range(record.first, record.last + 1))
            assert not members & covered, "two records about one row"
            covered |= members
        assert not covered & rows.keys(), "a row is still here that a record gives up"
        lost = self.tokens.keys() - rows.keys() - covered - self.acked
        assert not lost, f"nobody knows of {sorted(lost)}"

    def _hole(self, first: int, last: int) -> Hole:
        prev = plain_link(self.tokens[first - 1]) if first > 1 else FIRST_PREV
        return Hole(self.chain, first, last, prev, plain_link(self.tokens[last]), "evicted")

    @invariant()
    def the_chain_ends_where_the_model_does(self) -> None:
        if not hasattr(self, "store"):
            return
        head = self.store.head()
        assert head.seq == len(self.tokens)
        if head.seq:
            assert head.hash == plain_link(self.tokens[head.seq])
            assert place_in(self.tokens[head.seq]).seq == head.seq

    @invariant()
    def it_keeps_to_its_bounds(self) -> None:
        if not hasattr(self, "store"):
            return
        stats = self.run(self.store.stats())
        rows = stats.pending + stats.leased + stats.sent + stats.stored + stats.parked
        assert rows <= SETTINGS.bounds.max_rows + stats.leased + KEEP_NEWEST

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.run(self.store.close())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        shutil.rmtree(self.folder)


TestOutboxStore = pytest.mark.timeout(300)(StoreMachine.TestCase)
TestOutboxStore.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


@pytest.mark.proof
class TestOutboxStoreAtLength(StoreMachine.TestCase):
    """The same, for hundreds of lives."""

    settings = settings(max_examples=500, stateful_step_count=60, deadline=None)

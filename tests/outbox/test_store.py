import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import ChainPosition, ClockTrust, StoredTap, Tap
from edge_agent.outbox import database
from edge_agent.outbox.base import Bounds, GapRecord, Head, Hole, Lease, Notice, Outbox, Resent
from edge_agent.outbox.database import Database
from edge_agent.outbox.policy import Usage
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, hole_in, place_in, plain_codec, plain_link, plain_sealer
from tests.fakes.waiting import eventually

PROMPT = StoreSettings(close_s=CLOSE_S, keep_newest=0, flush_s=3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(path: Path, clock: FakeClock) -> Callable[..., OutboxStore]:
    def make_store(
        *, sealer: Callable[[Tap, ChainPosition], bytes] = plain_sealer, settings: StoreSettings = PROMPT
    ) -> OutboxStore:
        return OutboxStore(path, plain_codec(sealer), clock=clock, settings=settings)

    return make_store


@dataclass
class Disk:
    """The file system below, as the outbox sees it."""

    free: int = 2**40


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    one = Disk()
    monkeypatch.setattr(database, "free_bytes", lambda _: one.free)
    return one


@asynccontextmanager
async def opened(store: OutboxStore) -> AsyncIterator[OutboxStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(make: Callable[..., OutboxStore]) -> AsyncIterator[OutboxStore]:
    async with opened(make()) as one:
        yield one


async def append(store: OutboxStore, taps: int) -> list[StoredTap]:
    return list(await asyncio.gather(*(store.append(a_tap(number)) for number in range(taps))))


async def try_append(store: OutboxStore) -> StoredTap | OutboxError:
    try:
        return await store.append(a_tap())
    except OutboxError as error:
        return error


async def looked(store: OutboxStore) -> None:
    """The bounds were looked at, by what is true now."""
    if (under_way := store._upkeep._look_task) is not None:
        await under_way  # it may have measured before
    store._upkeep.look_soon()
    task = store._upkeep._look_task
    assert task is not None
    await task


async def backlog(store: OutboxStore, session: int = 1, max_rows: int = 64, max_bytes: int = 16_000) -> Lease:
    lease = await store.lease_backlog(session, max_rows=max_rows, max_bytes=max_bytes)
    assert lease is not None
    return lease


async def run_on_database(store: OutboxStore, statement: str) -> list[tuple[object, ...]]:
    """Reach behind the port: what is really on disk."""
    return await store._writer.call(lambda db: db.connection.execute(statement).fetchall())


async def until_deleted(store: OutboxStore) -> None:
    async with asyncio.timeout(10):
        while (await store.stats()).stored:  # noqa: ASYNC110 - the port has no event for it
            await asyncio.sleep(0.01)


async def test_it_is_an_outbox(store: OutboxStore) -> None:
    port: Outbox = store
    assert (await port.stats()).next_seq == 1


async def test_a_chain_of_tokens_in_order(store: OutboxStore, clock: FakeClock) -> None:
    stored = await append(store, 5)
    assert [tap.seq for tap in stored] == [1, 2, 3, 4, 5]
    assert stored[0].exp == 1_790_000_090
    assert stored[0].committed_at == clock.mono
    prev = bytes(16)
    for tap in stored:
        assert place_in(tap.token) == ChainPosition(tap.chain, tap.seq, prev)
        prev = plain_link(tap.token)


async def test_a_tap_by_an_unset_clock_is_stored_unredeemable(store: OutboxStore) -> None:
    stored = await store.append(a_tap(unix=1000, trust=ClockTrust.UNSET))
    assert stored.exp == 1000


async def test_taps_that_come_together_are_committed_together(
    make: Callable[..., OutboxStore], clock: FakeClock
) -> None:
    commits: list[int] = []

    class Counting(Database):
        def append(self, seals, now):  # type: ignore[no-untyped-def]  # as in the base class
            commits.append(len(seals))
            return super().append(seals, now)

    store = make()
    store._writer._open_database = lambda: Counting(store._path, PLAIN)
    async with opened(store):
        await append(store, 300)
    assert sum(commits) == 300
    assert len(commits) <= 10, commits


async def test_the_chain_goes_on_after_reopening(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        first = await append(store, 3)
    async with opened(make()) as store:
        after = await store.append(a_tap())
        assert (after.chain, after.seq) == (first[0].chain, 4)
        assert place_in(after.token).prev == plain_link(first[-1].token)
        assert await store.tail(10) == [*first, after]
        assert await store.tail(2) == [first[-1], after]


async def test_the_chain_goes_on_when_every_row_was_deleted(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        first = await append(store, 3)
        assert store.confirm_stored(first[0].chain, 3, []) == 3
    async with opened(make()) as store:
        assert await store.tail(10) == []
        after = await store.append(a_tap())
        assert (after.chain, after.seq) == (first[0].chain, 4)
        assert place_in(after.token).prev == plain_link(first[-1].token)


async def test_the_life_of_a_row(store: OutboxStore) -> None:
    taps = await append(store, 10)
    live = store.lease_live(1, taps[9])
    assert live is not None
    assert live.tokens == (taps[9].token,)
    lease = await backlog(store, max_rows=4)
    assert (lease.first, lease.last) == (1, 4)
    assert lease.tokens == tuple(tap.token for tap in taps[:4])
    store.confirm_sent(live)
    store.confirm_sent(lease)
    parked = await backlog(store, max_rows=1)
    store.park(parked, "final refusal")
    stats = await store.stats()
    assert (stats.pending, stats.leased, stats.sent, stats.parked) == (4, 0, 5, 1)
    assert store.confirm_stored(taps[0].chain, 4, [(2, 2)]) == 3
    assert (await store.stats()).stored == 3
    await store.flush()
    stats = await store.stats()
    assert (stats.pending, stats.sent, stats.stored, stats.parked) == (4, 2, 0, 1)
    assert [tap.seq for tap in await store.tail(20)] == [2, 5, 6, 7, 8, 9, 10]


async def test_a_live_row_that_is_no_longer_pending_is_not_leased_again(store: OutboxStore) -> None:
    tap = await store.append(a_tap())
    assert store.lease_live(1, tap) is not None
    assert store.lease_live(1, tap) is None
    assert await store.lease_backlog(1, max_rows=10, max_bytes=9999) is None


async def test_leases_are_void_after_reopening_and_confirmations_are_kept(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        await append(store, 6)
        store.confirm_sent(await backlog(store, max_rows=2))
        store.park(await backlog(store, max_rows=1), "no")
        await backlog(store, max_rows=1)
    async with opened(make()) as store:
        stats = await store.stats()
        assert (stats.pending, stats.leased, stats.sent, stats.parked) == (3, 0, 2, 1)
        assert (await backlog(store)).first == 4


async def test_sent_rows_age_over_restarts_by_operating_time(
    make: Callable[..., OutboxStore], clock: FakeClock
) -> None:
    async with opened(make()) as store:
        await append(store, 2)
        clock.advance(100)
        store.confirm_sent(await backlog(store))
    clock.advance(1_000_000)  # switched off: nobody knows for how long
    clock.step_wall(-2_000_000)
    async with opened(make()) as store:
        assert store.requeue_unconfirmed(50.0) == 0
        clock.advance(50)
        assert store.requeue_unconfirmed(50.0) == 2


async def test_a_backlog_lease_respects_rows_and_bytes(store: OutboxStore) -> None:
    await append(store, 10)
    assert (await backlog(store, max_rows=100, max_bytes=3 * 230)).last == 3
    assert (await backlog(store, max_rows=2, max_bytes=99_999)).last == 5
    assert (await backlog(store, max_rows=100, max_bytes=1)).last == 6, "one row always goes"
    assert (await backlog(store, max_rows=100, max_bytes=99_999)).last == 10


async def test_released_rows_are_leased_again_in_order(store: OutboxStore) -> None:
    await append(store, 6)
    lost = await backlog(store, session=1, max_rows=4)
    assert store.release(1) == 4
    assert await backlog(store, session=2, max_rows=4) == Lease(2, 2, lost.chain, 1, 4, lost.tokens)
    store.confirm_sent(lost)
    assert (await store.stats()).sent == 0


async def test_a_connection_that_ends_during_the_read_gets_no_lease(store: OutboxStore) -> None:
    await append(store, 3)
    reading = asyncio.ensure_future(store.lease_backlog(1, max_rows=3, max_bytes=9999))
    await asyncio.sleep(0)
    assert store.release(1) == 0
    assert await reading is None
    assert (await store.stats()).leased == 0


async def test_parallel_backlog_leases_never_share_a_row(store: OutboxStore) -> None:
    await append(store, 200)
    leases = await asyncio.gather(*(backlog(store, max_rows=7) for _ in range(20)))
    rows = [seq for lease in leases for seq in range(lease.first, lease.last + 1)]
    assert sorted(rows) == list(range(1, 141))


async def test_a_row_missing_on_disk_does_not_block_the_others(store: OutboxStore) -> None:
    await append(store, 5)
    await run_on_database(store, "DELETE FROM rows WHERE key & 0xff IN (1, 4)")
    assert (await backlog(store)).first == 2
    assert (await backlog(store)).first == 5
    assert (await store.stats()).parked == 2


async def test_a_sealer_error_costs_its_own_tap_only(make: Callable[..., OutboxStore]) -> None:
    def seal(tap: Tap, position: ChainPosition) -> bytes:
        match int.from_bytes(tap.facts.nonce or b"", "big"):
            case 1:
                raise ValueError("key is gone")
            case 2:
                return b""
            case 3:
                return bytes(5000)
        return plain_sealer(tap, position)

    async with opened(make(sealer=seal)) as store:
        results = await asyncio.gather(*(store.append(a_tap(number)) for number in range(6)), return_exceptions=True)
        errors = [str(result) for result in results if isinstance(result, OutboxError)]
        assert errors[0] == "the tap could not be sealed: key is gone"
        assert len(errors) == 3
        kept = [result for result in results if isinstance(result, StoredTap)]
        assert [tap.seq for tap in kept] == [1, 2, 3]
        assert place_in(kept[1].token).prev == plain_link(kept[0].token)


async def test_below_the_floor_taps_are_refused_and_nothing_undelivered_is_given_up(
    make: Callable[..., OutboxStore], disk: Disk
) -> None:
    async with opened(make(settings=replace(PROMPT, probe_s=3600.0))) as store:
        first = await append(store, 3)
        disk.free = Bounds().min_free_bytes
        await looked(store)
        kept, refused = list(first), None
        while refused is None and len(kept) < 100:  # what is free inside of the file's pages is used
            last = await try_append(store)
            if isinstance(last, StoredTap):
                kept.append(last)
            else:
                refused = last
        assert refused is not None
        assert refused.fault is OutboxFault.FULL
        assert "no space left" in refused.text
        assert "free space" in refused.remedy
        results = await asyncio.gather(*(store.append(a_tap()) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, OutboxError) for result in results)
        assert await store.tail(99) == kept
        assert (await store.stats()).fault == "full"
        disk.free = 2**40
        await looked(store)
        after = await store.append(a_tap())
        assert after.seq == kept[-1].seq + 1
        assert place_in(after.token).prev == plain_link(kept[-1].token)
        assert (await store.stats()).fault == ""


async def test_below_the_floor_delivered_rows_make_room_for_new_taps(
    make: Callable[..., OutboxStore], disk: Disk
) -> None:
    async with opened(make(settings=replace(PROMPT, keep_newest=5, probe_s=3600.0))) as store:
        taps = await append(store, 900)
        while (await store.stats()).sent < 600:
            store.confirm_sent(await backlog(store, max_rows=100, max_bytes=99_999))
        held = await backlog(store, max_rows=10)
        disk.free = 0
        await looked(store)
        evicted = (await store.stats()).evicted
        assert 100 < evicted < 600
        more = [await try_append(store) for _ in range(evicted - 10)]
        assert all(isinstance(tap, StoredTap) for tap in more)
        (gap,) = store.gaps_to_send()
        hole = hole_in(gap.token)
        assert hole is not None
        assert hole == Hole(hole.chain, 1, hole.last, bytes(16), plain_link(taps[hole.last - 1].token), "evicted")
        last = None
        for _ in range(2000):
            if isinstance(last := await try_append(store), OutboxError):
                break
            await looked(store)
        assert isinstance(last, OutboxError)
        stats = await store.stats()
        assert stats.evicted == 600, "all that was sent, and nothing else"
        assert stats.leased == held.last - held.first + 1
        assert stats.pending + stats.leased + stats.evicted == stats.next_seq - 1


async def test_screens_may_invite_again_as_soon_as_there_is_space(path: Path, clock: FakeClock, disk: Disk) -> None:
    heard: list[Notice] = []
    disk.free = 0
    settings = replace(PROMPT, probe_s=0.01)
    async with opened(OutboxStore(path, PLAIN, clock=clock, settings=settings, on_notice=heard.append)) as store:
        while isinstance(await try_append(store), StoredTap):
            pass
        for _ in range(3):
            assert isinstance(await try_append(store), OutboxError)
        assert (await store.stats()).fault == "full"
        await asyncio.sleep(0.1)
        assert (await store.stats()).fault == "full", "a look alone makes no space"
        disk.free = 2**40
        await eventually(lambda: not store._troubles.fault)
        assert [notice.code for notice in heard] == ["outbox_full", "outbox_works_again"]
        assert heard[0].text.startswith("taps cannot be kept: no space left")
        assert heard[1].data == {"fault": "full", "refused": 4}
        assert await run_on_database(store, "SELECT count(*) FROM meta WHERE key = 'probe'") == [(0,)]
        await store.append(a_tap())


async def test_a_flush_that_fails_is_made_up_for(store: OutboxStore) -> None:
    taps = await append(store, 4)
    store.confirm_stored(taps[0].chain, 2, [])
    await run_on_database(store, "PRAGMA query_only = ON")
    with pytest.raises(OutboxError, match="cannot be written"):
        await store.flush()
    assert (await store.stats()).stored == 2
    await run_on_database(store, "PRAGMA query_only = OFF")
    await store.flush()
    assert [tap.seq for tap in await store.tail(9)] == [3, 4]


async def test_confirmations_reach_the_disk_by_time(make: Callable[..., OutboxStore]) -> None:
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=0, flush_s=0.01))) as store:
        taps = await append(store, 3)
        store.confirm_stored(taps[0].chain, 3, [])
        await until_deleted(store)


async def test_the_first_confirmations_after_an_opening_reach_the_disk_sooner(make: Callable[..., OutboxStore]) -> None:
    """An agent that is killed every minute would send the rows of five minutes again each time."""
    settings = StoreSettings(close_s=CLOSE_S, keep_newest=0, flush_s=3600, first_flush_s=0.01)
    async with opened(make(settings=settings)) as store:
        taps = await append(store, 3)
        await asyncio.sleep(0.05)
        store.confirm_stored(taps[0].chain, 2, [])
        await until_deleted(store)
        await store.flush()  # to the end
        store.confirm_stored(taps[0].chain, 3, [])
        await asyncio.sleep(0.05)
        assert [tap.seq for tap in await store.tail(9)] == [3], "from then on they wait for company"


async def test_confirmations_reach_the_disk_by_number(make: Callable[..., OutboxStore]) -> None:
    async with opened(
        make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=0, flush_s=3600, flush_rows=10))
    ) as store:
        taps = await append(store, 12)
        store.confirm_stored(taps[0].chain, 9, [])
        assert store._upkeep._flush_task is None
        store.confirm_stored(taps[0].chain, 10, [])
        await until_deleted(store)


async def test_with_confirm_broker_rows_leave_after_the_retention(
    make: Callable[..., OutboxStore], clock: FakeClock
) -> None:
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=0, keep_sent_s=600.0))) as store:
        await append(store, 3)
        store.confirm_sent(await backlog(store))
        await store.flush()
        assert len(await store.tail(9)) == 3
        clock.advance(700)
        await store.flush()
        assert await store.tail(9) == []


async def test_the_newest_rows_outlive_their_ack(make: Callable[..., OutboxStore]) -> None:
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=2))) as store:
        taps = await append(store, 5)
        store.confirm_stored(taps[0].chain, 5, [])
        await store.flush()
        assert await store.tail(9) == taps[3:]
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=2))) as store:
        assert (await store.stats()).stored == 2
        assert await store.lease_backlog(1, max_rows=9, max_bytes=9999) is None


async def test_acks_that_cannot_be_true_are_counted(store: OutboxStore) -> None:
    await append(store, 2)
    assert store.confirm_stored(b"unknown!", 1, []) == 0
    assert store.confirm_stored((await store.stats()).chain, 99, []) == 0
    assert store.ignored_acks == 2


async def test_too_many_waiting_taps_are_refused(make: Callable[..., OutboxStore]) -> None:
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, max_waiting=5))) as store:
        results = await asyncio.gather(*(store.append(a_tap()) for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(result, StoredTap) for result in results) == 5
        assert "busy" in str(results[-1])
        assert (await store.append(a_tap())).seq == 6


async def test_a_cancelled_waiter_does_not_lose_its_tap(store: OutboxStore) -> None:
    waiter = asyncio.ensure_future(store.append(a_tap(7)))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert (await store.append(a_tap(8))).seq == 2
    assert (await store.stats()).pending == 2


async def test_closing_twice_and_using_it_afterwards(make: Callable[..., OutboxStore]) -> None:
    store = make()
    await store.close()
    await store.open()
    tap = await store.append(a_tap())
    await asyncio.gather(store.close(), store.close())
    await store.close()
    assert store.release(1) == 0, "the uplink may end after the outbox"
    assert store.confirm_stored(tap.chain, 1, []) == 1
    with pytest.raises(OutboxError, match="not open"):
        await store.append(a_tap())


async def test_nothing_works_before_opening(make: Callable[..., OutboxStore]) -> None:
    store = make()
    with pytest.raises(OutboxError, match="not open"):
        await store.append(a_tap())
    with pytest.raises(OutboxError, match="not open"):
        store.release(1)


def test_a_loop_that_ends_without_closing_harms_nobody(make: Callable[..., OutboxStore]) -> None:
    store = make()

    async def use() -> None:
        await store.open()
        store._writer.append(store._seal(a_tap()))

    asyncio.run(use())
    store._writer._jobs.put(None)
    thread = store._writer._thread
    thread.join(10)
    assert not thread.is_alive()


async def test_the_head_is_known_right_after_opening_and_after_each_tap(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        assert store.head() == Head((await store.stats()).chain, 0, bytes(16))
        taps = await append(store, 3)
        assert store.head() == Head(taps[0].chain, 3, plain_link(taps[2].token))
        store.confirm_stored(taps[0].chain, 3, [])
    async with opened(make()) as store:
        assert await store.tail(9) == []
        assert store.head() == Head(taps[0].chain, 3, plain_link(taps[2].token))


async def test_rows_that_are_still_here_can_be_had_again(make: Callable[..., OutboxStore]) -> None:
    async with opened(make(settings=StoreSettings(close_s=CLOSE_S, keep_newest=3, flush_s=3600))) as store:
        taps = await append(store, 10)
        chain = taps[0].chain
        store.confirm_sent(await backlog(store, max_rows=4))
        store.park(await backlog(store, max_rows=1), "no")
        held = await backlog(store, max_rows=1)
        assert store.resend(b"nobodys.", 1, 5) == Resent(0, 0, 5)
        assert store.resend(chain, 7, 3) == Resent(0, 0, 0)
        assert store.resend(chain, 3, 12) == Resent(requeued=3, pending=5, gone=2)
        assert store.confirm_stored(chain, 10, []) == 10
        await store.flush()
        assert store.resend(chain, 1, 10) == Resent(requeued=3, pending=0, gone=7)
        store.confirm_sent(held)
        stats = await store.stats()
        assert (stats.pending, stats.sent, stats.stored) == (3, 0, 0)
    async with opened(make()) as store:
        assert (await backlog(store)).tokens == tuple(tap.token for tap in taps[7:])


async def test_rows_are_read_page_by_page_with_their_states(store: OutboxStore) -> None:
    taps = await append(store, 6)
    chain = taps[0].chain
    store.confirm_sent(await backlog(store, max_rows=2))
    store.park(await backlog(store, max_rows=1), "final refusal")
    await backlog(store, max_rows=1)
    store.confirm_stored(chain, 1, [])
    pages = [await store.page(None, 0, 4)]
    while pages[-1]:
        pages.append(await store.page(pages[-1][-1].chain, pages[-1][-1].seq, 4))
    assert [len(page) for page in pages] == [4, 2, 0]
    rows = [row for page in pages for row in page]
    assert [row.state for row in rows] == ["stored", "sent", "parked", "leased", "pending", "pending"]
    assert [row.note for row in rows if row.note] == ["final refusal"]
    assert [(row.chain, row.seq, row.token) for row in rows] == [(chain, tap.seq, tap.token) for tap in taps]
    assert {row.exp for row in rows} == {1_790_000_090}
    await store.flush()
    assert [row.seq for row in await store.page(None, 0, 9)] == [2, 3, 4, 5, 6]
    assert await store.page(b"nobodys.", 0, 9) == []
    assert await store.page(chain, 2**70, 9) == []


async def test_gap_records_on_disk_are_sent_confirmed_and_forgotten(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        taps = await append(store, 9)
        await run_on_database(
            store,
            "INSERT INTO records (number, chain, kind, first, last, token)"
            " VALUES (7, 1, 'gap', 1, 3, x'00'), (9, 1, 'gap', 5, 5, x'01'), (10, 1, 'chk', 5, 5, x'02')",
        )
    async with opened(make()) as store:
        (first, second) = store.gaps_to_send()
        assert first == GapRecord(7, taps[0].chain, 1, 3, b"\0")
        store.confirm_gap_sent(first.number)
        store.confirm_gap_sent(99)
        assert store.gaps_to_send() == [second]
        assert (await store.stats()).gaps == 2
        store.release(1)
        assert store.gaps_to_send() == [first, second]
        store.confirm_gap_sent(first.number)
        store.confirm_stored(taps[0].chain, 5, [(4, 5)])
        assert await store.gap_records() == [second]
        store.confirm_gap_sent(second.number)
    async with opened(make()) as store:
        assert await store.gap_records() == [second]
        assert store.gaps_to_send() == [], "it was sent and waits for its ack"
        store.resend(taps[0].chain, 4, 5)
        assert store.gaps_to_send() == [second]


async def test_a_flush_writes_what_was_confirmed_while_another_one_was_at_its_end(
    make: Callable[..., OutboxStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(make()) as store:
        (tap, *_) = await append(store, 5)
        await run_on_database(
            store, "INSERT INTO records (number, chain, kind, first, last, token) VALUES (7, 1, 'gap', 1, 1, x'00')"
        )
    async with opened(make()) as store:
        go_on, writes = threading.Event(), []
        real = Database.apply_records

        def slow(*arguments: object) -> None:
            writes.append(go_on.wait(10))
            real(*arguments)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(Database, "apply_records", slow)
        store.confirm_gap_sent(7)
        first = asyncio.ensure_future(store.flush())
        await eventually(lambda: store._writer._busy_since is not None and store._upkeep.writing.locked())
        await asyncio.sleep(0.05)
        store.confirm_stored(tap.chain, 3, [(1, 1)])
        second = asyncio.ensure_future(store.flush())
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(first, second)
        assert writes == [True]
        assert await run_on_database(store, "SELECT count(*) FROM rows") == [(3,)]


async def test_what_is_measured_belongs_to_the_rows_that_are_given_up(
    store: OutboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the sizes of a damaged file might cost rows of the one that replaced it."""
    await append(store, 3)
    await looked(store)
    measured: list[int] = []
    real = Database.measure

    def measure(one: Database, bounds: Bounds) -> Usage:
        measured.append(1)
        return real(one, bounds)

    monkeypatch.setattr(Database, "measure", measure)
    async with store._upkeep.writing:
        store._upkeep.look_soon()
        await asyncio.sleep(0.05)
        assert measured == []
    await looked(store)
    assert measured


async def test_a_second_agent_is_refused_and_the_first_goes_on(make: Callable[..., OutboxStore]) -> None:
    async with opened(make()) as store:
        await store.append(a_tap())
        second = make()
        with pytest.raises(OutboxError, match="another agent holds") as caught:
            await second.open()
        assert caught.value.remedy
        assert (await store.append(a_tap())).seq == 2
    async with opened(second):
        assert (await second.append(a_tap())).seq == 3

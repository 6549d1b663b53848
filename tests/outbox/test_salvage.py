"""Rows of a damaged file come back under their own chain, to the byte, once, and every hole among them is sworn to."""

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import StoredTap
from edge_agent.outbox import database, takeover
from edge_agent.outbox import salvage as module
from edge_agent.outbox.base import Bounds, Hole, Notice, OutboxStats
from edge_agent.outbox.connection import PAGE_SIZE, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.policy import WAL_RESERVE_BYTES
from edge_agent.outbox.quarantine import broken_files
from edge_agent.outbox.raw_file import Piece
from edge_agent.outbox.rows import ChainLoad, Rows, Span
from edge_agent.outbox.runs import State
from edge_agent.outbox.store import REPLACED_S, REPLACED_TIMES, OutboxStore, StoreSettings
from tests.fakes.lived_time import LivedTime
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, plain_gap, plain_link
from tests.fakes.waiting import eventually

ROWS = 200
SETTINGS = StoreSettings(close_s=CLOSE_S, keep_newest=0, flush_s=3600.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def change_a_byte(file: Path, within: bytes) -> None:
    overwrite(file, file.read_bytes().index(within) + 100, b"\x00")


def remove(file: Path) -> None:
    file.unlink()


def copy_of(file: Path, name: str) -> Path:
    return Path(shutil.copyfile(file, file.with_name(name)))


def zero_header(path: Path) -> None:
    overwrite(path, 0, bytes(PAGE_SIZE))


@asynccontextmanager
async def opened(path: Path, notices: list[Notice] | None = None) -> AsyncIterator[OutboxStore]:
    heard = notices if notices is not None else []
    store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=SETTINGS, on_notice=heard.append)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def append(store: OutboxStore, taps: int) -> list[StoredTap]:
    return list(await asyncio.gather(*(store.append(a_tap(number)) for number in range(taps))))


async def filled(path: Path, rows: int = ROWS) -> list[StoredTap]:
    async with opened(path) as store:
        return await append(store, rows)


async def salvaged(store: OutboxStore) -> OutboxStats:
    async with asyncio.timeout(20):
        while store._early is not None or store._salvaging is None or not store._salvaging.done():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    return await store.stats()


async def drained(store: OutboxStore) -> list[tuple[bytes, int, bytes]]:
    """All that would be delivered, in that order."""
    sent = []
    while (lease := await store.lease_backlog(1, max_rows=64, max_bytes=16_000)) is not None:
        sent += [(lease.chain, seq, token) for seq, token in enumerate(lease.tokens, lease.first)]
        store.confirm_sent(lease)
    return sent


def wanted(taps: list[StoredTap]) -> list[tuple[bytes, int, bytes]]:
    return [(tap.chain, tap.seq, tap.token) for tap in taps]


async def test_all_rows_come_back_before_the_new_ones(path: Path) -> None:
    old = await filled(path)
    zero_header(path)
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        new = await append(store, 3)
        assert new[0].seq == 1, "taps do not wait"
        stats = await salvaged(store)
        assert (stats.pending, stats.parked, stats.salvaging) == (ROWS + 3, 0, False)
        (broken,) = broken_files(path)
        assert stats.quarantined == (broken.name,)
        assert await drained(store) == wanted(old + new)
        assert store.gaps_to_send() == []
        assert store.confirm_stored(old[0].chain, ROWS, []) == ROWS
        await store.flush()
    assert [notice.code for notice in notices] == ["outbox_quarantined", "outbox_salvaged"]
    assert notices[0].data == {"file": broken.name}
    assert notices[1].data == {"file": broken.name, "rows": ROWS, "lost": 0, "unreadable": 0}


async def test_it_is_done_once(path: Path) -> None:
    old = await filled(path)
    zero_header(path)
    async with opened(path) as store:
        await salvaged(store)
        assert await drained(store) == wanted(old)
        store.confirm_stored(old[0].chain, ROWS, [])
        await store.flush()
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        stats = await salvaged(store)
        assert (stats.pending, stats.sent, stats.stored) == (0, 0, 0)
        assert len(stats.quarantined) == 1, "it stays for people to look at"
    assert notices == []


def pages_of(path: Path) -> int:
    return path.stat().st_size // PAGE_SIZE


async def test_rows_that_cannot_be_read_are_sworn_to_be_lost(path: Path) -> None:
    old = await filled(path)
    for page in range(pages_of(path) // 2, pages_of(path) // 2 + 5):
        overwrite(path, page * PAGE_SIZE, os.urandom(PAGE_SIZE))
    async with opened(path) as store:
        stats = await salvaged(store)
        came = await drained(store)
        gaps = store.gaps_to_send()
    assert stats.quarantined, "the damage was seen"
    lost = {tap.seq for tap in old} - {seq for _, seq, _ in came}
    assert 3 <= len(lost) <= 25
    assert came == wanted([tap for tap in old if tap.seq not in lost])
    assert {seq for gap in gaps for seq in range(gap.first, gap.last + 1)} == lost
    by_seq = {tap.seq: tap for tap in old}
    for gap in gaps:
        hole = PLAIN.read_gap(gap.token)
        assert hole is not None
        assert (hole.chain, hole.reason) == (old[0].chain, "corrupt")
        assert hole.prev == plain_link(by_seq[gap.first - 1].token)
        assert hole.hash == plain_link(by_seq[gap.last].token)
    assert stats.parked == 0


async def test_a_token_that_was_changed_is_not_delivered(path: Path) -> None:
    old = await filled(path)
    change_a_byte(path, old[99].token)
    zero_header(path)
    async with opened(path) as store:
        await salvaged(store)
        assert await drained(store) == wanted(old[:99] + old[100:])
        (gap,) = store.gaps_to_send()
        assert (gap.first, gap.last) == (100, 100)


async def test_what_was_delivered_does_not_come_back(path: Path) -> None:
    async with opened(path) as store:
        old = await append(store, ROWS)
        store.confirm_stored(old[0].chain, 150, [])
        await store.flush()
    zero_header(path)
    async with opened(path) as store:
        await salvaged(store)
        assert await drained(store) == wanted(old[150:])
        assert store.gaps_to_send() == []


async def test_a_second_damage_while_the_first_chain_waits(path: Path) -> None:
    first = await filled(path)
    zero_header(path)
    async with opened(path) as store:
        second = await append(store, 50)
        await salvaged(store)
        store.confirm_stored(first[0].chain, 120, [])
        await store.flush()
    zero_header(path)
    async with opened(path) as store:
        third = await append(store, 5)
        stats = await salvaged(store)
        assert len(stats.quarantined) == 2
        came = await drained(store)
        assert sorted(came) == sorted(wanted(first[120:] + second + third))
        assert came[-5:] == wanted(third)
        assert store.gaps_to_send() == []


async def test_rows_of_a_chain_that_is_here_already_join_it(path: Path) -> None:
    old = await filled(path)
    zero_header(path)
    copy = copy_of(path, "copy")
    os.truncate(path, pages_of(path) // 2 * PAGE_SIZE)
    async with opened(path) as store:
        await salvaged(store)
        came = await drained(store)
        assert 20 < len(came) < ROWS
        store.confirm_stored(old[0].chain, came[9][1], [])
        await store.flush()
        missing = wanted([tap for tap in old if (tap.chain, tap.seq, tap.token) not in came])
        shutil.copyfile(copy, path.with_name(path.name + ".broken-20990101T000000Z"))
        await store._salvage.run()
        again = await drained(store)
        assert set(missing) <= set(again)
        assert (await store.stats()).parked == 0
    async with opened(path) as store:
        await salvaged(store)
        stats = await store.stats()
        assert stats.pending + stats.sent + stats.stored >= ROWS - 10
        assert stats.parked == 0


@pytest.mark.parametrize("fails_at", [1, 2, 4, 7])
async def test_a_crash_in_the_middle_only_means_that_it_is_done_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    old = await filled(path)
    zero_header(path)
    monkeypatch.setattr("edge_agent.outbox.raw_file.PIECE_BYTES", 8192)
    calls = 0

    def crash(function: Callable[..., object]) -> Callable[..., object]:
        def failing(*arguments: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls == fails_at:
                raise OutboxError("crash", fault=OutboxFault.CLOSED)
            return function(*arguments, **named)

        return failing

    for name in ("store", "links", "finish"):
        monkeypatch.setattr(takeover, name, crash(getattr(takeover, name)))
    async with opened(path) as store:
        stats = await salvaged(store)
        assert stats.pending == 0, "unseen until it is whole"
        assert len(await store.tail(9)) == 0
    monkeypatch.undo()
    async with opened(path) as store:
        await salvaged(store)
        assert await drained(store) == wanted(old)


async def test_it_tries_again_when_there_is_no_space(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await filled(path)
    zero_header(path)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    failures = [OutboxError("no space", fault=OutboxFault.FULL)] * 3
    real = takeover.store

    def full(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return real(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(takeover, "store", full)
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        await salvaged(store)
        assert await drained(store) == wanted(old)
    assert [notice.code for notice in notices] == ["outbox_quarantined", "outbox_salvaged"], "told once"


async def test_two_files_that_are_done_with_are_kept(path: Path) -> None:
    for number in range(4):
        await filled(path, 10)
        zero_header(path)
        copy_of(path, f"{path.name}.broken-2020010{number}T000000Z")
        remove(path)
    waiting = broken_files(path)
    assert len(waiting) == 4
    async with opened(path) as store:
        stats = await salvaged(store)
        assert stats.pending == 40
        assert stats.quarantined == tuple(file.name for file in waiting[2:])
    assert broken_files(path) == waiting[2:]


async def test_damage_at_run_time_is_healed_without_a_restart(path: Path) -> None:
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        old = await append(store, ROWS)
        lease = await store.lease_backlog(1, max_rows=5, max_bytes=9999)
        assert lease is not None
        await store._writer.call(lambda db: db.checkpoint())
        await store._writer.call(lambda db: db.connection.execute("PRAGMA shrink_memory").fetchall())
        for page in range(pages_of(path) // 2, pages_of(path)):
            overwrite(path, page * PAGE_SIZE, os.urandom(PAGE_SIZE))
        overwrite(wal_path(path), 0, os.urandom(wal_path(path).stat().st_size))
        new: list[StoredTap] = []
        async with asyncio.timeout(20):
            while not any(tap.chain != old[0].chain for tap in new):
                try:
                    new.append(await store.append(a_tap(9)))
                except OutboxError:
                    await asyncio.sleep(0.01)
        await salvaged(store)
        again = await store.lease_backlog(2, max_rows=5, max_bytes=9999)
        store.confirm_sent(lease)
        assert (await store.stats()).sent == 0, "it belongs to the file that is gone"
        store.release(2)
        assert again is not None
        came = await drained(store)
        assert {(tap.chain, tap.seq) for tap in new} <= {(chain, seq) for chain, seq, _ in came}
        assert len(set(wanted(old)) & set(came)) > ROWS // 4, "what was not overwritten comes back"
    assert notices[-1].code == "outbox_salvaged"


async def test_taps_that_meet_the_replacement_are_kept_and_counted(path: Path) -> None:
    """They reach the new file before the event loop has learnt that there is one."""
    async with opened(path) as store:
        old = await append(store, 20)
        await store._writer.call(lambda db: setattr(db.connection, "_damaged", True))
        store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
        new: list[StoredTap] = []
        async with asyncio.timeout(20):
            while len(new) < 50:
                try:
                    new.append(await store.append(a_tap(9)))
                except OutboxError:
                    await asyncio.sleep(0)
        await salvaged(store)
        assert new[-1].chain != old[0].chain
        assert sorted(await drained(store)) == sorted(wanted(old + new))
        assert store.head().seq == new[-1].seq


async def test_a_copy_of_the_living_chain_is_left_alone(path: Path) -> None:
    await filled(path, 20)
    copy_of(path, "outbox.db.broken-20990101T000000Z")
    async with opened(path) as store:
        new = await append(store, 3)
        stats = await salvaged(store)
        assert (stats.pending, stats.next_seq) == (23, 24)
        assert [tap.seq for tap in new] == [21, 22, 23]


async def test_a_file_with_blocks_that_cannot_be_read_is_never_deleted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await filled(path, 10)
        zero_header(path)
        copy_of(path, f"{path.name}.broken-2020010{number}T000000Z")
        remove(path)
    real = module.piece_at

    def bad(file: Path, offset: int, tail: bytes) -> Piece | None:
        piece = real(file, offset, tail)
        return replace(piece, unreadable=4096) if piece and "20200100" in file.name else piece

    monkeypatch.setattr(module, "piece_at", bad)
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        stats = await salvaged(store)
    assert [name[-16:-8] for name in stats.quarantined] == ["20200100", "20200102", "20200103"]
    assert notices[-1].data["unreadable"] == 4096


def test_rows_that_are_on_their_way_stay_so_when_their_chain_is_adopted_again() -> None:
    rows = Rows(
        [ChainLoad(1, b"oldchain", 1, 11, 1, (Span(1, 6, 10, 4),)), ChainLoad(2, b"newchain", 1, 1)],
        keep_sent_s=None,
        keep_newest=0,
    )
    lease = rows.lease(1, b"oldchain", 1, 3)
    assert lease is not None
    rows.adopt(ChainLoad(1, b"oldchain", 1, 11, 1))
    assert rows.count(State.LEASED) == 3
    assert rows.count(State.PENDING) == 7, "4 and 5 as before, 6 to 10 are news"
    assert rows.confirm_sent(lease, 0.0) == 3
    assert rows.current == b"newchain"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def lived() -> Iterator[LivedTime]:
    with LivedTime() as running:
        yield running


@pytest.mark.proof
async def test_a_hundred_thousand_rows_come_back_in_little_memory_while_taps_go_on(
    path: Path, lived: LivedTime
) -> None:
    async with opened(path) as store:
        for _ in range(100):
            old = await append(store, 1000)
    zero_header(path)
    before = resident_bytes()
    begun = lived.monotonic()
    async with opened(path) as store:
        opened_s, waited_s, highest = lived.monotonic() - begun, [], 0
        while not store._salvaging.done():  # type: ignore[union-attr]  # it runs since the opening
            asked = lived.monotonic()
            await store.append(a_tap(1))
            waited_s.append(lived.monotonic() - asked)
            highest = max(highest, resident_bytes())
            await asyncio.sleep(0.01)
        took_s = lived.monotonic() - begun
        stats = await store.stats()
        assert stats.pending == 100_000 + len(waited_s)
        assert store.gaps_to_send() == []
        assert highest - before < 8 * 1024 * 1024
        assert opened_s < 2
        assert max(waited_s) < 2
    print(  # noqa: T201 - the figures of this proof
        f"opened in {opened_s:.2f} s, 100,000 rows back in {took_s:.1f} s, memory +{(highest - before) / 1e6:.1f} MB,"
        f" longest tap meanwhile {max(waited_s) * 1000:.0f} ms; last of the old chain {old[-1].seq}"
    )


def threads() -> int:
    return sum(thread.name == "outbox-writer" for thread in threading.enumerate())


async def test_nothing_is_opened_again_behind_the_back_of_close(path: Path) -> None:
    for turns in range(8):
        async with opened(path) as store:
            await append(store, 5)
            await store._writer.call(lambda db: setattr(db.connection, "_damaged", True))
            store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
            for _ in range(turns):
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert not store._writer.running
        await eventually(lambda: threads() == 0)
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
        await asyncio.sleep(0.05)
        assert not store._writer.running


async def test_a_file_is_opened_once_whoever_wants_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replacement of a damaged file, the probe and a watch over the parts may all want it open again."""
    async with opened(path) as store:
        await append(store, 5)
        opening = store._writer._open_database
        opened_by: list[int] = []

        def slow() -> Database:
            opened_by.append(threading.get_ident())
            time.sleep(0.1)
            return opening()

        monkeypatch.setattr(store._writer, "_open_database", slow)
        store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
        assert store._replacing is not None
        wishes: list[asyncio.Task[object]] = []
        while not store._replacing.done():
            wishes += [asyncio.ensure_future(store.heal()), asyncio.ensure_future(store._revive())]
            await asyncio.sleep(0.001)
        await asyncio.gather(*wishes)
        assert len(opened_by) == 1
        assert threads() == 1
        await store.append(a_tap())


@dataclass
class Room:
    """What the file system leaves to the outbox."""

    bytes: int


@pytest.mark.parametrize("short_of", ["bound", "disk"])
async def test_what_has_no_room_follows_later_and_takes_none_from_the_taps(
    path: Path, monkeypatch: pytest.MonkeyPatch, short_of: str
) -> None:
    async with opened(path) as store:
        old = [tap for _ in range(4) for tap in await append(store, 750)]
    zero_header(path)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    room = Room(2**40 if short_of == "bound" else 700_000)
    monkeypatch.setattr(database, "free_bytes", lambda _: max(0, room.bytes - path.stat().st_size))
    bounds = Bounds(max_bytes=WAL_RESERVE_BYTES + (2**20 if short_of == "bound" else 2**24), min_free_bytes=0)
    settings = replace(SETTINGS, bounds=bounds)
    store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=settings)
    await store.open()
    new = []
    for number in range(100):  # offline: no tap is refused, and none of them is given up
        new.append(await store.append(a_tap(number)))
        await asyncio.sleep(0.002)
    await eventually(lambda: len(store.ranges()) > 1)
    stats = await store.stats()
    assert (stats.salvaging, stats.evicted, stats.fault) == (True, 0, "")
    assert 500 < stats.pending < 3100
    came: set[tuple[bytes, int, bytes]] = set()
    async with asyncio.timeout(30):
        while len(came) < 3100:  # online: each delivery makes room for the next
            came |= set(await drained(store))
            for chain in (old[0].chain, new[0].chain):
                store.confirm_stored(chain, max(seq for id_, seq, _ in came if id_ == chain), [])
            await store.flush()
            await asyncio.sleep(0.01)
    assert came == set(wanted(old + new))
    assert not (await salvaged(store)).salvaging
    assert store.gaps_to_send() == []
    await store.close()


@pytest.mark.parametrize("short_of", ["nothing", "bound", "disk"])
async def test_damaged_files_take_no_more_room_than_there_is_for_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, short_of: str
) -> None:
    for number in range(3):
        await filled(path, 10)
        zero_header(path)
        copy_of(path, f"{path.name}.broken-2020010{number}T000000Z")
        remove(path)
    real = module.piece_at

    def bad(file: Path, offset: int, tail: bytes) -> Piece | None:
        piece = real(file, offset, tail)
        return replace(piece, unreadable=4096) if piece else None

    monkeypatch.setattr(module, "piece_at", bad)
    one = broken_files(path)[0].stat().st_size
    files = {"nothing": 3, "bound": 1, "disk": 0}[short_of]
    bounds = Bounds(max_bytes=one * 2 - 1 if short_of == "bound" else 2**29, min_free_bytes=one * 2 + 1)
    async with opened_within(path, bounds) as store:
        stats = await salvaged(store)
        assert stats.pending == 30
        monkeypatch.setattr(database, "free_bytes", lambda _: 0 if short_of == "disk" else 2**40)
        await store._salvage.prune()
        assert len(broken_files(path)) == len((await store.stats()).quarantined) == files


@asynccontextmanager
async def opened_within(path: Path, bounds: Bounds) -> AsyncIterator[OutboxStore]:
    store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=replace(SETTINGS, bounds=bounds))
    await store.open()
    yield store
    await store.close()


async def test_a_medium_that_damages_every_file_is_not_filled_with_them(path: Path) -> None:
    notices: list[Notice] = []
    async with opened(path, notices) as store:
        for _ in range(REPLACED_TIMES + 3):
            if store._writer.running:
                await store._writer.call(lambda db: setattr(db.connection, "_damaged", True))
            store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
            assert store._replacing is not None
            await store._replacing
        with pytest.raises(OutboxError, match="was damaged 5 times in 10 minutes"):
            await store._revive()
        assert not store._writer.running
        with pytest.raises(OutboxError):
            await store.append(a_tap())
        assert store._troubles.fault == "damaged"
        assert isinstance(store._clock, FakeClock)
        store._clock.mono += REPLACED_S
        await store._revive()
        await store.append(a_tap())
    assert len(broken_files(path)) == REPLACED_TIMES + 1


async def test_gap_records_of_a_replaced_outbox_are_not_confirmed_by_the_pubacks_of_older_ones(path: Path) -> None:
    async with opened(path) as store:
        (tap, *_) = await append(store, 40)
        record = plain_gap(Hole(tap.chain, 41, 45, bytes(16), bytes(16), "evicted"))
        insert = "INSERT INTO records (number, chain, kind, first, last, token) VALUES (?, 1, 'gap', 41, 45, ?)"
        await store._writer.call(lambda db: db.connection.execute(insert, (1000, record)))
    async with opened(path) as store:
        (older,) = store.gaps_to_send()
        await store._writer.call(lambda db: setattr(db.connection, "_damaged", True))
        store._judge(OutboxError("damaged", fault=OutboxFault.DAMAGED))
        assert store._replacing is not None
        await store._replacing
        await salvaged(store)
        (newer,) = store.gaps_to_send()
        assert newer.token == older.token
        store.confirm_gap_sent(older.number)
        assert store.gaps_to_send() == [newer]


async def test_a_file_that_may_not_be_read_keeps_no_other_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody made a copy as root."""
    old = await filled(path, 10)
    zero_header(path)
    forbidden = copy_of(path, f"{path.name}.broken-20200100T000000Z")
    real = module.piece_at

    def piece_at(file: Path, offset: int, tail: bytes) -> Piece | None:
        if file == forbidden:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real(file, offset, tail)

    monkeypatch.setattr(module, "piece_at", piece_at)
    async with opened(path) as store:
        stats = await salvaged(store)
        assert await drained(store) == wanted(old)
        assert forbidden.name in stats.quarantined
    monkeypatch.undo()
    async with opened(path) as store:
        await salvaged(store)
        assert await store._writer.call(lambda db: forbidden.name in takeover.done(db)), "it may be read now"


async def test_a_page_that_is_read_over_a_replacement_is_refused(path: Path) -> None:
    """Under the old chain's number there may be rows of another one."""
    await filled(path, 20)
    zero_header(path)
    async with opened(path) as store:
        (tap, *_) = await append(store, 5)
        await salvaged(store)
        reading = asyncio.ensure_future(store.page(tap.chain, 0, 9))
        await asyncio.sleep(0)
        store._rows = Rows([ChainLoad(256, b"newchain", 1, 1)], keep_sent_s=None, keep_newest=0)
        with pytest.raises(OutboxError, match="replaced meanwhile"):
            await reading

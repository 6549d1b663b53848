"""The files of a real outbox stay within its bounds, however many taps come and whatever is confirmed of them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from edge_agent.clock import FakeClock
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.connection import wal_path
from edge_agent.outbox.policy import CROWDED_RECORDS, WAL_RESERVE_BYTES
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, hole_in

MAX_BYTES = WAL_RESERVE_BYTES + 1024 * 1024
ROWS_THAT_FIT = 1024 * 3
Pattern = Callable[[OutboxStore, Random], object]


async def nothing(_store: OutboxStore, _random: Random) -> None:
    """No connection."""


async def pubacks_only(store: OutboxStore, random: Random) -> None:
    """The broker takes every other batch; nobody ever stores anything."""
    lease = await store.lease_backlog(1, max_rows=random.randint(1, 9), max_bytes=9999)
    if lease is not None:
        store.confirm_sent(lease)
    held = await store.lease_backlog(2, max_rows=3, max_bytes=9999)
    if held is not None and random.random() < 0.5:
        store.park(held, "no")
    if random.random() < 0.1:
        store.release(2)
    for record in store.gaps_to_send():
        store.confirm_gap_sent(record.number)


async def moth_eaten(store: OutboxStore, random: Random) -> None:
    """Every second row is stored: what is given up leaves as many gaps as rows."""
    head = store.head()
    odd = [(seq, seq) for seq in range(max(1, head.seq - 100) | 1, head.seq + 1, 2)]
    store.confirm_stored(head.chain, head.seq, [(1, max(1, head.seq - 101)), *odd])
    if (looking := store._upkeep._look_task) is not None:
        await looking  # rows from everywhere free few pages: it takes longer than fifty taps
    if random.random() < 0.2:
        for record in store.gaps_to_send():
            store.confirm_gap_sent(record.number)


@pytest.mark.parametrize("pattern", [nothing, pubacks_only, moth_eaten])
@pytest.mark.parametrize("overload", [3, pytest.param(10, marks=pytest.mark.proof)])
async def test_the_files_never_exceed_the_bound(tmp_path: Path, pattern: Pattern, overload: int) -> None:
    path = tmp_path / "outbox.db"
    bounds = Bounds(max_bytes=MAX_BYTES, min_free_bytes=0)
    store = OutboxStore(
        path, PLAIN, clock=FakeClock(), settings=StoreSettings(close_s=CLOSE_S, flush_rows=10**9, bounds=bounds)
    )
    await store.open()
    random = Random(7)
    highest = 0
    for _ in range(ROWS_THAT_FIT * overload // 50):
        await asyncio.gather(*(store.append(a_tap(number)) for number in range(50)))  # none is refused
        await pattern(store, random)
        highest = max(highest, path.stat().st_size + wal_path(path).stat().st_size)
        assert highest <= MAX_BYTES
    stats = await store.stats()
    assert stats.evicted > ROWS_THAT_FIT * (overload - 2) // 3
    assert stats.fault == ""
    records = await store.gap_records()
    assert len(records) <= 2 * CROWDED_RECORDS
    covered: set[int] = set()
    for record in records:
        hole = hole_in(record.token)
        assert hole is not None
        covered |= set(range(hole.first, hole.last + 1))
    assert len(covered) >= stats.evicted
    await store.close()
    assert path.stat().st_size <= MAX_BYTES

"""Story 15: a hot loop on a failing database. One writer, one warning and then a count, and rest between the tries."""

import asyncio
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from edge_agent.clock import SystemClock
from edge_agent.errors import OutboxError
from edge_agent.outbox.base import Notice
from edge_agent.outbox.database import Database
from edge_agent.outbox.policy import Usage
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import PLAIN, a_tap
from tests.fakes.waiting import eventually

PROBE_S = 0.2
USELESS = Usage(page_size=1024, pages=20, free_pages=0, file_bytes=20_480, disk_free_bytes=2**40)


class Counting(Database):
    """Counts how often anything is tried on the disk."""

    tries = 0

    def append(self, seals, now):  # type: ignore[no-untyped-def]  # as in the base class
        Counting.tries += 1
        return super().append(seals, now)

    def apply(self, plan, orders=()):  # type: ignore[no-untyped-def]  # as in the base class
        Counting.tries += 1
        return super().apply(plan, orders)

    def probe(self) -> None:
        Counting.tries += 1
        super().probe()


def warnings(logs: list[EventDict]) -> list[str]:
    return [f"{line['event']} {line['what']}" for line in logs if line["log_level"] == "warning"]


@pytest.mark.parametrize("ill", ["query_only = ON", "max_page_count = 1"])
async def test_a_failing_database_is_tried_gently_and_told_once(tmp_path: Path, ill: str) -> None:
    notices: list[Notice] = []
    settings = StoreSettings(keep_newest=0, flush_s=PROBE_S, probe_s=PROBE_S)
    store = OutboxStore(
        tmp_path / "outbox.db",
        PLAIN,
        clock=SystemClock(assume_synced=True),
        settings=settings,
        on_notice=notices.append,
    )
    store._writer._open_database = lambda: Counting(tmp_path / "outbox.db", PLAIN)
    await store.open()
    try:
        first = await store.append(a_tap())
        await eventually(lambda: store._upkeep._look_task is not None and store._upkeep._look_task.done())
        await store._writer.call(lambda db: setattr(db, "measure", lambda _bounds: USELESS))
        await store._writer.call(lambda db: setattr(db, "_page_limit", None))
        await store._writer.call(lambda db: db.connection.execute(f"PRAGMA {ill}").fetchall())
        with capture_logs() as logs:
            refused = 0
            while refused < 100:
                try:
                    await store.append(a_tap())
                except OutboxError:
                    refused += 1
            store.confirm_stored(first.chain, first.seq, [])
            Counting.tries = 0
            begun = asyncio.get_running_loop().time()
            await asyncio.sleep(5 * PROBE_S)
            await eventually(lambda: Counting.tries >= 2)  # this loop may have slept all the time
            lasted = asyncio.get_running_loop().time() - begun
            # A probe and a flush in each pause; never more, however long the machine took over it.
            assert Counting.tries <= 2 * (lasted / PROBE_S + 1)
        told = warnings(logs)
        assert len(told) == len(set(told)), f"the same warning again and again: {told}"
        counts = [line["count"] for line in logs if line.get("what") == "append"]
        assert counts == list(range(1, 101)), "every failure is counted"
        assert len(notices) == 1
        assert [thread.name for thread in threading.enumerate()].count("outbox-writer") == 1
        await store._writer.call(
            lambda db: [
                db.connection.execute(f"PRAGMA {cure}") for cure in ("query_only = OFF", "max_page_count = 1000000")
            ]
        )
        await eventually(lambda: not store._troubles.fault)
        assert notices[-1].code == "outbox_works_again"
        assert notices[-1].data["refused"] == 100
        await store.append(a_tap())
    finally:
        await store.close()

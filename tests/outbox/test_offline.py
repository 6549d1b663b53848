import asyncio
import shutil
import time
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox.base import RowRange
from edge_agent.outbox.offline import OutboxFile
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, place_in
from tests.fakes.waiting import eventually


async def an_outbox(path: Path, taps: int, *, killed: bool) -> bytes:
    """An outbox with rows sent and parked; ``killed``: as it is on disk while its agent runs. Returns the chain."""
    store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=StoreSettings(close_s=CLOSE_S, keep_newest=0))
    await store.open()
    for number in range(taps):
        await store.append(a_tap(number))
    for end in (store.confirm_sent, lambda lease: store.park(lease, "why")):
        lease = await store.lease_backlog(1, max_rows=2, max_bytes=10**6)
        assert lease is not None
        end(lease)
    await store.flush()
    chain = store.head().chain
    if killed:
        for name in (path.name, path.name + "-wal"):
            shutil.copy(path.with_name(name), path.with_name("copy-" + name))
    await store.close()
    if killed:
        for name in (path.name, path.name + "-wal"):
            path.with_name("copy-" + name).rename(path.with_name(name))
    return chain


@pytest.mark.parametrize("killed", [False, True], ids=["after a clean end", "after a power cut"])
async def test_it_tells_what_the_agent_would(tmp_path: Path, killed: bool) -> None:
    path = tmp_path / "outbox.db"
    chain = await an_outbox(path, 7, killed=killed)
    assert path.with_name("outbox.db-wal").exists() is killed
    file = OutboxFile(path, PLAIN)
    stats = file.stats()
    assert (stats.chain, stats.next_seq, stats.pending, stats.sent, stats.parked) == (chain, 8, 3, 2, 2)
    assert file.ranges() == [
        RowRange(chain, 1, 2, "sent"),
        RowRange(chain, 3, 4, "parked", "why"),
        RowRange(chain, 5, 7, "pending"),
    ]
    assert [(row.seq, row.state) for row in file.page(None, 0, 3)] == [(1, "sent"), (2, "sent"), (3, "parked")]
    assert [place_in(row.token).seq for row in file.page(chain, 3, 9)] == [4, 5, 6, 7]
    assert file.page(chain, 7, 9) == []
    assert file.page(b"unknown-", 0, 9) == []
    assert (file.head().seq, file.head().hash) == (7, PLAIN.link_hash(file.page(chain, 6, 1)[0].token))
    assert file.gap_records() == []


@pytest.mark.parametrize("killed", [False, True], ids=["after a clean end", "after a power cut"])
async def test_a_sound_one_passes_the_look_of_the_agents_start(tmp_path: Path, killed: bool) -> None:
    await an_outbox(tmp_path / "outbox.db", 7, killed=killed)
    file = OutboxFile(tmp_path / "outbox.db", PLAIN)
    file.check()
    assert file.stats().pending == 3


async def test_a_damaged_one_fails_it_and_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await an_outbox(path, 300, killed=False)
    with path.open("r+b") as database:
        size = database.seek(0, 2)
        database.seek(size // 2)
        database.write(b"\xa5" * 8192)
    with pytest.raises(OutboxError) as caught:
        OutboxFile(path, PLAIN).check()
    assert caught.value.fault is OutboxFault.DAMAGED
    assert [name for name, _, _ in fingerprint(tmp_path)] == ["outbox.db"]


@pytest.mark.parametrize("broken", ["a hole in the middle", "its database empty"])
async def test_a_wal_that_sqlite_would_delete_rows_of_is_left_to_the_agent(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "outbox.db"
    await an_outbox(path, 40, killed=True)
    if broken == "its database empty":
        path.write_bytes(b"")
    else:
        with path.with_name("outbox.db-wal").open("r+b") as log:
            log.seek(32 + 12 * (24 + 1024) + 500)
            log.write(b"\xa5" * 8)
    before = fingerprint(tmp_path)
    for look in (OutboxFile(path, PLAIN).check, OutboxFile(path, PLAIN).stats):
        with pytest.raises(OutboxError) as caught:
            look()
        assert caught.value.fault is OutboxFault.DAMAGED
    assert fingerprint(tmp_path) == before


def fingerprint(folder: Path) -> list[tuple[str, int, bytes]]:
    return sorted((path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir())


async def test_a_look_changes_nothing(tmp_path: Path) -> None:
    await an_outbox(tmp_path / "outbox.db", 7, killed=False)
    before = fingerprint(tmp_path)
    OutboxFile(tmp_path / "outbox.db", PLAIN).page(None, 0, 9)
    OutboxFile(tmp_path / "outbox.db", PLAIN).stats()
    assert fingerprint(tmp_path) == before


async def test_the_agent_has_its_file_as_soon_as_a_look_is_over(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await an_outbox(path, 4, killed=True)
    file = OutboxFile(path, PLAIN)
    file.stats()
    store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=StoreSettings(close_s=CLOSE_S))
    assert (await store.open()).next_seq == 5
    with pytest.raises(OutboxError) as refused:
        file.stats()
    assert refused.value.fault is OutboxFault.HELD
    await store.close()
    assert file.stats().next_seq == 5


async def within_a_few_tries(path: Path) -> OutboxStore:
    """One try lasts a second, which is short where one core has more to do than this; a service is started again."""
    for tries_left in reversed(range(10)):
        store = OutboxStore(path, PLAIN, clock=FakeClock(), settings=StoreSettings(close_s=CLOSE_S))
        try:
            await store.open()
        except OutboxError as error:
            if error.fault is not OutboxFault.HELD or not tries_left:
                raise
        else:
            return store
    raise AssertionError("the last try returns or raises")


async def test_an_agent_can_start_in_the_middle_of_a_long_look(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    await an_outbox(path, 40, killed=False)
    looked = [0]

    def look() -> None:
        file = OutboxFile(path, PLAIN)
        until = time.monotonic() + 20
        while time.monotonic() < until:  # never for good: a test that fails must not hang
            try:
                file.page(None, 0, 500)
            except OutboxError as error:
                if error.fault is OutboxFault.HELD:
                    return
                raise
            looked[0] += 1

    for _ in range(5):
        before = looked[0]
        looking = asyncio.create_task(asyncio.to_thread(look))
        await eventually(lambda before=before: looked[0] > before + 5)  # type: ignore[misc] # a default binds it
        store = await within_a_few_tries(path)
        await asyncio.wait_for(looking, 15)
        await store.close()


@pytest.mark.parametrize("content", [None, b"", b"no database at all " * 99])
def test_what_is_no_outbox_is_told_and_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "outbox.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutboxError) as refused:
        OutboxFile(path, PLAIN).stats()
    assert refused.value.fault is OutboxFault.UNUSABLE
    assert (path.read_bytes() if path.exists() else None) == content
    assert len(list(tmp_path.iterdir())) == (content is not None)


async def test_on_a_medium_that_cannot_be_written_the_file_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # as access(2) answers on a read-only file system
    await an_outbox(tmp_path / "whole.db", 5, killed=False)
    assert OutboxFile(tmp_path / "whole.db", PLAIN).stats().next_seq == 6
    await an_outbox(tmp_path / "cut.db", 5, killed=True)
    with pytest.raises(OutboxError, match=r"newest rows are still in cut\.db-wal; copy both files"):
        OutboxFile(tmp_path / "cut.db", PLAIN).stats()

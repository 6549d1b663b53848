"""An outbox whose disk is full, read-only or hangs at the start: nobody waits for it, and it opens by itself."""

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import connection
from edge_agent.outbox.base import NO_CHAIN, Notice
from edge_agent.outbox.patient import MAY_PASS, PatientOutbox
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap
from tests.fakes.small_disks import read_only, tmpfs

PASSING = {
    sqlite3.SQLITE_FULL: OutboxFault.FULL,
    sqlite3.SQLITE_READONLY: OutboxFault.READ_ONLY,
    sqlite3.SQLITE_IOERR: OutboxFault.FAILING,
}
FOR_GOOD = {sqlite3.SQLITE_BUSY: OutboxFault.HELD, sqlite3.SQLITE_CANTOPEN: OutboxFault.UNUSABLE}


class Disk:
    """What connection.connect meets: ``fails`` with this SQLite code, or ``hangs`` until it is set."""

    def __init__(self, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self.fails = 0
        self.hangs = threading.Event()
        self.hangs.set()
        self._connect = connect

    def __call__(self, path: Path) -> sqlite3.Connection:
        self.hangs.wait(30)
        if self.fails:
            error = sqlite3.OperationalError("as the test says")
            error.sqlite_errorcode = self.fails
            raise error
        return self._connect(path)


@pytest.fixture(name="disk")
def _disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(connection.connect)
    monkeypatch.setattr(connection, "connect", disk)
    return disk


class Site:
    """An outbox on that disk, and what people heard of it."""

    def __init__(self, folder: Path, *, first_try_s: float = 10.0) -> None:
        self.told: list[Notice] = []
        store = OutboxStore(
            folder / "outbox.db",
            PLAIN,
            clock=FakeClock(),
            settings=StoreSettings(close_s=CLOSE_S),
            on_notice=self.told.append,
        )
        self.outbox = PatientOutbox(store, on_notice=self.told.append, first_try_s=first_try_s, try_every_s=0.02)

    @property
    def codes(self) -> list[str]:
        return [notice.code for notice in self.told]


@pytest.mark.parametrize(("code", "fault"), PASSING.items())
async def test_what_may_pass_is_waited_for_and_told_once(disk: Disk, tmp_path: Path, code: int, fault: str) -> None:
    disk.fails = code
    site = Site(tmp_path)
    stats = await site.outbox.open()
    assert (stats.fault, stats.chain) == (fault, NO_CHAIN)
    assert not site.outbox.is_open
    with pytest.raises(OutboxError) as refused:
        await site.outbox.append(a_tap())
    assert refused.value.fault == fault
    await asyncio.sleep(0.1)
    assert site.codes == [f"outbox_{fault}"]
    disk.fails = 0
    async with asyncio.timeout(10):
        await site.outbox.opened()
    assert site.codes == [f"outbox_{fault}", "outbox_works_again"]
    assert (await site.outbox.append(a_tap())).seq == 1
    assert (await site.outbox.stats()).fault == ""
    await site.outbox.close()


@pytest.mark.parametrize(("code", "fault"), FOR_GOOD.items())
async def test_what_only_a_person_heals_is_raised_at_once_or_later(
    disk: Disk, tmp_path: Path, code: int, fault: str
) -> None:
    disk.fails = code
    with pytest.raises(OutboxError) as at_once:
        await Site(tmp_path).outbox.open()
    assert at_once.value.fault == fault
    disk.fails = sqlite3.SQLITE_FULL
    site = Site(tmp_path)
    await site.outbox.open()
    disk.fails = code
    async with asyncio.timeout(10):
        with pytest.raises(OutboxError) as later:
            await site.outbox.opened()
    assert later.value.fault == fault
    await site.outbox.close()


def test_no_fault_is_without_a_decision() -> None:
    decided = MAY_PASS | {OutboxFault.HELD, OutboxFault.UNUSABLE}
    assert set(OutboxFault) - decided == {OutboxFault.DAMAGED, OutboxFault.CLOSED, OutboxFault.REFUSED}


async def test_a_storage_that_hangs_keeps_nobody_waiting(disk: Disk, tmp_path: Path) -> None:
    disk.hangs.clear()
    site = Site(tmp_path, first_try_s=0.05)
    async with asyncio.timeout(10):
        assert (await site.outbox.open()).fault == OutboxFault.BUSY
        with pytest.raises(OutboxError):
            await site.outbox.append(a_tap())
        disk.hangs.set()
        await site.outbox.opened()
    assert (await site.outbox.append(a_tap())).seq == 1
    await site.outbox.close()


async def test_closing_does_not_wait_for_a_storage_that_hangs(disk: Disk, tmp_path: Path) -> None:
    disk.hangs.clear()
    site = Site(tmp_path, first_try_s=0.05)
    await site.outbox.open()
    async with asyncio.timeout(10):
        await site.outbox.close()
    disk.hangs.set()


async def test_while_it_is_not_open_there_is_nothing_to_deliver_and_whoever_asks_hears_why(
    disk: Disk, tmp_path: Path
) -> None:
    disk.fails = sqlite3.SQLITE_FULL
    outbox = Site(tmp_path).outbox
    await outbox.open()
    assert await outbox.lease_backlog(1, max_rows=9, max_bytes=9999) is None
    assert (outbox.release(1), outbox.requeue_unconfirmed(0.0), outbox.gaps_to_send()) == (0, 0, [])
    assert outbox.confirm_stored(b"chain-id", 5, []) == 0
    assert (outbox.head().chain, outbox.head().seq) == (NO_CHAIN, 0)
    assert await outbox.heal() is False
    for ask in (lambda: outbox.resend(b"chain-id", 1, 2), outbox.ranges):
        with pytest.raises(OutboxError, match="no space left"):
            ask()
    for wait in (outbox.tail(5), outbox.page(None, 0, 5), outbox.gap_records(), outbox.flush(), outbox.last_wall()):
        with pytest.raises(OutboxError, match="no space left"):
            await wait
    await outbox.close()


async def test_a_good_disk_is_no_matter_of_patience(disk: Disk, tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert (await site.outbox.open()).next_seq == 1
    assert site.outbox.is_open
    await site.outbox.opened()
    assert site.codes == []
    await site.outbox.close()


@pytest.mark.parametrize("before", ["nothing", "an outbox", "an outbox that was killed"])
async def test_a_read_only_file_system_may_pass_whatever_is_on_it(tmp_path: Path, before: str) -> None:
    with tmpfs(tmp_path / "disk", "1m") as folder:
        first = Site(folder)
        if before != "nothing":
            await first.outbox.open()
            await first.outbox.append(a_tap())
            if before == "an outbox that was killed":
                for name in ("outbox.db", "outbox.db-wal"):
                    (folder / f"copy-{name}").write_bytes((folder / name).read_bytes())
            await first.outbox.close()
        for copy in folder.glob("copy-*"):
            copy.replace(folder / copy.name.removeprefix("copy-"))
        read_only(folder, on=True)
        site = Site(folder)
        assert (await site.outbox.open()).fault == OutboxFault.READ_ONLY
        read_only(folder, on=False)
        async with asyncio.timeout(10):
            await site.outbox.opened()
        assert (await site.outbox.append(a_tap())).seq == (1 if before == "nothing" else 2)
        await site.outbox.close()


@pytest.mark.parametrize(("number", "fault"), [(errno.ENOSPC, OutboxFault.FULL), (errno.EIO, OutboxFault.FAILING)])
async def test_a_file_that_cannot_be_created_for_now_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fault: str
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    site = Site(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(connection.os, "open", fail)
        assert (await site.outbox.open()).fault == fault
    async with asyncio.timeout(10):
        await site.outbox.opened()
    await site.outbox.close()

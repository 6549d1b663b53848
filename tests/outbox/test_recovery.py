"""Whatever happened to the file: the outbox opens, or says why a person must act. What is not ours is not touched."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import connection, quarantine
from edge_agent.outbox.connection import PAGE_SIZE, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.quarantine import broken_files, parts
from edge_agent.outbox.recovery import CHAIN_NUMBER, open_outbox
from tests.fakes.outbox_taps import PLAIN, a_tap, plain_sealer
from tests.fakes.watched_vfs import Medium, below

ROWS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def append(database: Database, taps: int) -> None:
    for _ in range(taps):
        database.append([lambda place: (plain_sealer(a_tap(), place), 90)], lambda: 0.0)


def cut_off(path: Path, rows: int = ROWS) -> bytes:
    """An outbox as a power cut leaves it, half of its rows in the WAL; returns its chain."""
    live = path.with_name("live.db")
    database = open_outbox(live, PLAIN).database
    append(database, rows // 2)
    database.checkpoint()
    append(database, rows - rows // 2)
    chain = database.head().chain
    for file, copy in ((live, path), (wal_path(live), wal_path(path))):
        shutil.copyfile(file, copy)
    database.close()
    live.unlink()
    return chain


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def close_cleanly(path: Path) -> None:
    """Bring the WAL home."""
    open_outbox(path, PLAIN).database.close()
    assert not wal_path(path).exists()


def zero_header(path: Path) -> None:
    close_cleanly(path)
    overwrite(path, 0, bytes(100))


def zero_first_page(path: Path) -> None:
    close_cleanly(path)
    overwrite(path, 0, bytes(PAGE_SIZE))


def garbage_in_the_middle(path: Path) -> None:
    close_cleanly(path)
    pages = path.stat().st_size // PAGE_SIZE
    for page in range(pages // 3, pages // 2):
        overwrite(path, page * PAGE_SIZE, os.urandom(PAGE_SIZE))


def cut_in_half(path: Path) -> None:
    close_cleanly(path)
    os.truncate(path, path.stat().st_size // 2)


def empty_it(path: Path) -> None:
    os.truncate(path, 0)


def lose_it(path: Path) -> None:
    path.unlink()


def lose_its_wal(path: Path) -> None:
    wal_path(path).unlink()


def zero_all(path: Path) -> None:
    close_cleanly(path)
    path.write_bytes(bytes(path.stat().st_size))


def tear_its_wal(path: Path) -> None:
    overwrite(wal_path(path), 32 + 20 * (PAGE_SIZE + 24) + 100, b"\xff" * 8)


def lose_its_wal_header(path: Path) -> None:
    overwrite(wal_path(path), 0, bytes(32))


HARM = [
    zero_header,
    zero_first_page,
    garbage_in_the_middle,
    cut_in_half,
    empty_it,
    lose_it,
    lose_its_wal,
    zero_all,
    tear_its_wal,
    lose_its_wal_header,
]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_is_set_aside_and_a_new_chain_begun(path: Path, harm: Callable[[Path], None]) -> None:
    chain = cut_off(path)
    harm(path)
    before = {file.read_bytes() for file in (path, wal_path(path)) if file.exists()} | {b""}
    opened = open_outbox(path, PLAIN)
    assert opened.quarantined is not None
    assert opened.quarantined.name.startswith("outbox.db.broken-")
    assert before == {file.read_bytes() for file in parts(opened.quarantined)} | {b""}, "not a byte was changed"
    assert opened.database.head().chain != chain
    append(opened.database, 1)
    opened.database.close()
    again = open_outbox(path, PLAIN)
    assert again.quarantined is None, "once is enough"
    assert again.database.head().seq == 1
    again.database.close()
    assert broken_files(path) == [opened.quarantined]


def test_a_sound_file_is_opened_as_it_is(path: Path) -> None:
    chain = cut_off(path)
    for _ in range(3):
        opened = open_outbox(path, PLAIN)
        assert opened.quarantined is None
        assert (opened.database.head().chain, opened.database.head().seq) == (chain, ROWS)
        opened.database.close()


def test_a_transaction_torn_at_the_end_of_the_wal_is_no_damage(path: Path) -> None:
    chain = cut_off(path)
    wal = wal_path(path).read_bytes()
    frame = PAGE_SIZE + 24
    frames = [wal[at : at + frame] for at in range(32, len(wal) - frame + 1, frame)]
    last = max(index for index, one in enumerate(frames) if one[8:16] == wal[16:24])
    overwrite(wal_path(path), 32 + last * frame + 500, b"\xff\xff")
    opened = open_outbox(path, PLAIN)
    assert opened.quarantined is None, "a power cut may do that: that tap was promised to nobody"
    assert (opened.database.head().chain, opened.database.head().seq) == (chain, ROWS - 1)
    opened.database.close()


def test_reading_it_from_outside_after_a_crash_is_no_damage(path: Path) -> None:
    chain = cut_off(path)
    Database(path, PLAIN, to_read=True).close()
    opened = open_outbox(path, PLAIN)
    assert (opened.quarantined, opened.database.head().chain) == (None, chain)
    opened.database.close()


def test_salvaged_rows_fit_below_the_new_chain(path: Path) -> None:
    cut_off(path)
    zero_header(path)
    opened = open_outbox(path, PLAIN)
    assert [chain.number for chain in opened.database.chains()] == [CHAIN_NUMBER]
    opened.database.close()


def test_what_proves_damaged_while_it_is_open_is_set_aside_before_its_wal_is_gone(path: Path) -> None:
    database = open_outbox(path, PLAIN).database
    append(database, 30)
    wal = wal_path(path).read_bytes()
    assert path.stat().st_size > 3 * PAGE_SIZE
    database.connection.execute("PRAGMA shrink_memory")
    for page in range(1, path.stat().st_size // PAGE_SIZE):
        overwrite(path, page * PAGE_SIZE, os.urandom(PAGE_SIZE))
    overwrite(wal_path(path), 32, os.urandom(len(wal) - 32))
    with pytest.raises(OutboxError) as caught:
        database.tail(30)
    assert caught.value.fault is OutboxFault.DAMAGED
    database.close()
    (broken,) = broken_files(path)
    assert len(parts(broken)) == 2, "with its WAL"
    opened = open_outbox(path, PLAIN, damaged=True)
    assert opened.database.head().seq == 0
    opened.database.close()


@pytest.mark.parametrize("content", ["photos", "database", "newer"])
def test_what_is_not_ours_is_never_touched(path: Path, content: str) -> None:
    if content == "photos":
        path.write_bytes(b"my holiday photos, not a database" * 100)
    elif content == "database":
        foreign = sqlite3.connect(path)
        foreign.execute("CREATE TABLE rows (key INTEGER PRIMARY KEY, exp INTEGER, token BLOB)")
        foreign.execute("INSERT INTO rows VALUES (1099511627777, 1790000000, zeroblob(230))")
        foreign.execute("PRAGMA application_id = 77")
        foreign.commit()
        foreign.close()
    else:
        cut_off(path)
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version = 999")
        newer.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError) as caught:
        open_outbox(path, PLAIN)
    assert caught.value.fault is OutboxFault.UNUSABLE
    assert path.read_bytes() == before
    assert broken_files(path) == []


def test_what_another_agent_holds_is_never_touched(path: Path) -> None:
    holder = open_outbox(path, PLAIN).database
    append(holder, 3)
    program = (
        "import sys; from pathlib import Path; from edge_agent.outbox.recovery import open_outbox;"
        "from tests.fakes.outbox_taps import PLAIN; open_outbox(Path(sys.argv[1]), PLAIN)"
    )
    for harm in ("pass", "f.write(bytes(100))", "f.truncate(0)"):
        # Not here: closing any descriptor of the file would drop the locks that this process holds on it.
        subprocess.run([sys.executable, "-c", f"f = open({str(path)!r}, 'r+b'); {harm}"], check=True)
        assert "another agent holds" in _python(program, str(path))
        assert broken_files(path) == []
    holder.close()


def _python(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode
    return done.stderr


def test_every_damaged_file_gets_a_name_of_its_own(path: Path) -> None:
    for count in range(1, 4):
        cut_off(path)
        zero_header(path)
        opened = open_outbox(path, PLAIN)
        opened.database.close()
        path.unlink()
        assert len(set(broken_files(path))) == count


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_power_cut_between_the_renames_is_safe(path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int) -> None:
    chain = cut_off(path)
    tear_its_wal(path)

    def power_cut(_: Path) -> None:
        raise OSError(5, "power cut")

    if renamed:
        monkeypatch.setattr(quarantine, "sync_directory", power_cut)
        with pytest.raises(OutboxError, match="cannot be set aside"):
            quarantine.set_aside(path)
        monkeypatch.undo()
        assert not path.exists()
        assert wal_path(path).exists()
    opened = open_outbox(path, PLAIN)
    assert opened.database.head().chain != chain, "its last numbers are in the WAL, they must not be used again"
    assert opened.database.head().seq == 0
    opened.database.close()
    left = [file for broken in broken_files(path) for file in parts(broken)]
    assert len(left) == 2


def test_a_check_that_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(threading.Thread):
        """Interrupts again and again, so that it surely meets the check."""

        def __init__(self, _: float, stop: Callable[[], None]) -> None:
            super().__init__()
            self._stop_it = stop
            self._over = threading.Event()

        def run(self) -> None:
            while not self._over.wait(0.0001):
                self._stop_it()

        def cancel(self) -> None:
            self._over.set()

    cut_off(path, 3000)
    monkeypatch.setattr(connection.threading, "Timer", Impatient)
    opened = open_outbox(path, PLAIN)
    assert (opened.quarantined, opened.database.head().seq) == (None, 3000)
    append(opened.database, 1)
    opened.database.close()


class HiccupingDisk(Medium):
    """So many of its next reads fail."""

    def __init__(self, failing: int) -> None:
        self.failing = failing

    def read(self, path: Path, offset: int, amount: int) -> None:
        if self.failing:
            self.failing -= 1
            raise OSError(errno.EIO, "the bus was reset")


@pytest.mark.parametrize("nth", range(1, 12))
def test_one_read_that_fails_in_opening_is_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    cut_off(path)
    disk = HiccupingDisk(0)
    below(monkeypatch, disk)
    reads = iter(range(1000))
    monkeypatch.setattr(disk, "read", lambda *_: _fail() if next(reads) == nth else None)
    opened = open_outbox(path, PLAIN)
    assert opened.quarantined is None
    opened.database.close()
    assert broken_files(path) == []


def _fail() -> None:
    raise OSError(errno.EIO, "the bus was reset")


def test_one_read_that_fails_later_is_no_damage_and_the_next_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(path)
    disk = HiccupingDisk(0)
    below(monkeypatch, disk)
    database = open_outbox(path, PLAIN).database
    faults = []
    for _ in range(2):
        database.connection.execute("PRAGMA shrink_memory").fetchall()
        disk.failing = 1
        with pytest.raises(OutboxError) as failed:
            database.tail(9999)
        faults.append(failed.value.fault)
    assert faults == [OutboxFault.FAILING, OutboxFault.DAMAGED]
    database.close()
    assert len(broken_files(path)) == 1

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError
from edge_agent.models import ChainPosition
from edge_agent.outbox import connection as module
from edge_agent.outbox.connection import schema_scripts, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.rows import Plan, Range, Span
from tests.fakes.outbox_taps import PLAIN, a_tap, plain_link, plain_sealer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def opened(path: Path) -> Database:
    return Database(path, PLAIN)


def seals(taps: int) -> list[Callable[[ChainPosition], tuple[bytes, int]]]:
    return [lambda place: (plain_sealer(a_tap(), place), 90)] * taps


def append(database: Database, taps: int) -> None:
    database.append(seals(taps), lambda: 0.0)


def pragma(database: Database, name: str) -> object:
    return database.connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_how_it_is_opened(path: Path) -> None:
    for _ in ("created", "opened again"):
        database = opened(path)
        assert pragma(database, "journal_mode") == "wal"
        assert pragma(database, "synchronous") == 2, "FULL"
        assert pragma(database, "locking_mode") == "exclusive"
        assert pragma(database, "page_size") == 1024
        assert pragma(database, "user_version") == max(schema_scripts())
        database.close()


def test_its_files_are_private_and_nothing_is_shared(path: Path) -> None:
    umask = os.umask(0)
    try:
        database = opened(path)
        append(database, 1)
    finally:
        os.umask(umask)
    for file in (path, wal_path(path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not path.with_name(path.name + "-shm").exists(), "the WAL index is on the heap"
    database.close()


def test_commits_need_not_lengthen_the_wal(path: Path) -> None:
    database = opened(path)
    ready = wal_path(path).stat().st_size
    for _ in range(50):
        append(database, 1)
    assert ready > 50 * module.PAGE_SIZE
    assert wal_path(path).stat().st_size == ready
    database.close()


@pytest.mark.parametrize("taps", [0, 3])
def test_the_room_in_the_wal_is_nothing_after_a_power_cut(path: Path, tmp_path: Path, taps: int) -> None:
    database = opened(path)
    append(database, taps)
    after = tmp_path / "after-the-cut.db"
    for file, copy in ((path, after), (wal_path(path), wal_path(after))):
        copy.write_bytes(file.read_bytes())
    database.close()
    again = opened(after)
    assert len(again.tail(10)) == taps
    append(again, 1)
    assert [stored.seq for stored in again.tail(10)] == list(range(1, taps + 2))
    again.close()


def test_each_database_has_a_chain_of_its_own(tmp_path: Path) -> None:
    ids = set()
    for name in ("a", "b"):
        database = opened(tmp_path / name)
        (chain,) = database.chains()
        assert (len(chain.id), chain.first_seq, chain.next_seq) == (8, 1, 1)
        ids.add(chain.id)
        database.close()
    assert len(ids) == 2


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    database = opened(path)
    append(database, 1)
    database.connection.execute("PRAGMA user_version = 999")
    database.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="schema 999, this agent knows 1") as caught:
        opened(path)
    assert "newer agent" in caught.value.remedy
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"my holiday photos, not a database" * 100)
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="is not an outbox"):
        opened(path)
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE photos (jpeg BLOB)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(OutboxError, match="is not an outbox"):
        opened(path)
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="No such file or directory") as caught:
        opened(tmp_path / "no" / "outbox.db")
    assert "folder" in caught.value.remedy


@pytest.mark.parametrize("at", [1, 2])
def test_a_schema_that_fails_half_way_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    good = schema_scripts()
    bad = {**good, at: good.get(at, "") + "\nCREATE TABLE half (a) STRICT;\nINSERT INTO nowhere VALUES (1);"}
    monkeypatch.setattr(module, "schema_scripts", lambda: bad)
    with pytest.raises(OutboxError):
        opened(path)
    look = sqlite3.connect(path)
    assert look.execute("PRAGMA user_version").fetchone() == (at - 1,)
    assert look.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    look.close()
    monkeypatch.undo()
    database = opened(path)
    append(database, 1)
    assert database.chains()[0].next_seq == 2
    database.close()


def test_a_creation_that_was_cut_off_is_done_again(path: Path) -> None:
    path.touch()
    database = opened(path)
    append(database, 1)
    database.close()


def test_a_commit_that_fails_uses_no_seq(path: Path) -> None:
    database = opened(path)
    append(database, 2)
    database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OutboxError, match="cannot be written"):
        append(database, 3)
    database.connection.execute("PRAGMA query_only = OFF")
    append(database, 1)
    assert [tap.seq for tap in database.tail(9)] == [1, 2, 3]
    database.close()


def test_a_plan_is_written_wholly_or_not_at_all(path: Path) -> None:
    database = opened(path)
    append(database, 4)
    spans = (Span(1, 1, 2, 2), Span(1, 4, 4, 9))  # no state has the number 9
    with pytest.raises(OutboxError):
        database.apply(Plan(5.0, (), spans, {1: 3}, (Range(1, 1, 2),), frozenset(spans)))
    (chain,) = database.chains()
    assert (chain.first_seq, chain.spans, chain.lowest) == (1, (), 1)
    assert database.operated_s() == 0.0
    database.close()


def test_deleted_rows_are_told_from_the_head(path: Path) -> None:
    database = opened(path)
    append(database, 4)
    head = database.tail(1)[0].token
    database.apply(Plan(5.0, (), (), {1: 5}, (Range(1, 1, 4),), frozenset()))
    database.close()
    database = opened(path)
    (chain,) = database.chains()
    assert (chain.first_seq, chain.next_seq, chain.lowest) == (5, 5, None)
    append(database, 1)
    (tap,) = database.tail(9)
    assert tap.seq == 5
    assert tap.token[16:32] == plain_link(head)
    database.close()


def test_no_seq_is_used_twice_when_the_newest_rows_go_before_older_ones(path: Path) -> None:
    database = opened(path)
    append(database, 4)
    database.apply(Plan(5.0, (), (Span(1, 2, 4, 4),), {}, (Range(1, 2, 4),), frozenset()))
    database.close()
    database = opened(path)
    assert database.chains()[0].next_seq == 5
    append(database, 1)
    assert [tap.seq for tap in database.tail(9)] == [1, 5]
    database.close()


def test_the_rows_on_disk_are_believed_after_a_failure(path: Path) -> None:
    database = opened(path)
    append(database, 2)
    database.connection.execute("INSERT INTO rows SELECT key + 1, exp, token FROM rows WHERE key & 0xff = 2")
    with pytest.raises(OutboxError, match="UNIQUE"):
        append(database, 1)
    append(database, 1)
    assert [tap.seq for tap in database.tail(9)] == [1, 2, 3, 4]
    database.close()


def test_reading_leaves_out_what_is_not_there(path: Path) -> None:
    database = opened(path)
    append(database, 5)
    database.connection.execute("DELETE FROM rows WHERE key & 0xff = 3")
    tokens = {tap.seq: tap.token for tap in database.tail(9)}
    assert database.read(1, 2, 4) == {2: tokens[2], 4: tokens[4]}
    assert database.read(1, 6, 9) == {}
    assert database.read(2, 1, 9) == {}
    database.close()


def test_the_wal_is_used_again_after_a_checkpoint(path: Path) -> None:
    database = opened(path)
    sizes = []
    for _ in range(6):
        for _ in range(10):
            append(database, 50)
        assert database.checkpoint_due
        database.checkpoint()
        assert not database.checkpoint_due
        sizes.append(wal_path(path).stat().st_size)
    assert sizes[-1] <= sizes[0] * 1.1, sizes
    assert database.bytes_on_disk() == path.stat().st_size + sizes[-1]
    database.close()


@pytest.mark.parametrize("note", ["\ud800", "a"])
def test_what_cannot_be_written_leaves_no_transaction_open(path: Path, note: str) -> None:
    """Taps that came behind it would be in that transaction, and would not be durable."""
    database = opened(path)
    append(database, 3)
    at = 0.0 if note != "a" else 2**63
    plan = Plan(0.0, (), (Span(1, 1, 1, 3, at, note),), {}, (), frozenset())
    with pytest.raises(OutboxError):
        database.apply(plan)
    assert not database.connection._db.in_transaction
    append(database, 1)
    database.apply(Plan(0.0, (), (Span(1, 1, 1, 3, 0.0, "a"),), {}, (), frozenset()))
    database.close()
    again = opened(path)
    assert [tap.seq for tap in again.tail(9)] == [1, 2, 3, 4]
    again.close()

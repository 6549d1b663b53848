"""A schema version takes effect wholly or not at all, whatever ends it half-way; no agent touches a newer one."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import connection
from edge_agent.outbox.connection import schema_scripts, wal_path
from edge_agent.outbox.quarantine import broken_files
from edge_agent.outbox.recovery import open_outbox
from tests.fakes.outbox_taps import PLAIN, a_tap, plain_sealer

STATEMENTS = [
    "CREATE TABLE extra (number INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    "INSERT INTO extra SELECT key, 'from version 1' FROM rows",
    "ALTER TABLE chains ADD COLUMN comment TEXT",
    "CREATE INDEX extra_notes ON extra (note)",
    "UPDATE chains SET comment = 'migrated'",
]
VERSION_2 = ";\n".join(STATEMENTS) + ";"
FAILS = "INSERT INTO nowhere VALUES (1)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An outbox of schema 1 with ten taps."""
    path = tmp_path / "outbox.db"
    append(path, 10)
    return path


def append(path: Path, taps: int) -> None:
    """Open, append, close: the agent's whole life."""
    database = open_outbox(path, PLAIN).database
    database.append([lambda place: (plain_sealer(a_tap(), place), 90)] * taps, lambda: 0.0)
    database.close()


def known(monkeypatch: pytest.MonkeyPatch, *later: str) -> None:
    """Let the agent know these schema versions beside the first."""
    scripts = {1: schema_scripts()[1], **dict(enumerate(later, 2))}
    monkeypatch.setattr(connection, "schema_scripts", lambda: scripts)


def look(path: Path) -> tuple[int, int, set[str]]:
    """Version, rows and tables as they are in the file."""
    database = sqlite3.connect(path)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (rows,) = database.execute("SELECT count(*) FROM rows").fetchone()
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return version, rows, tables
    finally:
        database.close()


def test_a_migration_keeps_rows_and_chain(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, VERSION_2)
    append(path, 1)
    version, rows, tables = look(path)
    assert (version, rows) == (2, 11)
    assert {"extra", "extra_notes"} <= tables
    assert broken_files(path) == []


@pytest.mark.parametrize("at", range(len(STATEMENTS) + 1))
def test_a_failure_in_any_statement_leaves_version_1_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    before = look(path)
    known(monkeypatch, ";\n".join([*STATEMENTS[:at], FAILS, *STATEMENTS[at:]]) + ";")
    for _ in range(2):
        with pytest.raises(OutboxError, match="nowhere"):
            open_outbox(path, PLAIN)
    assert look(path) == before
    assert broken_files(path) == [], "a mistake in a script is no damage"
    monkeypatch.undo()
    append(path, 1)
    assert look(path) == (1, 11, before[2])
    known(monkeypatch, VERSION_2)
    append(path, 1)
    assert look(path)[:2] == (2, 12)


def test_the_third_version_may_fail_without_the_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, VERSION_2, "DROP TABLE extra; " + FAILS + ";")
    with pytest.raises(OutboxError, match="nowhere"):
        open_outbox(path, PLAIN)
    version, rows, tables = look(path)
    assert (version, rows) == (2, 10)
    assert "extra" in tables


@pytest.mark.parametrize("at", range(1, len(STATEMENTS) + 1))
def test_a_power_cut_in_any_statement_leaves_version_1(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int, tmp_path: Path
) -> None:
    after = tmp_path / "after-the-cut.db"

    def cut(_: int) -> int:
        for file, copy in ((path, after), (wal_path(path), wal_path(after))):
            shutil.copyfile(file, copy)
        return 0

    def connect(file: Path) -> sqlite3.Connection:
        database = sqlite3.connect(file, isolation_level=None)
        database.create_function("cut", 1, cut)
        database.execute("PRAGMA cache_size = 1")  # so that half of a transaction does reach the file
        return database

    monkeypatch.setattr(connection, "connect", connect)
    known(monkeypatch, ";\n".join([*STATEMENTS[:at], "SELECT cut(1)", *STATEMENTS[at:]]) + ";")
    open_outbox(path, PLAIN).database.close()
    assert look(path)[0] == 2, "nothing was cut here"
    monkeypatch.undo()

    opened = open_outbox(after, PLAIN)
    assert opened.quarantined is None
    opened.database.close()
    version, rows, tables = look(after)
    assert (version, rows) == (1, 10)
    assert "extra" not in tables
    known(monkeypatch, VERSION_2)
    append(after, 1)
    assert look(after)[:2] == (2, 11)


def test_a_downgrade_is_refused_with_a_way_out_and_nothing_is_touched(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, VERSION_2)
    append(path, 1)
    monkeypatch.undo()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(OutboxError, match="has schema 2, this agent knows 1") as caught:
            open_outbox(path, PLAIN)
        assert caught.value.fault is OutboxFault.UNUSABLE
        assert "install the newer agent again" in caught.value.remedy
    assert path.read_bytes() == before
    assert broken_files(path) == []

"""The ledger's file over versions: migrated in one step or not at all, never opened by a version that is too old."""

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from edge_agent.cloud import ledger as module
from edge_agent.cloud.base import Disposition, LedgerError
from edge_agent.cloud.ledger import SqliteLedger
from tests.cloud.test_ledger import NOW, chain_of

SCHEMA = files("edge_agent.cloud") / "schema"
ROW = (
    "INSERT INTO tap (stream, seq, token, verdict, redeemable, received_at, kid, iat, exp, clk, boot, up, prev, mode,"
    " test) VALUES (1, ?, ?, 'late', 0, 0, x'00', ?, ?, ?, ?, ?, ?, 1, 0)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger as version 1 left it: three taps, the first without a clock, of two boots."""
    path = tmp_path / "ledger.db"
    rows = chain_of(3)
    with closing(sqlite3.connect(path)) as db:
        db.executescript((SCHEMA / "0001_ledger.sql").read_text(encoding="utf-8"))
        db.execute("PRAGMA application_id = 0x5441504C")
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO stream (id, fleet, terminal, chain) VALUES (1, 'sh', 'sh-1-a', x'636861696e2d2d31')")
        for row, (iat, clk, boot, up) in zip(
            rows, [(77, 0, b"bootbyte", 30), (5, 0, b"otherone", 5), (NOW, 2, b"bootbyte", 100)], strict=True
        ):
            db.execute(ROW, (row.seq, row.token, iat, iat, clk, boot, up, row.prev))
        db.execute("INSERT INTO island VALUES (1, 1, 3)")
        db.commit()
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [*db.iterdump(), str(db.execute("PRAGMA user_version").fetchone())]


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from edge_agent.cloud import ledger

def dying(script, real=ledger._statements):
    for number, statement in enumerate(real(script)):
        yield statement
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

ledger._statements = dying
path = Path(sys.argv[1])
db = sqlite3.connect(path, isolation_level=None)
db.execute("PRAGMA cache_size = 0")
ledger._prepare(db, path)
"""


async def test_a_ledger_of_version_1_keeps_its_taps_and_learns_their_times(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.open()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT seq, rebased_at FROM tap").fetchall() == [(1, NOW - 70), (2, None), (3, None)]
    assert (await ledger.store(chain_of(4))).dispositions == (*[Disposition.DUPLICATE] * 3, Disposition.STORED)
    (audit,) = await ledger.audit()
    assert (audit.count, audit.holes, audit.breaks, audit.index_agrees) == (4, (), (), True)
    await ledger.close()


def statements(name: str) -> list[str]:
    return list(module._statements((SCHEMA / name).read_text(encoding="utf-8")))


EACH_STATEMENT = [
    (name, number) for name in ("0002_records.sql", "0003_tickets.sql") for number, _ in enumerate(statements(name))
]


@pytest.mark.parametrize(("name", "fails_at"), EACH_STATEMENT)
async def test_a_migration_that_fails_half_way_leaves_the_ledger_as_it_was(
    path: Path, name: str, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._statements
    whole = (SCHEMA / name).read_text(encoding="utf-8")
    if name != "0002_records.sql":
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            module._migrate(db, path, 2, (SCHEMA / "0002_records.sql").read_text(encoding="utf-8"), newest=3)
    before = dump(path)

    def failing(script: str) -> Iterator[str]:
        for number, statement in enumerate(real(script)):
            yield "SELECT no_such_thing" if script == whole and number == fails_at else statement

    monkeypatch.setattr(module, "_statements", failing)
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError, match="no_such_thing"):
        await ledger.open()
    await ledger.close()
    assert dump(path) == before
    monkeypatch.undo()
    again = SqliteLedger(path)
    await again.open()
    assert [audit.count for audit in await again.audit()] == [3]
    await again.close()


async def test_an_older_process_that_still_has_the_file_open_cannot_spend_what_a_ticket_buys(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        ledger = SqliteLedger(path)
        await ledger.open()
        await ledger.close()
        assert older.execute("UPDATE tap SET redeemed_at = 1 WHERE seq = 1").rowcount == 1
        older.execute("UPDATE tap SET mode = 2 WHERE seq = 2")
        with pytest.raises(sqlite3.IntegrityError, match="redeemed by its ticket"):
            older.execute("UPDATE tap SET redeemed_at = 1 WHERE seq = 2")


@pytest.mark.parametrize("statement", [statement for statement, _ in enumerate(statements("0003_tickets.sql"))])
async def test_a_process_killed_in_the_middle_of_a_migration_leaves_the_ledger_as_it_was(
    path: Path, statement: int
) -> None:
    """SIGKILL, with the pages of half a migration on the disk: ``cache_size`` 0 spills each of them at once."""
    ledger = SqliteLedger(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        module._migrate(db, path, 2, (SCHEMA / "0002_records.sql").read_text(encoding="utf-8"), newest=3)
        db.execute("PRAGMA journal_mode = WAL")
    before = dump(path)
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path), str(statement))
    assert await killed.wait() == -signal.SIGKILL
    assert dump(path) == before
    await ledger.open()
    assert [audit.count for audit in await ledger.audit()] == [3]
    await ledger.close()


async def test_two_that_open_at_once_migrate_once(path: Path) -> None:
    ledgers = [SqliteLedger(path) for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    assert [audit.count for audit in await ledgers[0].audit()] == [3]
    for ledger in ledgers:
        await ledger.close()


async def test_a_new_file_that_somebody_writes_to_is_waited_for(path: Path) -> None:
    """Changing the mode of a file is the one thing for which SQLite's own time-out does not count."""
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        assert db.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        db.execute("BEGIN IMMEDIATE")
        again = SqliteLedger(path)
        opening = asyncio.create_task(again.open())
        threading.Timer(0.2, db.execute, ("ROLLBACK",)).start()
        await opening
    assert [audit.count for audit in await again.audit()] == [3]
    await again.close()


async def test_somebody_who_was_faster_by_all_versions_is_no_newer_version(path: Path) -> None:
    """Between our look at the version and our lock another process may have done all that there was to do."""
    ledger = SqliteLedger(path)
    await ledger.open()
    await ledger.close()
    before = dump(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        module._migrate(db, path, 1, (SCHEMA / "0001_ledger.sql").read_text(encoding="utf-8"), newest=3)
    assert dump(path) == before


async def test_four_that_create_at_once_create_once(tmp_path: Path) -> None:
    ledgers = [SqliteLedger(tmp_path / "new.db") for _ in range(4)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))
    for number, ledger in enumerate(ledgers):
        await ledger.store(chain_of(number + 1))
    assert [audit.count for audit in await ledgers[0].audit()] == [4]
    for ledger in ledgers:
        await ledger.close()


async def test_a_ledger_of_a_newer_version_is_refused_and_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.commit()
    before = dump(path)
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError, match=r"newer version \(schema 99") as caught:
        await ledger.open()
    assert "upgrade the receiver" in caught.value.remedy
    await ledger.close()
    assert dump(path) == before

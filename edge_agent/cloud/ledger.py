"""The ledger on SQLite: every authentic tap once, durable before anyone hears of it. The only module here with sqlite3.

One thread owns the writing connection; WAL with synchronous FULL, one transaction for each ``store``. Reports read
through a connection of their own. Nothing is cached that another writer could change, so a second process on the
same machine (an import beside the service) is slow but safe; still: one receiver, one ledger file.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from edge_agent.cloud import ledger_reports
from edge_agent.cloud.base import (
    ChainAudit,
    Evidence,
    LedgerError,
    LedgerStats,
    Place,
    RecordRow,
    Redemption,
    Row,
    Settled,
    Standing,
    StoreReport,
    Stream,
    TicketAsked,
)
from edge_agent.cloud.ledger_writer import LedgerWriter
from edge_agent.cloud.witness import Answer, WitnessPolicy, check_who
from edge_agent.uplink.wire import Ack

_APPLICATION_ID = 0x5441504C  # "TAPL", so that a foreign database is never taken for a ledger
# The other writer's transaction takes milliseconds, a migration of 10^7 rows a minute.
_BUSY_S = 10.0
_T = TypeVar("_T")


class SqliteLedger:
    """The ``Ledger`` port on one SQLite file. Created on first use; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._file: _File | None = None

    async def open(self) -> None:
        """Open or create; raises LedgerError."""
        self._file = await self._run(lambda: _File(self._path))

    async def store(
        self, rows: Sequence[Row], evidence: Sequence[Evidence] = (), records: Sequence[RecordRow] = ()
    ) -> StoreReport:
        """Keep all of this in one durable transaction or, with LedgerError, nothing of it."""
        return await self._write(lambda writer: writer.store(rows, evidence, records))

    async def tokens(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        """The bytes stored at these places; a place without a row is left out."""
        return await self._look(lambda writer: writer.tokens(places))

    async def acks(self, streams: Collection[Stream]) -> list[Ack]:
        """What is durably stored of each stream, in the order asked; a stream never seen is ``through = 0``."""
        return [standing.ack for standing in await self.standings(streams)]

    async def standings(self, streams: Collection[Stream]) -> list[Standing]:
        """The acks of these streams and how far they are known to go, in the order asked."""
        return await self._look(lambda writer: [writer.standing(stream) for stream in streams])

    async def unfinished(self, terminals: Collection[tuple[str, str]]) -> list[Stream]:
        """The newest MAX_UNFINISHED streams with holes of each of these terminals, (fleet, terminal)."""
        return await self._look(lambda writer: writer.unfinished(terminals))

    async def redeem(self, *, now: float, cti: bytes | None = None, nonce: bytes | None = None) -> Redemption:
        """Spend a tap, once, until its ``exp`` plus the contract's skew. Exactly one of cti and nonce."""
        if (cti is None) == (nonce is None):
            raise ValueError("redeem wants exactly one of cti and nonce")
        return await self._write(lambda writer: writer.redeem(now, cti, nonce))

    async def redeem_ticket(self, asked: TicketAsked, *, now: float, policy: WitnessPolicy) -> Answer:
        """Redeem a ticket by the rules of ``witness``; what is granted is durable when this returns."""
        check_who(asked.asked.who)
        return await self._write(lambda writer: writer.redeem_ticket(asked, now, policy))

    async def settle_tickets(self, *, now: float, policy: WitnessPolicy) -> list[Settled]:
        """Grant every redemption that waits and whose second witness has come; return them, each once."""
        return await self._write(lambda writer: writer.settle_tickets(now, policy))

    async def audit(self) -> list[ChainAudit]:
        """Re-check every chain from the stored bytes, on a connection and a thread of its own."""
        self._opened()
        return await asyncio.to_thread(_read, self._path, ledger_reports.audit)

    async def stats(self) -> LedgerStats:
        """Count rows, on a connection and a thread of its own."""
        self._opened()
        return await asyncio.to_thread(_read, self._path, ledger_reports.stats)

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            await self._run(file.close)
        self._thread.shutdown(wait=False)

    def _opened(self) -> "_File":
        if self._file is None:
            raise LedgerError("the ledger is not open")
        return self._file

    async def _write(self, job: Callable[[LedgerWriter], _T]) -> _T:
        file = self._opened()
        return await self._run(lambda: file.write(job))

    async def _look(self, job: Callable[[LedgerWriter], _T]) -> _T:
        file = self._opened()
        return await self._run(lambda: file.look(job))

    async def _run(self, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


class _File:
    """The writing connection, on the ledger's thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _as_ledger_error(path):
            self.db = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
            try:
                _prepare(self.db, path)
            except BaseException:
                self.db.close()
                raise
        self._writer = LedgerWriter(self.db)

    def write(self, job: Callable[[LedgerWriter], _T]) -> _T:
        """Run in one transaction; with LedgerError nothing of it is left."""
        with _as_ledger_error(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                result = job(self._writer)
                self.db.execute("COMMIT")
            except BaseException:
                self._writer.forget()
                raise
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
        return result

    def look(self, job: Callable[[LedgerWriter], _T]) -> _T:
        """Run without writing."""
        with _as_ledger_error(self.path):
            return job(self._writer)

    def close(self) -> None:
        with _as_ledger_error(self.path):
            self.db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check that this is a ledger, bring its schema up to date, set what a connection needs."""
    if db.execute("PRAGMA schema_version").fetchone()[0] == 0:
        # A file created under EXTRA has its directory entry on disk before the first commit returns.
        db.execute("PRAGMA synchronous = EXTRA")
    scripts = sorted(
        (entry for entry in (files("edge_agent.cloud") / "schema").iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    for number, script in enumerate(scripts, start=1):
        if _version(db, path, newest=len(scripts)) < number:
            _migrate(db, path, number, script.read_text(encoding="utf-8"), newest=len(scripts))
    _use_wal(db)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 4000")


def _use_wal(db: sqlite3.Connection) -> None:
    """SQLite does not wait for another writer here, whatever its time-out: four that open a new file at once meet."""
    give_up = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _version(db: sqlite3.Connection, path: Path, *, newest: int) -> int:
    """Schema of the file, 0 for an empty one; raises LedgerError before anything is changed."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    tables = db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
    if (version or tables) and db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise LedgerError(f"{path} is a database, but no ledger", remedy="give --ledger another file")
    if version > newest:
        raise LedgerError(
            f"{path} was written by a newer version (schema {version}, this one knows {newest})",
            remedy="upgrade the receiver; a downgrade would not understand what it holds",
        )
    return version


def _migrate(db: sqlite3.Connection, path: Path, number: int, script: str, *, newest: int) -> None:
    """Run one schema file; it and the new version number take effect together or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db, path, newest=newest) < number:  # else somebody else was faster
            for statement in _statements(script):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _read(path: Path, report: Callable[[ledger_reports.Query], _T]) -> _T:
    with _as_ledger_error(path), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.execute("BEGIN")  # one snapshot for all queries of the report
        return report(db.execute)


@contextmanager
def _as_ledger_error(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}") from error

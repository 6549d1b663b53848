"""The ledger on SQLite: every authentic tap once, durable before anyone hears of it. The only module here with sqlite3.

One thread owns the writing connection; WAL with synchronous FULL, one transaction for each ``store``. Reports read
through a connection of their own. Nothing is cached that another writer could change, so a second process on the
same machine is slow but safe; still: one receiver, one ledger file.
"""

import asyncio
import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from edge_agent.cloud import continuity, ledger_reports
from edge_agent.cloud.base import (
    ChainAudit,
    Disposition,
    Evidence,
    LedgerError,
    LedgerStats,
    Place,
    Redemption,
    Row,
    StoreReport,
    Stream,
)
from edge_agent.cloud.verifier import SKEW_S
from edge_agent.uplink.wire import Ack, Topics

EVIDENCE_PER_VERDICT = 1000
EVIDENCE_BYTES = 1024

_APPLICATION_ID = 0x5441504C  # "TAPL", so that a foreign database is never taken for a ledger
_STREAM_IDS_KEPT = 100_000
_T = TypeVar("_T")

_INSERT_TAP = """
INSERT INTO tap (stream, seq, token, verdict, redeemable, received_at, kid, iat, exp, clk, boot, up, prev, mode,
                 nonce, sub, campaign, test)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_KEEP_EVIDENCE = """
INSERT INTO evidence (verdict, digest, topic, reason, size, payload, first_at, last_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (verdict, digest) DO UPDATE SET times = times + 1, last_at = excluded.last_at
"""
_DROP_EVIDENCE = """
DELETE FROM evidence WHERE verdict = ?
AND id <= (SELECT id FROM evidence WHERE verdict = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
"""
_COUNT_REFUSALS = """
INSERT INTO refusal (verdict, count) VALUES (?, ?)
ON CONFLICT (verdict) DO UPDATE SET count = count + excluded.count
"""


class SqliteLedger:
    """The ``Ledger`` port on one SQLite file. Created on first use; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._writer: _Writer | None = None

    async def open(self) -> None:
        """Open or create; raises LedgerError."""
        self._writer = await self._run(lambda: _Writer(self._path))

    async def store(self, rows: Sequence[Row], evidence: Sequence[Evidence] = ()) -> StoreReport:
        """Keep all of this in one durable transaction or, with LedgerError, nothing of it."""
        writer = self._opened()
        return await self._run(lambda: writer.store(rows, evidence))

    async def tokens(self, places: Collection[Place]) -> Mapping[Place, bytes]:
        """The bytes stored at these places; a place without a row is left out."""
        writer = self._opened()
        return await self._run(lambda: writer.tokens(places))

    async def acks(self, streams: Collection[Stream]) -> list[Ack]:
        """What is durably stored of each stream, in the order asked; a stream never seen is ``through = 0``."""
        writer = self._opened()
        return await self._run(lambda: [writer.ack(stream) for stream in streams])

    async def redeem(self, *, now: float, cti: bytes | None = None, nonce: bytes | None = None) -> Redemption:
        """Spend a tap, once, until its ``exp`` plus the contract's skew. Exactly one of cti and nonce."""
        if (cti is None) == (nonce is None):
            raise ValueError("redeem wants exactly one of cti and nonce")
        writer = self._opened()
        return await self._run(lambda: writer.redeem(now, cti, nonce))

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
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._run(writer.close)
        self._thread.shutdown(wait=False)

    def _opened(self) -> "_Writer":
        if self._writer is None:
            raise LedgerError("the ledger is not open")
        return self._writer

    async def _run(self, job: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)


class _Writer:
    """All writing, on the ledger's thread."""

    def __init__(self, path: Path) -> None:
        self._stream_ids: dict[Stream, int] = {}
        with _as_ledger_error(path):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
            try:
                _prepare(self._db, path)
            except BaseException:
                self._db.close()
                raise
        self._path = path

    def close(self) -> None:
        with _as_ledger_error(self._path):
            self._db.close()

    def store(self, rows: Sequence[Row], evidence: Sequence[Evidence]) -> StoreReport:
        with self._transaction():
            dispositions: list[Disposition] = [Disposition.STORED] * len(rows)
            breaks: list[tuple[Stream, int]] = []
            by_stream: defaultdict[Stream, list[int]] = defaultdict(list)
            for index, row in enumerate(rows):
                by_stream[row.stream].append(index)
            for stream, indexes in by_stream.items():
                broken = self._store_stream(stream, rows, indexes, dispositions)
                breaks += [(stream, seq) for seq in broken]
            conflicts = [
                _conflict(row)
                for row, disposition in zip(rows, dispositions, strict=True)
                if disposition is Disposition.CONFLICT
            ]
            self._keep_evidence([*evidence, *conflicts])
        return StoreReport(tuple(dispositions), tuple(breaks))

    def _store_stream(
        self, stream: Stream, rows: Sequence[Row], indexes: Sequence[int], dispositions: list[Disposition]
    ) -> list[int]:
        """Store the rows of one stream, fill in their dispositions, return the seqs whose ``prev`` does not fit."""
        stream_id = self._stream_id(stream)
        first_by_seq: dict[int, int] = {}
        for index in indexes:
            first_by_seq.setdefault(rows[index].seq, index)
        kept: dict[int, tuple[bytes, bytes]] = {}  # seq -> (token, prev), as the ledger has them after this
        fresh: set[int] = set()
        broken: list[int] = []
        for run in continuity.runs(first_by_seq):
            touching = self._islands_touching(stream_id, run)
            for first, last in touching:
                for seq in range(max(first, run[0] - 1), min(last, run[1] + 1) + 1):
                    stored = self._token_and_prev(stream_id, seq)
                    if stored is not None:  # else somebody deleted the row by hand: it is taken again
                        kept[seq] = stored
            new = [rows[first_by_seq[seq]] for seq in range(run[0], run[1] + 1) if seq not in kept]
            fresh.update(row.seq for row in new)
            kept.update((row.seq, (row.token, row.prev)) for row in new)
            self._db.executemany(_INSERT_TAP, (_columns(stream_id, row) for row in new))
            self._merge_islands(stream_id, run, touching)
            broken += continuity.broken_links(kept, fresh, run)
        duplicates = 0
        for index in indexes:
            row = rows[index]
            if row.seq in fresh and first_by_seq[row.seq] == index:
                continue
            same = kept[row.seq][0] == row.token
            dispositions[index] = Disposition.DUPLICATE if same else Disposition.CONFLICT
            duplicates += same
        if duplicates:
            self._db.execute("UPDATE stream SET duplicates = duplicates + ? WHERE id = ?", (duplicates, stream_id))
        return broken

    def _stream_id(self, stream: Stream) -> int:
        known = self._stream_ids.get(stream) or self._find_stream(stream)
        if known is None:
            cursor = self._db.execute(
                "INSERT INTO stream (fleet, terminal, chain) VALUES (?, ?, ?)",
                (stream.fleet, stream.terminal, stream.chain),
            )
            # Not remembered yet: a roll-back would take the number away.
            assert cursor.lastrowid is not None  # noqa: S101 (an INSERT always sets it; the stub cannot know)
            return cursor.lastrowid
        if len(self._stream_ids) >= _STREAM_IDS_KEPT:
            self._stream_ids.clear()
        self._stream_ids[stream] = known
        return known

    def _find_stream(self, stream: Stream) -> int | None:
        found = self._db.execute(
            "SELECT id FROM stream WHERE chain = ? AND terminal = ? AND fleet = ?",
            (stream.chain, stream.terminal, stream.fleet),
        ).fetchone()
        return None if found is None else int(found[0])

    def _token_and_prev(self, stream_id: int | None, seq: int) -> tuple[bytes, bytes] | None:
        query = "SELECT token, prev FROM tap WHERE stream = ? AND seq = ?"
        found: tuple[bytes, bytes] | None = self._db.execute(query, (stream_id, seq)).fetchone()
        return found

    def _islands_touching(self, stream_id: int, run: continuity.Range) -> list[continuity.Range]:
        """Stored ranges that overlap or adjoin ``run``, highest first. They are disjoint: the walk down can stop."""
        touching: list[continuity.Range] = []
        query = "SELECT first, last FROM island WHERE stream = ? AND first <= ? ORDER BY first DESC"
        for first, last in self._db.execute(query, (stream_id, run[1] + 1)):
            if last < run[0] - 1:
                break
            touching.append((first, last))
        return touching

    def _merge_islands(self, stream_id: int, run: continuity.Range, touching: Sequence[continuity.Range]) -> None:
        merged = continuity.merge(run, touching)
        if list(touching) == [merged]:
            return
        self._db.executemany(
            "DELETE FROM island WHERE stream = ? AND first = ?", ((stream_id, first) for first, _ in touching)
        )
        self._db.execute("INSERT INTO island (stream, first, last) VALUES (?, ?, ?)", (stream_id, *merged))

    def _keep_evidence(self, evidence: Sequence[Evidence]) -> None:
        counts: defaultdict[str, int] = defaultdict(int)
        for item in evidence:
            counts[item.verdict] += 1
            digest = hashlib.sha256(item.topic.encode("utf-8", "replace") + b"\0" + item.payload).digest()
            kept = item.payload[:EVIDENCE_BYTES]
            size = len(item.payload)
            at = item.received_at
            self._db.execute(_KEEP_EVIDENCE, (item.verdict, digest, item.topic, item.reason, size, kept, at, at))
        for verdict, count in counts.items():
            self._db.execute(_COUNT_REFUSALS, (verdict, count))
            self._db.execute(_DROP_EVIDENCE, (verdict, verdict, EVIDENCE_PER_VERDICT))

    def tokens(self, places: Collection[Place]) -> dict[Place, bytes]:
        found: dict[Place, bytes] = {}
        with _as_ledger_error(self._path):
            for stream, seq in places:
                stored = self._token_and_prev(self._find_stream(stream), seq)
                if stored is not None:
                    found[stream, seq] = stored[0]
        return found

    def ack(self, stream: Stream) -> Ack:
        with _as_ledger_error(self._path):
            stream_id = self._stream_ids.get(stream) or self._find_stream(stream)
            lowest: list[continuity.Range] = []
            if stream_id is not None:
                query = "SELECT first, last FROM island WHERE stream = ? ORDER BY first LIMIT ?"
                lowest = self._db.execute(query, (stream_id, continuity.MAX_MISSING + 1)).fetchall()
        through, missing = continuity.ack_ranges(lowest)
        return Ack(chain=stream.chain, through=through, missing=missing)

    def redeem(self, now: float, cti: bytes | None, nonce: bytes | None) -> Redemption:
        with self._transaction():
            if cti is not None:
                found = self._db.execute(
                    "SELECT tap.id, nonce, redeemable, exp, redeemed_at FROM tap JOIN stream ON stream.id = tap.stream"
                    " WHERE chain = ? AND seq = ? ORDER BY redeemable DESC, tap.id",
                    (cti[:8], _signed(cti[8:])),
                ).fetchone()
            else:
                found = self._db.execute(
                    "SELECT id, nonce, redeemable, exp, redeemed_at FROM tap"
                    " WHERE nonce = ? AND redeemable = 1 ORDER BY exp DESC, id",
                    (nonce,),
                ).fetchone()
            if found is None:
                return Redemption.UNKNOWN
            tap_id, its_nonce, redeemable, exp, redeemed_at = found
            if not redeemable:
                return Redemption.NOT_REDEEMABLE
            if redeemed_at is not None or self._nonce_is_spent(its_nonce):
                return Redemption.ALREADY
            if now > exp + SKEW_S:
                return Redemption.EXPIRED
            self._db.execute("UPDATE tap SET redeemed_at = ? WHERE id = ?", (now, tap_id))
        return Redemption.REDEEMED

    def _nonce_is_spent(self, nonce: bytes | None) -> bool:
        """One nonce buys once, even if a phone got tokens for it from two terminals."""
        query = "SELECT 1 FROM tap WHERE nonce = ? AND redeemable = 1 AND redeemed_at IS NOT NULL"
        return nonce is not None and self._db.execute(query, (nonce,)).fetchone() is not None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _as_ledger_error(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _columns(stream_id: int, row: Row) -> tuple[object, ...]:
    return (
        stream_id,
        row.seq,
        row.token,
        row.verdict,
        row.redeemable,
        row.received_at,
        row.kid,
        row.iat,
        row.exp,
        row.clk,
        row.boot,
        row.up,
        row.prev,
        row.mode,
        row.nonce,
        row.sub,
        row.campaign,
        row.test,
    )


def _conflict(row: Row) -> Evidence:
    stream = row.stream
    reason = f"another token is stored as {stream.chain.hex()}/{row.seq} of {stream.fleet}/{stream.terminal}"
    topic = Topics(stream.fleet, stream.terminal).prefix
    return Evidence(topic, Disposition.CONFLICT, reason, row.token, row.received_at)


def _signed(seq: bytes) -> int:
    """A uint64 as the column could hold it; one that no row can have becomes 0, which no row has."""
    value = int.from_bytes(seq, "big")
    return value if value < 2**63 else 0


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check that this is a ledger, bring its schema up to date, set what a connection needs."""
    scripts = sorted(
        (entry for entry in (files("edge_agent.cloud") / "schema").iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if db.execute("PRAGMA schema_version").fetchone()[0] == 0:
        # A file created under EXTRA has its directory entry on disk before the first commit returns.
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    elif db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise LedgerError(f"{path} is a database, but no ledger", remedy="give --ledger another file")
    if version > len(scripts):
        raise LedgerError(f"{path} was written by a newer version (schema {version})", remedy="upgrade the receiver")
    for number, script in enumerate(scripts[version:], start=version + 1):
        db.execute("BEGIN IMMEDIATE")
        for statement in _statements(script.read_text(encoding="utf-8")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 4000")


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

"""The outbox on disk: the only importer of sqlite3, used by one thread, which owns the only connection.

Created with synchronous=EXTRA, then WAL, then FULL: each commit is on the medium when it returns. One tap is one INSERT
statement, which is its own transaction; seq and prev come from the rows themselves: there is no second truth to tear.
It never signs, never decides what may be deleted, and never lets a sqlite3 exception out: all become OutboxError.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

from edge_agent.errors import OutboxError
from edge_agent.models import CHAIN_ID_BYTES, FIRST_PREV, ChainPosition, StoredTap
from edge_agent.outbox.rows import ChainLoad, Plan, Span

APPLICATION_ID = 0x54415042  # "TAPB"
PAGE_SIZE = 1024  # measured: 2.1 kB handed to write(2) per tap; 4096 takes 5.2 kB, 512 spills tokens of 248 bytes
MAX_TOKEN_BYTES = 1024  # as in the schema; the contract's own limit is far below
CHECKPOINT_EVERY_ROWS = 500
# Backstop inside a commit, in pages, if no idle moment ever comes; and the size that the WAL file is cut back to.
_WAL_PAGES = 4096
_WAL_BYTES = 4 * 1024 * 1024
# What CHECKPOINT_EVERY_ROWS taps take in the WAL: one and a half pages each, measured.
_WAL_READY_BYTES = CHECKPOINT_EVERY_ROWS * (PAGE_SIZE + 24) * 3 // 2
# Piece by piece: of a long write the kernel makes large folios, and counts a whole one for each commit in it.
_BLOCK = 4096
_SEQ_BITS = 40
_SEQ_MASK = (1 << _SEQ_BITS) - 1

Seal = Callable[[ChainPosition], tuple[bytes, int]]
"""Makes the token for one place in the chain; returns it with its exp (unix seconds)."""

_TEXTS = {
    sqlite3.SQLITE_BUSY: ("another agent holds {path}", "stop it, or give this one its own [outbox] path"),
    sqlite3.SQLITE_LOCKED: ("another agent holds {path}", "stop it, or give this one its own [outbox] path"),
    sqlite3.SQLITE_FULL: ("no space left for {path}", "free space there; taps are kept again as soon as there is room"),
    sqlite3.SQLITE_IOERR: ("the storage under {path} fails", "look into the kernel log; replace a worn card"),
    sqlite3.SQLITE_READONLY: ("{path} cannot be written", "remount its file system read-write, check the owner"),
    sqlite3.SQLITE_CANTOPEN: (
        "{path} cannot be opened",
        "check that the folder exists and belongs to the agent's user",
    ),
    sqlite3.SQLITE_PERM: ("{path} cannot be opened", "check that the folder exists and belongs to the agent's user"),
    sqlite3.SQLITE_CORRUPT: ("{path} is damaged", "move it and its -wal away together; they hold unsent taps"),
    sqlite3.SQLITE_NOTADB: ("{path} is not an outbox", "check [outbox] path; nothing was changed"),
}


class Database:
    """One open outbox file. Every method may take as long as the medium does and raises OutboxError."""

    def __init__(self, path: Path, *, link_hash: Callable[[bytes], bytes]) -> None:
        self._path = path
        self._link_hash = link_hash
        self._head: tuple[int, ChainPosition] | None = None
        self._rows_since_checkpoint = 0
        _create_private(path)
        with self._errors():
            # Never wait for a lock: the only other owner can be a second agent, and it will not let go.
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        run = self._db.execute
        run(f"PRAGMA page_size = {PAGE_SIZE}")
        # One owner for good: no shared memory file, the WAL index is on the heap, a second opener is refused.
        run("PRAGMA locking_mode = EXCLUSIVE")
        version = self._check_identity()
        # EXTRA while files come and go: it also syncs the directory when the journal of the switch to WAL is unlinked.
        run("PRAGMA synchronous = EXTRA")
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        run(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        for number, script in sorted(schema_scripts().items()):
            if number > version:
                self._migrate(number, script)
        if version == 0:
            run("PRAGMA wal_checkpoint(TRUNCATE)")
            _sync_directory(self._path.parent)
        run("PRAGMA synchronous = FULL")
        _make_room(wal_path(self._path))

    def _check_identity(self) -> int:
        """Schema version, 0 for an empty file; raises OutboxError before anything is changed."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise OutboxError(f"{self._path} is not an outbox", remedy="check [outbox] path; nothing was changed")
        newest = max(schema_scripts())
        if version > newest:
            raise OutboxError(
                f"{self._path} has schema {version}, this agent knows {newest}",
                remedy="install the newer agent again; a downgrade would lose what it cannot read",
            )
        return int(version)

    def _migrate(self, number: int, script: str) -> None:
        """Run one schema file; it and the new version number take effect together or not at all."""
        try:
            self._db.executescript(f"BEGIN IMMEDIATE;\n{script}")
            if number == 1:
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._insert_chain()
            self._db.execute(f"PRAGMA user_version = {number}")
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _insert_chain(self) -> None:
        self._db.execute(
            "INSERT INTO chains (id, state, created_unix, first_seq, next_seq, head) VALUES (?, 0, ?, 1, 1, ?)",
            (os.urandom(CHAIN_ID_BYTES), int(time.time()), FIRST_PREV),
        )

    def chains(self) -> list[ChainLoad]:
        """All chains, the current one last; a handful of index look-ups however many rows are waiting."""
        with self._errors():
            rows = self._db.execute("SELECT number, id, first_seq, next_seq FROM chains ORDER BY state DESC, number")
            return [self._load_chain(*row) for row in rows.fetchall()]

    def _load_chain(self, number: int, id_: bytes, first_seq: int, next_seq: int) -> ChainLoad:
        bounds = (_key(number, 0), _key(number, _SEQ_MASK))
        (lowest,) = self._db.execute("SELECT min(key) FROM rows WHERE key BETWEEN ? AND ?", bounds).fetchone()
        (highest,) = self._db.execute("SELECT max(key) FROM rows WHERE key BETWEEN ? AND ?", bounds).fetchone()
        spans = self._db.execute("SELECT first, last, state, at, note FROM spans WHERE chain = ?", (number,)).fetchall()
        return ChainLoad(
            number=number,
            id=id_,
            first_seq=first_seq,
            next_seq=next_seq if highest is None else max(next_seq, (highest & _SEQ_MASK) + 1),
            lowest=None if lowest is None else lowest & _SEQ_MASK,
            spans=tuple(Span(number, *span) for span in spans),
        )

    def operated_s(self) -> float:
        """Seconds that this database has been open, as last written."""
        with self._errors():
            row = self._db.execute("SELECT value FROM meta WHERE key = 'operated_s'").fetchone()
        return 0.0 if row is None else float(row[0])

    def append(self, seals: Sequence[Seal], now: Callable[[], float]) -> list[StoredTap | OutboxError]:
        """Seal and commit taps in one transaction, in order; a seal that fails costs its own tap only.

        Raises OutboxError if the commit fails: then nothing was kept, and no seq is used up.
        """
        with self._errors():
            number, place = self._head or self._read_head()
        results: list[tuple[ChainPosition, bytes, int] | OutboxError] = []
        values: list[int | bytes] = []
        for seal in seals:
            try:
                token, exp = _sealed(seal, place)
            except OutboxError as error:
                results.append(error)
                continue
            results.append((place, token, exp))
            values += (_key(number, place.seq), exp, token)
            place = ChainPosition(place.chain, place.seq + 1, self._link_hash(token))
        if values:
            marks = ", ".join(["(?, ?, ?)"] * (len(values) // 3))
            with self._errors():
                # One statement, one transaction: between two statements the GIL may be 5 ms away on a busy agent.
                self._db.execute(f"INSERT INTO rows (key, exp, token) VALUES {marks}", values)  # noqa: S608 - only marks
            self._rows_since_checkpoint += len(values) // 3
            self._head = (number, place)
        committed_at = now()
        return [
            result
            if isinstance(result, OutboxError)
            else StoredTap(result[0].chain, result[0].seq, result[1], exp=result[2], committed_at=committed_at)
            for result in results
        ]

    def _read_head(self) -> tuple[int, ChainPosition]:
        number, chain, seq, head = self._db.execute(
            "SELECT number, id, next_seq, head FROM chains WHERE state = 0"
        ).fetchone()
        row = self._db.execute(
            "SELECT key, token FROM rows WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1",
            (_key(number, seq), _key(number, _SEQ_MASK)),
        ).fetchone()
        if row is not None:
            seq, head = (row[0] & _SEQ_MASK) + 1, self._link_hash(row[1])
        return number, ChainPosition(chain, seq, head)

    def read(self, number: int, first: int, last: int) -> dict[int, bytes]:
        """Tokens by seq; rows that are not there are left out."""
        base = _key(number, 0)
        # One step for all rows: stepping row by row takes the GIL anew for each, 2,000 rows/s while the loop is busy.
        with self._errors():
            (packed,) = self._db.execute(
                "SELECT group_concat((key - ?) || ' ' || hex(token)) FROM rows WHERE key BETWEEN ? AND ?",
                (base, base + first, base + last),
            ).fetchone()
        if packed is None:
            return {}
        return {int(seq): bytes.fromhex(token) for seq, token in (item.split(" ") for item in packed.split(","))}

    def tail(self, limit: int) -> list[StoredTap]:
        """The newest rows on disk, newest last."""
        with self._errors():
            ids = dict(self._db.execute("SELECT number, id FROM chains").fetchall())
            rows = self._db.execute("SELECT key, token, exp FROM rows ORDER BY key DESC LIMIT ?", (limit,)).fetchall()
        return [StoredTap(ids[key >> _SEQ_BITS], key & _SEQ_MASK, token, exp) for key, token, exp in reversed(rows)]

    def apply(self, plan: Plan) -> None:
        """Write one plan of confirmations and deletions, all of it or nothing."""
        with self._errors():
            number, place = self._head or self._read_head()
            run, many = self._db.execute, self._db.executemany
            run("BEGIN IMMEDIATE")
            many("DELETE FROM spans WHERE chain = ? AND first = ?", [(span.chain, span.first) for span in plan.removed])
            many(
                "INSERT OR REPLACE INTO spans (chain, first, last, state, at, note) VALUES (?, ?, ?, ?, ?, ?)",
                [(span.chain, span.first, span.last, span.state, span.at, span.note) for span in plan.added],
            )
            many(
                "UPDATE chains SET first_seq = ?, next_seq = max(next_seq, ?) WHERE number = ?",
                [(seq, seq, chain) for chain, seq in plan.first_seqs.items()],
            )
            if plan.deleted or plan.first_seqs:  # the rows alone may no longer tell where the chain ends
                run("UPDATE chains SET next_seq = ?, head = ? WHERE number = ?", (place.seq, place.prev, number))
            many(
                "DELETE FROM rows WHERE key BETWEEN ? AND ?",
                [(_key(rows.chain, rows.first), _key(rows.chain, rows.last)) for rows in plan.deleted],
            )
            run("INSERT OR REPLACE INTO meta (key, value) VALUES ('operated_s', ?)", (plan.now,))
            run("COMMIT")
        self._rows_since_checkpoint += 1 + sum(rows.last - rows.first + 1 for rows in plan.deleted) // 4

    @property
    def checkpoint_due(self) -> bool:
        """Whether an idle moment should be used to copy the WAL back."""
        return self._rows_since_checkpoint >= CHECKPOINT_EVERY_ROWS

    def checkpoint(self) -> None:
        """Copy the WAL into the database, so that its file is used from the start again."""
        self._rows_since_checkpoint = 0
        with self._errors():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def bytes_on_disk(self) -> int:
        """Size of the database file and its WAL."""
        with self._errors():
            return sum(file.stat().st_size for file in (self._path, wal_path(self._path)) if file.exists())

    def close(self) -> None:
        """Copy the WAL back and close."""
        with self._errors():
            self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._roll_back()
            self._head = None  # whatever happened, the rows on disk are the truth
            raise self._told(error) from error
        except OSError as error:
            raise OutboxError(f"{self._path}: {error.strerror}", remedy="look into the kernel log") from error

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the error that led here is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _told(self, error: sqlite3.Error) -> OutboxError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text, remedy = _TEXTS.get(code, ("{path}: {error}", ""))
        return OutboxError(text.format(path=self._path, error=error), remedy=remedy)


def wal_path(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of this database."""
    return path.with_name(path.name + "-wal")


def schema_scripts() -> dict[int, str]:
    """SQL of each schema version, from ``schema/NNNN_*.sql``."""
    folder = resources.files(__package__).joinpath("schema")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {int(file.name[:4]): file.read_text(encoding="utf-8") for file in files}


def _key(number: int, seq: int) -> int:
    return number << _SEQ_BITS | seq


def _sealed(seal: Seal, place: ChainPosition) -> tuple[bytes, int]:
    try:
        token, exp = seal(place)
    except Exception as error:  # a foreign callback: what it raises is the answer to this tap alone
        raise OutboxError(f"the tap could not be sealed: {error}") from error
    if not 1 <= len(token) <= MAX_TOKEN_BYTES:
        raise OutboxError(f"a token of {len(token)} bytes, 1 to {MAX_TOKEN_BYTES} can be kept")
    return token, exp


def _create_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite does; it gives the WAL the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # never open it here: closing any descriptor of it would drop SQLite's locks in this process
    except OSError as error:
        raise OutboxError(
            f"{path} cannot be created: {error.strerror}",
            remedy="check that the folder exists and belongs to the agent's user",
        ) from error


def _make_room(wal: Path) -> None:
    """Lengthen the WAL with zeros: a commit that need not lengthen the file is a third faster and spares its inode.

    SQLite writes over them from the front; what is left after a crash is no valid frame (zero page number and salts).
    """
    try:
        with wal.open("r+b", buffering=0) as file:
            missing = _WAL_READY_BYTES - file.seek(0, os.SEEK_END)
            if 0 < missing * 16 <= shutil.disk_usage(wal.parent).free:
                for _ in range(0, missing, _BLOCK):
                    file.write(bytes(_BLOCK))
                os.fsync(file.fileno())
    except OSError:
        return  # on a failing medium the first tap will tell; this is only about speed


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

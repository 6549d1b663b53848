"""One SQLite file of the outbox: open it safely, migrate it, map its errors. The only importer of sqlite3 here.

Created with synchronous=EXTRA, then WAL, then FULL: each commit is on the medium when it returns. A file that turns out
damaged is set aside before it is let go: closing would copy its WAL into it and delete the WAL. It knows nothing of
taps, and never lets a sqlite3 exception out: all become OutboxError.
"""

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from edge_agent.durable import sync_directory
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import wal
from edge_agent.outbox.quarantine import set_aside

APPLICATION_ID = 0x54415042  # "TAPB"
PAGE_SIZE = 1024  # measured: 2.1 kB handed to write(2) per tap; 4096 takes 5.2 kB, 512 spills tokens of 248 bytes
CHECKPOINT_EVERY_ROWS = 500
# Backstop inside a commit, in pages, if no idle moment ever comes; and the size that the WAL file is cut back to.
_WAL_PAGES = 4096
_WAL_BYTES = 4 * 1024 * 1024
# What CHECKPOINT_EVERY_ROWS taps take in the WAL: one and a half pages each, measured.
_WAL_READY_BYTES = CHECKPOINT_EVERY_ROWS * (PAGE_SIZE + 24) * 3 // 2
# Piece by piece: of a long write the kernel makes large folios, and counts a whole one for each commit in it.
_BLOCK = 4096

TABLES = {"chains", "rows", "spans", "records", "meta"}
CHECK_S = 0.7
"""quick_check may take so long at the start; 100,000 rows take 0.04 s here. What it misses then, reading will find."""
READ_AGAIN_S = 600.0
"""A read that fails is tried again by whoever wanted it; when one fails within so long again, the file is damaged."""
_FAILED_READS = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
# In meta while the file is in use: then there must be a WAL, for only a clean close lets it go.
_IN_USE = "in_use"

_NO_ENTRY = ("{path} cannot be opened", "check that the folder exists and belongs to the agent's user")
_HELD = ("another agent holds {path}", "stop it, or give this one its own [outbox] path")
_DAMAGED = (
    OutboxFault.DAMAGED,
    "{path} is damaged",
    "it is set aside and what can be read of it is delivered; look into the kernel log",
)
_TEXTS = {
    sqlite3.SQLITE_BUSY: (OutboxFault.HELD, *_HELD),
    sqlite3.SQLITE_LOCKED: (OutboxFault.HELD, *_HELD),
    sqlite3.SQLITE_FULL: (
        OutboxFault.FULL,
        "no space left for {path}",
        "free space there; taps are kept again as soon as there is room",
    ),
    sqlite3.SQLITE_IOERR: (
        OutboxFault.FAILING,
        "the storage under {path} fails",
        "look into the kernel log; replace a worn card",
    ),
    sqlite3.SQLITE_READONLY: (
        OutboxFault.READ_ONLY,
        "{path} cannot be written",
        "remount its file system read-write, check the owner",
    ),
    sqlite3.SQLITE_CANTOPEN: (OutboxFault.UNUSABLE, *_NO_ENTRY),
    sqlite3.SQLITE_PERM: (OutboxFault.UNUSABLE, *_NO_ENTRY),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    # Blocks that cannot be read stay so; the others can. The first time it may be a hiccup: see READ_AGAIN_S.
    sqlite3.SQLITE_IOERR_READ: _DAMAGED,
    sqlite3.SQLITE_IOERR_SHORT_READ: _DAMAGED,
    sqlite3.SQLITE_IOERR_CORRUPTFS: _DAMAGED,
    sqlite3.SQLITE_NOTADB: (
        OutboxFault.UNUSABLE,
        "{path} is not an outbox",
        "check [outbox] path; nothing was changed",
    ),
}

_ERRNOS = {
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
    errno.EIO: sqlite3.SQLITE_IOERR,
}


class NotADatabaseError(OutboxError):
    """SQLite knows no database in it: it is something else, or what is left of one."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file itself; the seam for tests that put another file system below."""
    # The other owner may be a command that reads for a moment; a second agent will not let go however long one waits.
    return sqlite3.connect(path, timeout=1.0, isolation_level=None)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that must be there. SQLite's own recovery may bring its WAL home, as any opening does.

    On a file system where that cannot be, the file alone is read, if it has no WAL; raises OutboxError if it has.
    """
    if os.access(path, os.W_OK) or not path.exists():
        return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", timeout=0, isolation_level=None, uri=True)
    wal = wal_path(path)
    if wal.exists() and wal.stat().st_size:
        raise OutboxError(
            f"{path} cannot be written, and its newest rows are still in {wal.name}",
            remedy="copy both files to one folder that can be written, and read the copy",
            fault=OutboxFault.READ_ONLY,
        )
    return sqlite3.connect(f"file:{quote(str(path))}?immutable=1", timeout=0, isolation_level=None, uri=True)


class Connection:
    """The only connection to one outbox file. ``on_create`` fills a new database, in the transaction that makes it.

    ``on_error`` is called after each failure, when whatever was in work has been rolled back. With ``to_read`` nothing
    is created, migrated or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_create: Callable[["Connection"], None],
        on_error: Callable[[], None],
        to_read: bool = False,
    ) -> None:
        self.path = path
        self._on_create = on_create
        self._on_error = on_error
        self._to_read = to_read
        self._identified = False
        self._damaged = False
        self._read_failed_at: float | None = None
        self._had_wal = _size(wal_path(path)) > 0
        if not to_read:
            _create_private(path)
        try:
            self._db = connect_to_read(path) if to_read else connect(path)
        except sqlite3.Error as error:
            raise self._told(error) from error
        self.execute = self._db.execute
        self.executemany = self._db.executemany
        prepare = self._prepare_to_read if to_read else self._prepare
        try:
            try:
                with self.errors():
                    prepare()
            except OutboxError:
                if not self._may_read_again:
                    raise
                with self.errors():
                    prepare()
        except BaseException:
            self._let_go()
            raise

    @property
    def _may_read_again(self) -> bool:
        return self._read_failed_at is not None and not self._damaged

    def _prepare(self) -> None:
        run = self._db.execute
        run(f"PRAGMA page_size = {PAGE_SIZE}")
        # One owner for good: no shared memory file, the WAL index is on the heap, a second opener is refused.
        run("PRAGMA locking_mode = EXCLUSIVE")
        version = self._check_identity()
        if version:
            self._check_soundness()
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
            sync_directory(self.path.parent)
        run("PRAGMA synchronous = FULL")
        _make_room(wal_path(self.path))
        if run("SELECT count(*) FROM meta WHERE key = ?", (_IN_USE,)).fetchone() == (0,):
            run("INSERT INTO meta (key, value) VALUES (?, 1)", (_IN_USE,))
            run("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._identified = True

    def _prepare_to_read(self) -> None:
        run = self._db.execute
        run("PRAGMA query_only = ON")
        run("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory file is left behind; the agent is kept out meanwhile
        version, newest = self._check_identity(), max(schema_scripts())
        if version < newest:
            raise OutboxError(
                f"{self.path} has schema {version}, this program reads {newest}",
                remedy="start the agent once: it makes an outbox, or brings an older one up to date",
                fault=OutboxFault.UNUSABLE,
            )

    def _check_identity(self) -> int:
        """Schema version, 0 for an empty file; raises OutboxError before anything is changed."""
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != APPLICATION_ID and (application or version or tables):
            raise OutboxError(
                f"{self.path} is not an outbox",
                remedy="check [outbox] path; nothing was changed",
                fault=OutboxFault.UNUSABLE,
            )
        newest = max(schema_scripts())
        if version > newest:
            raise OutboxError(
                f"{self.path} has schema {version}, this agent knows {newest}",
                remedy="install the newer agent again; a downgrade would lose what it cannot read",
                fault=OutboxFault.UNUSABLE,
            )
        self._identified = bool(version)
        return int(version)

    def _check_soundness(self) -> None:
        """What SQLite itself would not notice, then its own quick_check; raises OutboxError(DAMAGED)."""
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if not tables >= TABLES:
            raise self._unsound("a table is missing")
        if self._db.execute("SELECT count(*) FROM chains WHERE state = 0").fetchone() == (0,):
            raise self._unsound("it has no chain")
        if self._had_wal:
            with wal_path(self.path).open("rb") as log:  # the WAL bears no locks: it may be opened beside SQLite
                if wal.damaged_inside(log, PAGE_SIZE):
                    raise self._unsound("the middle of its WAL is damaged")
        elif self._db.execute("SELECT count(*) FROM meta WHERE key = ?", (_IN_USE,)).fetchone() != (0,):
            raise self._unsound("its WAL is lost")
        if (found := self._quick_check()) != "ok":
            raise self._unsound(found)

    def check(self) -> None:
        """The look that an agent takes at its start, bounded in time; raises OutboxError(DAMAGED)."""
        with self.errors():
            self._check_soundness()

    def _quick_check(self) -> str:
        """Return "ok" or what is wrong; "ok", too, when it takes too long."""
        # A progress handler would not do: SQLite calls none while it goes through the pages.
        late: list[bool] = []

        def stop() -> None:
            late.append(True)
            self._db.interrupt()

        limit = threading.Timer(CHECK_S, stop)
        limit.start()
        try:
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            found = ""
        finally:
            limit.cancel()
            limit.join()  # late, it would interrupt something else
        return "ok" if late else str(found)

    def _unsound(self, why: str) -> OutboxError:
        self._damaged = True
        fault, text, remedy = _DAMAGED
        return OutboxError(f"{text.format(path=self.path)}: {why}", remedy=remedy, fault=fault)

    def _migrate(self, number: int, script: str) -> None:
        """Run one schema file; it and the new version number take effect together or not at all."""
        try:
            self._db.executescript(f"BEGIN IMMEDIATE;\n{script}")
            if number == 1:
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._on_create(self)
            self._db.execute(f"PRAGMA user_version = {number}")
            self._db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def checkpoint(self) -> None:
        """Copy the WAL into the database, so that its file is used from the start again."""
        with self.errors():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def bytes_on_disk(self) -> int:
        """Size of the database file and its WAL."""
        with self.errors():
            return sum(file.stat().st_size for file in (self.path, wal_path(self.path)) if file.exists())

    def close(self) -> None:
        """Copy the WAL back and close; a damaged file is set aside first. Raises OutboxError."""
        if not self._damaged and (self._had_wal or not self._to_read):
            self._say_closed()
        self._let_go()

    def _let_go(self) -> None:
        try:
            if self._damaged and not self._to_read:
                set_aside(self.path)
        finally:
            with self.errors():
                self._db.close()

    def _say_closed(self) -> None:
        """From now on the WAL may be gone."""
        with suppress(sqlite3.Error):  # then the next start takes its WAL for lost: nothing else is
            self._db.execute("PRAGMA query_only = OFF")
            try:
                self._db.execute("DELETE FROM meta WHERE key = ?", (_IN_USE,))
            except sqlite3.OperationalError:  # no space: once the WAL is copied back, its file is written anew
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._db.execute("DELETE FROM meta WHERE key = ?", (_IN_USE,))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what SQLite or the medium raises into an OutboxError; whatever is raised, no transaction stays open."""
        try:
            yield
        except BaseException as error:
            self._roll_back()
            self._on_error()
            if isinstance(error, sqlite3.Error):
                raise self._told(error) from error
            if isinstance(error, OSError):
                raise OutboxError(f"{self.path}: {error.strerror}", remedy="look into the kernel log") from error
            if isinstance(error, (OverflowError, UnicodeError)):
                text = f"{self.path}: a value cannot be kept: {error}"
                raise OutboxError(text, fault=OutboxFault.REFUSED) from error
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # the error that led here is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _told(self, error: sqlite3.Error) -> OutboxError:
        code = getattr(error, "sqlite_errorcode", 0)
        unknown = (OutboxFault.FAILING, "{path}: {error}", "")
        not_a_database = code & 0xFF == sqlite3.SQLITE_NOTADB
        if not_a_database and self._identified:
            fault, text, remedy = _DAMAGED
        else:
            fault, text, remedy = _TEXTS.get(code) or _TEXTS.get(code & 0xFF, unknown)
        if code in _FAILED_READS:
            now, before = time.monotonic(), self._read_failed_at
            self._read_failed_at = now
            if before is None or now - before > READ_AGAIN_S:
                fault, text, remedy = _TEXTS[sqlite3.SQLITE_IOERR]
        if fault in {OutboxFault.FAILING, OutboxFault.UNUSABLE} and _mounted_read_only(self.path.parent):
            fault, text, remedy = _TEXTS[sqlite3.SQLITE_READONLY]  # SQLite itself says that a lock failed
        self._damaged |= fault is OutboxFault.DAMAGED
        kind = NotADatabaseError if not_a_database and not self._identified else OutboxError
        return kind(text.format(path=self.path, error=error), remedy=remedy, fault=fault)


def wal_path(path: Path) -> Path:
    """Where SQLite keeps the write-ahead log of this database."""
    return path.with_name(path.name + "-wal")


def schema_scripts() -> dict[int, str]:
    """SQL of each schema version, from ``schema/NNNN_*.sql``."""
    folder = resources.files(__package__).joinpath("schema")
    files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {int(file.name[:4]): file.read_text(encoding="utf-8") for file in files}


def _create_private(path: Path) -> None:
    """Make the file with mode 0600 before SQLite does; it gives the WAL the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass  # never open it here: closing any descriptor of it would drop SQLite's locks in this process
    except OSError as error:
        fault, _, remedy = _TEXTS[_ERRNOS.get(error.errno or 0, sqlite3.SQLITE_CANTOPEN)]
        raise OutboxError(f"{path} cannot be created: {error.strerror}", remedy=remedy, fault=fault) from error


def _mounted_read_only(folder: Path) -> bool:
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

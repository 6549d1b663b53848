"""SQLite on a file system that a test watches: an APSW VFS over real files, and a face of sqlite3.Connection over it.

``below(monkeypatch, medium)`` puts it under every outbox that is opened from then on, at the product's own seam.
"""

import errno
import itertools
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge_agent.outbox import connection

_names = itertools.count()
_AS_IT_IS: Mapping[str, str] = {}
# unixOpen of SQLite: the first sync of a file of these kinds that it created syncs the directory, too.
_SYNC_THE_DIRECTORY = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL | apsw.SQLITE_OPEN_WAL
_DATABASE_ERRORS = (apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB)


class Medium:
    """Hears of every access before it is made; an OSError raised here is what SQLite gets instead."""

    def opened(self, path: Path, *, new: bool) -> None:
        """A file is about to be opened."""

    def read(self, path: Path, offset: int, amount: int) -> None:
        """Bytes are about to be read."""

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """Bytes are about to be written."""

    def truncate(self, path: Path, size: int) -> None:
        """A file is about to be cut to ``size`` bytes."""

    def sync(self, path: Path) -> None:
        """All that was written to a file must be durable when this returns."""

    def unlink(self, path: Path) -> None:
        """A file is about to be deleted."""

    def sync_directory(self) -> None:
        """All names that came and went must be durable when this returns."""


def _told(error: OSError, code: int) -> apsw.Error:
    """The error as SQLite's own layer for the operating system reports it."""
    if error.errno == errno.ENOSPC:
        full = apsw.FullError(str(error))
        full.result = full.extendedresult = apsw.SQLITE_FULL
        return full
    told = apsw.IOError(str(error))
    told.result, told.extendedresult = apsw.SQLITE_IOERR, code
    return told


class _Vfs(apsw.VFS):
    """Real files by SQLite's own layer; the medium hears of each change first."""

    def __init__(self, name: str, medium: Medium) -> None:
        self.medium = medium
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802 - the name is APSW's
        return _File(self.medium, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - the name is APSW's
        try:
            self.medium.unlink(Path(filename))
            super().xDelete(filename, syncdir)
            if syncdir:
                self.medium.sync_directory()
        except OSError as error:
            raise _told(error, apsw.SQLITE_IOERR_DELETE) from error


class _File(apsw.VFSFile):
    def __init__(self, medium: Medium, name: Any, flags: list[int]) -> None:
        self._medium = medium
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = Path(filename) if filename else None  # None: a temporary file of its own
        self._names_to_sync = False
        if self._path is not None:
            new = not self._path.exists()
            self._names_to_sync = new and bool(flags[0] & _SYNC_THE_DIRECTORY)
            medium.opened(self._path, new=new)
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - the name is APSW's
        try:
            if self._path is not None:
                self._medium.read(self._path, offset, amount)
        except OSError as error:
            raise _told(error, apsw.SQLITE_IOERR_READ) from error
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - the name is APSW's
        try:
            if self._path is not None:
                self._medium.write(self._path, offset, bytes(data))
        except OSError as error:
            raise _told(error, apsw.SQLITE_IOERR_WRITE) from error
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - the name is APSW's
        try:
            if self._path is not None:
                self._medium.truncate(self._path, newsize)
        except OSError as error:
            raise _told(error, apsw.SQLITE_IOERR_TRUNCATE) from error
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - the name is APSW's
        # No real sync: the files below belong to the test, and the medium alone says what survives.
        try:
            if self._path is not None:
                self._medium.sync(self._path)
                if self._names_to_sync:
                    self._names_to_sync = False
                    self._medium.sync_directory()
        except OSError as error:
            raise _told(error, apsw.SQLITE_IOERR_FSYNC) from error


def _as_sqlite3(error: apsw.Error) -> sqlite3.Error:
    code = int(getattr(error, "extendedresult", 0) or getattr(error, "result", 0))
    kind = sqlite3.DatabaseError if code & 0xFF in _DATABASE_ERRORS else sqlite3.OperationalError
    if code & 0xFF == apsw.SQLITE_CONSTRAINT:
        kind = sqlite3.IntegrityError
    told = kind(str(error))
    told.sqlite_errorcode = code
    return told


class _Cursor:
    """What the product reads from a cursor."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def fetchone(self) -> Any:
        try:
            return self._cursor.fetchone()
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def fetchall(self) -> list[Any]:
        try:
            return list(self._cursor.fetchall())
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row


class ApswConnection:
    """An APSW connection with the face and the errors of sqlite3's, as far as the outbox uses them."""

    def __init__(self, path: Path, vfs: _Vfs, name: str, weaker: Mapping[str, str]) -> None:
        self._vfs = vfs  # it must live as long as its files
        self._weaker = weaker
        try:
            self._db = apsw.Connection(str(path), vfs=name)
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._db.in_transaction)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> _Cursor:
        """Run one statement."""
        try:
            return _Cursor(self._db.execute(self._weaker.get(sql, sql), tuple(parameters)))
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> _Cursor:
        """Run one statement for each row."""
        try:
            return _Cursor(self._db.executemany(sql, [tuple(row) for row in rows]))
        except apsw.Error as error:
            raise _as_sqlite3(error) from error

    def executescript(self, script: str) -> None:
        """Run all statements of a script."""
        self.execute(script).fetchall()

    def set_progress_handler(self, handler: Any, steps: int) -> None:
        """Call ``handler`` every so many steps; a true answer interrupts the statement."""
        self._db.set_progress_handler(handler, steps)

    def close(self) -> None:
        """Close. As of sqlite3_close nobody hears of what the medium refuses meanwhile; APSW would tell it."""
        with suppress(apsw.IOError, apsw.FullError):
            self._db.close()


def below(patch: pytest.MonkeyPatch, medium: Medium, weaker: Mapping[str, str] = _AS_IT_IS) -> None:
    """From now on outboxes are opened on this medium. ``weaker`` replaces statements: to see a proof fail."""
    name = f"watched-{next(_names)}"
    vfs = _Vfs(name, medium)
    make_room, sync_directory = connection._make_room, connection.sync_directory

    def roomy(wal: Path) -> None:
        """The product lengthens the WAL past SQLite, by the operating system; the medium has to hear of that, too."""
        before = wal.stat().st_size if wal.exists() else 0
        make_room(wal)
        if wal.exists() and wal.stat().st_size > before:
            try:
                medium.write(wal, before, bytes(wal.stat().st_size - before))
                medium.sync(wal)
            except OSError:
                return  # as the product: this is only about speed

    unraisable = sys.unraisablehook

    def unheard(told: Any) -> None:
        """APSW tells of errors that SQLite has no way to report, in the end of a statement; sqlite3 is silent."""
        if not isinstance(told.exc_value, (apsw.IOError, apsw.FullError)):
            unraisable(told)

    def synced(folder: Path) -> None:
        sync_directory(folder)
        medium.sync_directory()

    patch.setattr(connection, "connect", lambda path: ApswConnection(path, vfs, name, weaker))
    patch.setattr(sys, "unraisablehook", unheard)
    patch.setattr(connection, "_make_room", roomy)
    patch.setattr(connection, "sync_directory", synced)

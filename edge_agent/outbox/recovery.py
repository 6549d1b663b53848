"""Opens the outbox whatever state its file is in; a damaged one is set aside and a new one begun beside it.

A file that was never ours, one of a newer agent and one that somebody else holds are never touched.
"""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import carve
from edge_agent.outbox.alone import alone
from edge_agent.outbox.base import Codec
from edge_agent.outbox.connection import APPLICATION_ID, NotADatabaseError, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.quarantine import broken_files, set_aside
from edge_agent.outbox.raw_file import pieces

CHAIN_NUMBER = 256
"""The chain of a database that replaces a damaged one: what is salvaged goes below it, appends stay at the end."""
_TRIES = 3
_APPLICATION_AT = slice(68, 72)


@dataclass(frozen=True, slots=True)
class Opened:
    """A sound database, and where the damaged one is that it replaces."""

    database: Database
    quarantined: Path | None = None


def open_outbox(path: Path, codec: Codec, *, damaged: bool = False) -> Opened:
    """Open or create the database; ``damaged``: the file proved unsound at run time. Raises OutboxError."""
    before = len(broken_files(path))
    if _lost_its_database(path):
        with alone(path):
            set_aside(path)
    for tries_left in reversed(range(_TRIES)):
        try:
            database = _opened(path, codec, replacing=damaged or len(broken_files(path)) > before)
        except NotADatabaseError:
            if not tries_left or not _was_ours(path, codec):
                raise
            with alone(path):
                set_aside(path)
        except OutboxError as error:  # whoever has it open sets it aside in letting it go
            if not tries_left or error.fault is not OutboxFault.DAMAGED:
                raise
        else:
            found = broken_files(path)
            return Opened(database, found[-1] if len(found) > before else None)
    raise AssertionError("the last try returns or raises")


def _opened(path: Path, codec: Codec, *, replacing: bool) -> Database:
    database = Database(path, codec)
    try:
        if replacing:
            _number_high(database)
        database.chains()
        database.operated_s()
        database.head()
    except BaseException:
        database.close()
        raise
    return database


def _number_high(database: Database) -> None:
    """Leave room below the new chain: rows put in behind every tap would split the page that taps are written to."""
    with database.connection.errors():
        database.connection.execute(
            "UPDATE chains SET number = ? WHERE number = 1 AND next_seq = 1 AND NOT EXISTS (SELECT 1 FROM rows)",
            (CHAIN_NUMBER,),
        )


def _lost_its_database(path: Path) -> bool:
    """A WAL whose database is gone or empty: SQLite would delete it unread."""
    wal = wal_path(path)
    lost = not path.exists() or path.stat().st_size == 0
    return lost and wal.is_file() and wal.stat().st_size > 0


def _was_ours(path: Path, codec: Codec) -> bool:
    """Whether a file that is no database any more was an outbox: our mark, our rows, or nothing but zeros."""
    zeros = True
    for file in (path, wal_path(path)):
        for number, piece in enumerate(pieces(file)):
            if number == 0 and file == path and piece.data[_APPLICATION_AT] == APPLICATION_ID.to_bytes(4, "big"):
                return True
            if any(codec.place(row.token) for row in carve.rows(piece.data)) or any(carve.chains(piece.data)):
                return True
            zeros = zeros and not any(piece.data)
    return zeros

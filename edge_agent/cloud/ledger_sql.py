"""What the ledger's SQL needs of a connection, so that one module alone imports the database library."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class Cursor(Protocol):
    """The result of one statement."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""

    @property
    def lastrowid(self) -> int | None:
        """Number of the row that was inserted last."""

    def fetchone(self) -> Any:
        """Return the next row as a tuple, or None."""

    def fetchall(self) -> list[Any]:
        """Return all further rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection, used by one thread within a transaction of its owner."""

    def execute(self, sql: str, parameters: tuple[object, ...] = ..., /) -> Cursor:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[tuple[object, ...]], /) -> Cursor:
        """Run one statement for each tuple."""

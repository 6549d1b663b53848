"""Hands rows to connections: one that was just appended, or the oldest of the backlog, read from disk.

A lease names rows that are in memory and on disk at the same moment; a connection that has ended gets none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from edge_agent.models import StoredTap
from edge_agent.outbox.ahead import ReadAhead
from edge_agent.outbox.base import Lease
from edge_agent.outbox.database import Call
from edge_agent.outbox.rows import Rows

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """One wish for the backlog that is waiting for the disk; its connection may end meanwhile."""

    session: int


class Leasing:
    """Leases of one outbox; ``rows`` are those of its file of the moment, ``touch`` hears of rows that are parked."""

    def __init__(self, *, rows: Callable[[], Rows], call: Call, touch: Callable[[int], None]) -> None:
        self._rows = rows
        self._call = call
        self._touch = touch
        self._ahead = ReadAhead(self._read)
        self._waiting: set[_Waiting] = set()

    def live(self, session: int, stored: StoredTap) -> Lease | None:
        """Lease a row without a read; None if it is no longer pending."""
        return self._lease(session, stored.chain, stored.seq, (stored.token,))

    async def backlog(self, session: int, *, max_rows: int, max_bytes: int) -> Lease | None:
        """Lease the oldest contiguous pending rows; None when nothing is pending, or the connection ended meanwhile.

        A single row is leased even if it is larger than ``max_bytes``. Raises OutboxError if the disk cannot be read.
        """
        if max_rows < 1:
            raise ValueError("max_rows must be positive")
        waiting = _Waiting(session)
        self._waiting.add(waiting)
        try:
            while waiting in self._waiting and (oldest := self._rows().oldest_pending()) is not None:
                chain, run = oldest
                tokens = await self._ahead.tokens(chain, run.first, run.last, max_rows=max_rows, max_bytes=max_bytes)
                if waiting not in self._waiting or self._rows().oldest_pending() != oldest:
                    continue  # while it was being read somebody else took it, or it was stored meanwhile
                if tokens:
                    return self._lease(session, chain, run.first, tokens)
                log.error("outbox_row_missing", chain=chain.hex(), seq=run.first)
                self._rows().park_missing(chain, run.first)
                self._touch(1)
            self._ahead.forget()
        finally:
            self._waiting.discard(waiting)
        return None

    def release(self, session: int) -> int:
        """The connection ended: its leased rows are pending again. Returns how many."""
        self._waiting = {waiting for waiting in self._waiting if waiting.session != session}
        return self._rows().release(session)

    def forget(self) -> None:
        """Give the memory of what was read ahead back."""
        self._ahead.forget()

    def _lease(self, session: int, chain: bytes, first: int, tokens: tuple[bytes, ...]) -> Lease | None:
        last = first + len(tokens) - 1
        lease = self._rows().lease(session, chain, first, last)
        return None if lease is None else Lease(lease, session, chain, first, last, tokens)

    async def _read(self, chain: bytes, first: int, last: int) -> dict[int, bytes]:
        number = self._rows().number(chain)
        found: dict[int, bytes] = await self._call(lambda db: db.read(number, first, last))
        return found

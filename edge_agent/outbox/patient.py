"""An outbox for an agent that starts although its disk is full, read-only or failing: it is opened once that is over.

Until then every tap is refused with the reason and there is nothing to deliver; readers, screens and uplink go on. What
only a person can heal (a foreign file, another agent) is no matter of patience: it is raised. It keeps nothing itself.
"""

import asyncio
from collections.abc import Callable

import structlog

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import FIRST_PREV, ClockReading, StoredTap, Tap
from edge_agent.outbox.base import (
    NO_CHAIN,
    GapRecord,
    Head,
    Lease,
    Notice,
    OutboxStats,
    Resent,
    RowRange,
    StoredRow,
)
from edge_agent.outbox.store import OutboxStore
from edge_agent.outbox.troubles import Troubles

log = structlog.get_logger(__name__)

MAY_PASS = frozenset({OutboxFault.FULL, OutboxFault.READ_ONLY, OutboxFault.FAILING, OutboxFault.BUSY})
FIRST_TRY_S = 3.0
"""A storage that takes longer hangs: the readers are not kept waiting for it."""
TRY_EVERY_S = 5.0

NOT_OPEN = Head(NO_CHAIN, 0, FIRST_PREV)
"""The head of an outbox that is not open."""


class PatientOutbox:
    """Implements the port ``Outbox`` on a store; ``open`` raises only what no waiting heals."""

    def __init__(
        self,
        store: OutboxStore,
        *,
        on_notice: Callable[[Notice], None],
        first_try_s: float | None = None,
        try_every_s: float | None = None,
    ) -> None:
        self.store = store
        self._first_try_s = FIRST_TRY_S if first_try_s is None else first_try_s
        self._try_every_s = TRY_EVERY_S if try_every_s is None else try_every_s
        self._troubles = Troubles(on_notice)
        self._why = OutboxError("the outbox is not open", fault=OutboxFault.CLOSED)
        self._opening: asyncio.Task[None] | None = None
        self.is_open = False

    async def open(self) -> OutboxStats:
        """Open the store, or begin to wait for it; raises OutboxError for what cannot pass."""
        first = asyncio.ensure_future(self.store.open())
        try:
            await asyncio.wait({first}, timeout=self._first_try_s)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if not first.done():
            self._is_shut(OutboxError("the storage of the outbox does not answer", fault=OutboxFault.BUSY))
        elif (error := first.exception()) is None:
            self.is_open = True
            return first.result()
        elif not isinstance(error, OutboxError) or error.fault not in MAY_PASS:
            raise error
        else:
            self._is_shut(error)
        self._opening = asyncio.ensure_future(self._open_at_last(first))
        return await self.stats()

    async def _open_at_last(self, attempt: "asyncio.Future[OutboxStats]") -> None:
        while True:
            try:
                await attempt
            except OutboxError as error:
                if error.fault not in MAY_PASS:
                    raise
                self._is_shut(error)
            else:
                self.is_open = True
                self._troubles.worked("open")
                self._troubles.tap_kept()
                return
            await asyncio.sleep(self._try_every_s)
            attempt = asyncio.ensure_future(self.store.open())

    def _is_shut(self, error: OutboxError) -> None:
        self._why = error
        self._troubles.failed("open", error)
        self._troubles.down(error)

    async def opened(self) -> None:
        """Wait until it is open; raises OutboxError if it turned out that it never will be."""
        if self._opening is not None:
            await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Flush and close; what is still being opened is let go."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait({self._opening})
        self._troubles.close()
        await self.store.close()

    def append(self, tap: Tap) -> "asyncio.Future[StoredTap]":
        """See the port."""
        if self.is_open:
            return self.store.append(tap)
        refused: asyncio.Future[StoredTap] = asyncio.get_running_loop().create_future()
        error = OutboxError(self._why.text, remedy=self._why.remedy, fault=self._why.fault)
        self._troubles.tap_refused(error)
        refused.set_exception(error)
        refused.exception()  # whoever does not wait for it has heard of it in the log
        return refused

    async def stats(self) -> OutboxStats:
        """See the port; while it is not open nobody knows what waits in it."""
        if self.is_open:
            return await self.store.stats()
        if not self._troubles.fault:
            raise self._why
        return OutboxStats(
            chain=NO_CHAIN,
            next_seq=1,
            pending=0,
            leased=0,
            sent=0,
            stored=0,
            parked=0,
            bytes_on_disk=0,
            fault=self._troubles.fault,
        )

    # Of an outbox that is not open there is nothing to say, to send or to confirm.

    def lease_live(self, session: int, stored: StoredTap) -> Lease | None:
        """See the port."""
        return self.store.lease_live(session, stored) if self.is_open else None

    async def lease_backlog(self, session: int, *, max_rows: int, max_bytes: int) -> Lease | None:
        """See the port."""
        if not self.is_open:
            return None
        return await self.store.lease_backlog(session, max_rows=max_rows, max_bytes=max_bytes)

    def confirm_sent(self, lease: Lease) -> None:
        """See the port."""
        self.store.confirm_sent(lease)  # without an open store there is no lease

    def park(self, lease: Lease, reason: str) -> None:
        """See the port."""
        self.store.park(lease, reason)

    def release(self, session: int) -> int:
        """See the port."""
        return self.store.release(session) if self.is_open else 0

    def confirm_stored(self, chain: bytes, through: int, missing: list[tuple[int, int]]) -> int:
        """See the port."""
        return self.store.confirm_stored(chain, through, missing) if self.is_open else 0

    def requeue_unconfirmed(self, older_than_s: float) -> int:
        """See the port."""
        return self.store.requeue_unconfirmed(older_than_s) if self.is_open else 0

    def head(self) -> Head:
        """See the port."""
        return self.store.head() if self.is_open else NOT_OPEN

    def gaps_to_send(self) -> list[GapRecord]:
        """See the port."""
        return self.store.gaps_to_send() if self.is_open else []

    def confirm_gap_sent(self, number: int) -> None:
        """See the port."""
        self.store.confirm_gap_sent(number)

    # What somebody asks for is refused with the reason.

    def _must_be_open(self) -> OutboxStore:
        if not self.is_open:
            raise OutboxError(self._why.text, remedy=self._why.remedy, fault=self._why.fault)
        return self.store

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """See the port."""
        return self._must_be_open().resend(chain, first, last)

    def ranges(self) -> list[RowRange]:
        """See the port."""
        return self._must_be_open().ranges()

    async def page(self, chain: bytes | None, after: int, limit: int) -> list[StoredRow]:
        """See the port."""
        return await self._must_be_open().page(chain, after, limit)

    async def gap_records(self) -> list[GapRecord]:
        """See the port."""
        return await self._must_be_open().gap_records()

    async def tail(self, limit: int) -> list[StoredTap]:
        """See the port."""
        return await self._must_be_open().tail(limit)

    async def flush(self) -> None:
        """See the port."""
        await self._must_be_open().flush()

    async def remember_wall(self, good: ClockReading, *, at_once: bool) -> None:
        """Keep the last good wall time, now or with the next confirmations; raises OutboxError."""
        await self._must_be_open().remember_wall(good, at_once=at_once)

    async def last_wall(self) -> ClockReading | None:
        """The last good wall time of an earlier run; raises OutboxError."""
        return await self._must_be_open().last_wall()

    async def heal(self) -> bool:
        """Open the database again if its thread has ended; False if it runs, hangs, or was never open."""
        return await self.store.heal()

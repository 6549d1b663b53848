"""The outbox that the agent uses: rows in memory on the event loop, tokens on disk behind the writer thread.

An appended tap is durable when ``append`` returns. Confirmations change memory at once and reach the disk in batches;
what a crash forgets of them is sent again, and the receiver knows it already. Nothing is kept in memory only.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import FIRST_PREV, ChainPosition, ClockReading, StoredTap, Tap
from edge_agent.outbox.base import (
    Bounds,
    Codec,
    GapRecord,
    Head,
    Lease,
    Notice,
    OutboxStats,
    Resent,
    RowRange,
    StoredRow,
)
from edge_agent.outbox.database import Database, Seal
from edge_agent.outbox.gaps import GapBook
from edge_agent.outbox.leasing import Leasing
from edge_agent.outbox.listing import row_ranges, stored_rows
from edge_agent.outbox.recovery import open_outbox
from edge_agent.outbox.rows import ChainLoad, Rows
from edge_agent.outbox.runs import State
from edge_agent.outbox.salvage import Salvage
from edge_agent.outbox.troubles import Troubles
from edge_agent.outbox.upkeep import Upkeep, UpkeepSettings
from edge_agent.outbox.writer import Writer

log = structlog.get_logger(__name__)

T = TypeVar("T")

REPLACED_TIMES, REPLACED_S = 5, 600.0
"""So often a damaged file is replaced within so long; then it waits."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What may be tuned; the defaults suit a terminal with an SD card."""

    keep_sent_s: float | None = None
    """None: a row is kept until the receiver has it. A number: until so long after its PUBACK (confirm = "broker")."""
    keep_newest: int = 64
    """So many newest rows stay even when stored: a phone may come back for its token after a restart."""
    flush_s: float = 300.0
    """Confirmations wait at most so long for the disk; each flush costs about as many written bytes as a tap."""
    first_flush_s: float = 10.0
    """... but the first ones after an opening at most so long."""
    flush_rows: int = 4096
    """... or until so many rows are confirmed."""
    max_waiting: int = 1000
    """Taps that may wait for the storage at the same time."""
    idle_s: float = 1.0
    """A pause as long as this is used to copy the WAL back."""
    close_s: float = 2.0
    """How long closing may take."""
    bounds: Bounds = field(default_factory=Bounds)
    """How much it may hold."""
    probe_s: float = 5.0
    """While taps cannot be kept: how often it is tried whether they can be again."""


def _unheard(notice: Notice) -> None:
    """For an outbox without an owner who could tell anybody; the log has it already."""


class OutboxStore:
    """Implements the port ``Outbox`` on one SQLite file."""

    def __init__(
        self,
        path: Path,
        codec: Codec,
        *,
        clock: Clock,
        settings: StoreSettings = StoreSettings(),
        on_notice: Callable[[Notice], None] = _unheard,
    ) -> None:
        self._path = path
        self._codec = codec
        self._clock = clock
        self._settings = settings
        self._rows: Rows | None = None
        self._gaps = GapBook(keep_sent_s=settings.keep_sent_s)
        self._end: Head | StoredTap = Head(b"", 0, FIRST_PREV)
        # Taps that a newly opened file had before its rows were known here; None: they are known.
        self._early: list[StoredTap] | None = []
        self._writer = Writer(
            self._open_database,
            now=clock.monotonic,
            on_stored=self._stored,
            max_waiting=settings.max_waiting,
            idle_s=settings.idle_s,
        )
        self._damaged = False
        self._replacing: asyncio.Task[None] | None = None
        self._replaced: list[float] = []
        self._opening = asyncio.Lock()  # the replacement, the probe and a watch may all want it open again
        self._salvaging: asyncio.Task[None] | None = None
        self._operated_before = 0.0
        self._opened_at = 0.0
        self._closing: asyncio.Task[None] | None = None
        self._troubles = Troubles(on_notice)
        self._upkeep = Upkeep(
            UpkeepSettings(
                settings.bounds, settings.flush_s, settings.first_flush_s, settings.flush_rows, settings.probe_s
            ),
            call=self._call,
            now=self._operated,
            troubles=self._troubles,
            recover=self._recover,
        )
        self._leasing = Leasing(rows=lambda: self._open_rows, call=self._call, touch=self._upkeep.touch)
        self._salvage = Salvage(
            path,
            codec,
            call=self._call,
            adopt=self._adopt,
            notice=on_notice,
            alone=self._upkeep.writing,
            bounds=settings.bounds,
            last_number=lambda: self._gaps.last_number,
        )
        self.ignored_acks = 0
        """Acks that could not be true: unknown chain, rows never issued, malformed ranges."""

    async def open(self) -> OutboxStats:
        """Open or create the database; raises OutboxError. Takes no longer when many rows are waiting."""
        async with self._opening:
            await self._load()
        stats = await self.stats()
        log.info("outbox_opened", chain=stats.chain.hex(), next_seq=stats.next_seq, pending=stats.pending)
        if stats.sent or stats.stored:
            self._upkeep.touch(0)
        return stats

    async def _load(self) -> None:
        replacing = self._damaged
        if replacing:
            self._see_that_it_helps()
        self._early = []
        await self._writer.start()
        if replacing:
            self._replaced.append(self._clock.monotonic())
        try:
            chains, self._operated_before, self._end, evicted = await self._writer.call(self._read_all)
        except BaseException:
            await self._writer.stop(self._settings.close_s)
            raise
        self._opened_at = self._clock.monotonic()
        settings = self._settings
        self._rows = Rows(
            chains,
            keep_sent_s=settings.keep_sent_s,
            keep_newest=settings.keep_newest,
            last_lease=0 if self._rows is None else self._rows.last_lease,
        )
        self._gaps = GapBook(keep_sent_s=settings.keep_sent_s, last_number=self._gaps.last_number)
        for chain in chains:
            self._gaps.load(chain.id, chain.records)
        for stored in self._early:
            if stored.chain == self._rows.current and stored.seq >= self._rows.next_seq:
                self._rows.append(stored.seq)
                self._end = stored
        self._early = None
        if self._rows.vanished:
            log.error("outbox_rows_missing", rows=self._rows.vanished, path=str(self._path))
        self._upkeep.begin(self._rows, self._gaps, evicted=evicted)
        self._salvaging = asyncio.ensure_future(self._salvage.run())

    def _read_all(self, database: Database) -> tuple[list[ChainLoad], float, Head, int]:
        """On the writer thread."""
        database.measure(self._settings.bounds)  # the first tap must keep to the bounds, too
        return database.chains(), database.operated_s(), database.head(), database.evicted()

    def _open_database(self) -> Database:
        """On the writer thread."""
        database = open_outbox(self._path, self._codec, damaged=self._damaged).database
        self._damaged = False
        return database

    async def _replace(self) -> None:
        """The file turned out damaged while open: set it aside and go on with a new one."""
        async with self._opening:
            self._damaged = True
            try:
                self._stop_salvage()
                await self._writer.stop(self._settings.close_s)
                self._leasing.forget()
                if self._closing is not None:
                    return
                await self._load()
            except OutboxError as error:
                self._troubles.failed("replace", error)
                self._troubles.down(error)
                self._upkeep.probe_later()
            else:
                self._troubles.worked("replace")
                self._troubles.tap_kept()

    async def _recover(self) -> None:
        """Do what may end a fault: open the database again, give up damaged files that take the room of taps."""
        await self._revive()
        if self._troubles.fault == OutboxFault.FULL and not self._salvage.busy:
            await self._salvage.prune()

    async def _revive(self) -> None:
        async with self._opening:
            if self._writer.running or self._closing is not None:
                return
            await self._load()

    def _see_that_it_helps(self) -> None:
        """A medium that damages every file must not be filled with them; raises OutboxError."""
        now = self._clock.monotonic()
        self._replaced = [at for at in self._replaced if now - at < REPLACED_S]
        if len(self._replaced) >= REPLACED_TIMES:
            raise OutboxError(
                f"{self._path} was damaged {REPLACED_TIMES} times in {REPLACED_S / 60:g} minutes",
                remedy="replace the medium; it is tried again later",
                fault=OutboxFault.DAMAGED,
            )

    async def _call(self, run: Callable[[Database], T]) -> T:
        """Work on the database; what shows that the file is damaged has it replaced."""
        if self._early is not None and self._rows is not None:  # what was wanted of the old file means nothing here
            raise OutboxError("the outbox is being replaced", fault=OutboxFault.CLOSED)
        try:
            return await self._writer.call(run)
        except OutboxError as error:
            self._judge(error)
            raise

    def _judge(self, error: OutboxError) -> None:
        if error.fault is not OutboxFault.DAMAGED or self._closing is not None:  # closing sets it aside, too
            return
        if self._replacing is None or self._replacing.done():
            self._replacing = asyncio.ensure_future(self._replace())

    def _adopt(self, chain: ChainLoad) -> None:
        self._open_rows.adopt(chain)
        self._gaps.load(chain.id, chain.records)

    def _stop_salvage(self) -> None:
        if self._salvaging is not None:
            self._salvaging.cancel()

    def append(self, tap: Tap) -> asyncio.Future[StoredTap]:
        """See the port. Not a coroutine: the writer has the tap before the caller's next turn of the loop."""
        try:
            stored = self._writer.append(self._seal(tap))
        except OutboxError as error:
            stored = asyncio.get_running_loop().create_future()
            stored.set_exception(error)
        stored.add_done_callback(self._appended)
        return stored

    def lease_live(self, session: int, stored: StoredTap) -> Lease | None:
        """Lease a row that was just appended, without a read; None if it is no longer pending."""
        return self._leasing.live(session, stored)

    async def lease_backlog(self, session: int, *, max_rows: int, max_bytes: int) -> Lease | None:
        """Lease the oldest contiguous pending rows; None when nothing is pending, or the connection ended meanwhile.

        A single row is leased even if it is larger than ``max_bytes``. Raises OutboxError if the disk cannot be read.
        """
        return await self._leasing.backlog(session, max_rows=max_rows, max_bytes=max_bytes)

    def confirm_sent(self, lease: Lease) -> None:
        """The broker acknowledged (PUBACK) these rows in this session; a lease that has ended confirms nothing."""
        self._upkeep.touch(self._open_rows.confirm_sent(lease.id, self._operated()))

    def park(self, lease: Lease, reason: str) -> None:
        """Take rows that the broker finally refuses out of the way of the others."""
        rows = self._open_rows.park(lease.id, reason)
        log.warning("outbox_rows_parked", chain=lease.chain.hex(), first=lease.first, rows=rows, reason=reason)
        self._upkeep.touch(rows)

    def release(self, session: int) -> int:
        """The connection ended: its leased rows are pending again. Returns how many.

        Gap records that wait for an ack are sent again over the next connection.
        """
        rows = self._leasing.release(session)
        self._gaps.release()
        return rows

    def confirm_stored(self, chain: bytes, through: int, missing: list[tuple[int, int]]) -> int:
        """The receiver has stored all rows up to ``through`` but the missing ranges. Returns how many were new."""
        acked = self._open_rows.confirm_stored(chain, through, missing)
        if acked.ignored:
            self.ignored_acks += 1
            level = log.warning if self.ignored_acks == 1 else log.debug
            level("outbox_ack_ignored", why=acked.ignored, through=through, count=self.ignored_acks)
            return 0
        self._upkeep.touch(acked.new + self._gaps.stored(chain, through, missing))
        return acked.new

    def requeue_unconfirmed(self, older_than_s: float) -> int:
        """Make rows pending again that were sent at least this long ago and never confirmed. Returns how many."""
        rows = self._open_rows.requeue_unconfirmed(self._operated(), older_than_s)
        self._upkeep.touch(rows + self._gaps.requeue(self._operated(), older_than_s))
        return rows

    def head(self) -> Head:
        """The end of the current chain, for a checkpoint."""
        if isinstance(self._end, StoredTap):
            self._end = Head(self._end.chain, self._end.seq, self._codec.link_hash(self._end.token))
        return self._end

    def gaps_to_send(self) -> list[GapRecord]:
        """Gap records that are neither confirmed nor waiting for it, oldest first."""
        return self._gaps.to_send()

    def confirm_gap_sent(self, number: int) -> None:
        """The broker acknowledged this gap record."""
        if self._gaps.sent(number, self._operated()):
            self._upkeep.touch(1)

    def resend(self, chain: bytes, first: int, last: int) -> Resent:
        """Make rows pending again that were sent, stored or parked and are still here, and gap records about them."""
        again = self._open_rows.resend(chain, first, last)
        self._upkeep.touch(again.requeued + self._gaps.resend(chain, first, last))
        return again

    def ranges(self) -> list[RowRange]:
        """All rows by state, in order of chain and seq."""
        return row_ranges(self._open_rows)

    async def page(self, chain: bytes | None, after: int, limit: int) -> list[StoredRow]:
        """Read rows in order of chain and seq: those after seq ``after`` of ``chain``. Empty only at the end."""
        rows = self._open_rows
        for id_ in rows.chains(chain):
            seq = after if id_ == chain else 0
            while found := await self._call(partial(Database.page, number=rows.number(id_), after=seq, limit=limit)):
                if rows is not self._rows:
                    raise OutboxError("the outbox was replaced meanwhile", fault=OutboxFault.CLOSED)
                if page := stored_rows(rows, id_, found):
                    return page
                seq = found[-1][0]  # all of them are about to be deleted
        return []

    async def gap_records(self) -> list[GapRecord]:
        """Read all gap records that are still here."""
        return self._gaps.all()

    async def tail(self, limit: int) -> list[StoredTap]:
        """Read the newest rows still on disk, newest last."""
        return await self._call(lambda db: db.tail(limit))

    async def stats(self) -> OutboxStats:
        """Count rows and bytes."""
        size = await self._call(lambda db: db.bytes_on_disk())
        rows = self._open_rows
        return OutboxStats(
            chain=rows.current,
            next_seq=rows.next_seq,
            pending=rows.count(State.PENDING),
            leased=rows.count(State.LEASED),
            sent=rows.count(State.SENT),
            stored=rows.count(State.STORED),
            parked=rows.count(State.PARKED),
            bytes_on_disk=size,
            evicted=self._upkeep.evicted,
            fault=self._troubles.fault,
            gaps=self._gaps.unconfirmed,
            quarantined=self._salvage.quarantined(),
            salvaging=self._salvage.busy,
        )

    async def flush(self) -> None:
        """Write all confirmations that are still in memory to disk and delete what is stored; raises OutboxError."""
        await self._upkeep.flush()

    async def remember_wall(self, good: ClockReading, *, at_once: bool) -> None:
        """Keep the last good wall time, now or with the next confirmations; raises OutboxError."""
        await self._call(partial(Database.remember_wall, good=good, at_once=at_once))

    async def last_wall(self) -> ClockReading | None:
        """The last good wall time of an earlier run; raises OutboxError."""
        return await self._call(Database.last_wall)

    async def heal(self) -> bool:
        """Open the database again if its thread has ended; False if it runs or hangs. Raises OutboxError."""
        if self._writer.running or self._rows is None or self._closing is not None:
            return False
        await self._revive()
        return True

    async def close(self) -> None:
        """Flush and close. Idempotent; raises OutboxError if the storage hangs."""
        if self._rows is None:
            return
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        deadline = self._clock.monotonic() + self._settings.close_s
        self._upkeep.stop()
        self._stop_salvage()
        try:
            await asyncio.wait_for(self._upkeep.flush(), self._settings.close_s)
        except (OutboxError, TimeoutError) as error:
            log.warning("outbox_failed", what="last flush", error=str(error) or "the storage hangs", count=1)
        left_s = max(0.1, deadline - self._clock.monotonic())
        with suppress(TimeoutError):  # it hangs in opening: the thread ends when it does not any more
            await asyncio.wait_for(self._opening.acquire(), left_s)
            self._opening.release()
        self._stop_salvage()
        try:
            await self._writer.stop(max(0.1, deadline - self._clock.monotonic()))
        finally:
            await self._upkeep.ended(left_s)
            self._troubles.close()

    @property
    def _open_rows(self) -> Rows:
        if self._rows is None:
            raise OutboxError("the outbox is not open", fault=OutboxFault.CLOSED)
        return self._rows

    def _operated(self) -> float:
        return self._operated_before + self._clock.monotonic() - self._opened_at

    def _seal(self, tap: Tap) -> Seal:
        def seal(place: ChainPosition) -> tuple[bytes, int]:
            return self._codec.seal(tap, place), tap.exp

        return seal

    def _stored(self, stored: StoredTap) -> None:
        if self._early is not None:
            self._early.append(stored)
            return
        self._open_rows.append(stored.seq)
        self._end = stored
        self._upkeep.kept(stored)

    def _appended(self, stored: asyncio.Future[StoredTap]) -> None:
        if stored.cancelled():
            return  # the row is kept all the same
        error = stored.exception()
        if isinstance(error, OutboxError) and self._closing is None:
            self._judge(error)
            self._troubles.tap_refused(error)
            self._upkeep.refused(error)
        elif error is None:
            self._troubles.tap_kept()

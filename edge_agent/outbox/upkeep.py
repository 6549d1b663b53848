"""Writes confirmations to disk in batches, keeps the outbox within its bounds, and finds out when it works again.

All of it goes behind the taps that are waiting, a bounded piece at a time. Nothing here is needed for a tap to be kept.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import StoredTap
from edge_agent.outbox import policy
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.database import Call
from edge_agent.outbox.gaps import GapBook
from edge_agent.outbox.policy import Need
from edge_agent.outbox.rows import Rows
from edge_agent.outbox.troubles import Troubles

DELETE_ROWS = 2000
"""Rows deleted in one transaction: a tap waits for at most one of them."""


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """The part of the outbox's settings that upkeep goes by."""

    bounds: Bounds
    flush_s: float
    first_flush_s: float
    flush_rows: int
    probe_s: float


class Upkeep:
    """Works on the rows and gap records that ``begin`` gave it; ``now`` is the outbox's operating time.

    ``recover`` does what may end a fault, as opening the database again; raises OutboxError.
    """

    def __init__(
        self,
        settings: UpkeepSettings,
        *,
        call: Call,
        now: Callable[[], float],
        troubles: Troubles,
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._recover = recover
        self._call = call
        self._now = now
        self._troubles = troubles
        self.writing = asyncio.Lock()
        """Held while rows are deleted."""
        self._unflushed = 0
        self._flush_after_s = settings.flush_s
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flush_task: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._look_task: asyncio.Task[None] | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._probe_task: asyncio.Task[None] | None = None
        self._taps_until_look = 0
        self._look_at = 0.0
        self._stopped = False
        self.evicted = 0
        """Rows given up undelivered since this outbox began."""

    def begin(self, rows: Rows, gaps: GapBook, *, evicted: int) -> None:
        """The outbox was opened, or its damaged file replaced."""
        self._rows, self._gaps = rows, gaps
        self.evicted = evicted
        self._taps_until_look = 0
        # Who is killed again and again before flush_s would send the same rows for ever.
        self._flush_after_s = min(self._settings.first_flush_s, self._settings.flush_s)

    # --- what the outbox tells ---

    def touch(self, changed: int) -> None:
        """Confirmations changed: see that they reach the disk."""
        self._unflushed += changed
        if self._stopped:
            return
        if self._unflushed >= self._settings.flush_rows:
            self._flush_soon()
        elif self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(self._flush_after_s, self._flush_soon)

    def kept(self, stored: StoredTap) -> None:
        """A tap was committed: now and then it is time to measure. Costs no system call."""
        self._taps_until_look -= 1
        if self._taps_until_look < 0 or stored.committed_at >= self._look_at:
            self._taps_until_look = policy.LOOK_EVERY_ROWS
            self._look_at = stored.committed_at + policy.LOOK_EVERY_S
            self.look_soon()

    def refused(self, error: OutboxError) -> None:
        """A tap was not kept: make room if there is too little, and find out when the outbox works again."""
        if error.fault is OutboxFault.FULL:
            self.look_soon()
        self.probe_later()

    def probe_later(self) -> None:
        """Find out when the outbox works again, even if no tap comes."""
        if self._probe_timer is None and self._troubles.fault and not self._stopped:
            self._probe_timer = asyncio.get_running_loop().call_later(self._settings.probe_s, self._probe_soon)

    # --- confirmations ---

    async def flush(self) -> None:
        """Write all confirmations that are in memory and delete what is stored; raises OutboxError.

        Cancelling the caller does not cancel the writing: memory must learn what the disk knows.
        """
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.ensure_future(self._flush())
        await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        self._stop_flush_timer()
        self._unflushed = 0
        async with self.writing:
            while await self._write() is not None or await self._write_records():
                pass
        if self._rows.ages or self._gaps.ages:
            self.touch(0)

    async def _write_records(self) -> bool:
        """What became of gap records; False if the disk knows it."""
        gaps = self._gaps
        if (records := gaps.plan(self._now())) is None:
            return False
        await self._call(lambda db: db.apply_records(records))
        gaps.applied(records)
        return True

    async def _write(self, need: Need | None = None) -> int | None:
        """One transaction; returns how many rows it deleted, None if there was nothing to write."""
        rows, gaps = self._rows, self._gaps
        crowded = gaps.crowded
        plan = rows.plan(self._now(), DELETE_ROWS, need, crowded=crowded)
        if plan is None:
            return None
        orders = gaps.orders(plan.evicted, policy.REASON, rows.delivered)
        try:
            sealed = await self._call(lambda db: db.apply(plan, orders))
        except OutboxError:
            rows.failed(plan)
            raise
        rows.applied(plan)
        gaps.replace(sealed)
        if lost := plan.lost:
            self.evicted += lost
            self._troubles.evicted(lost, in_all=self.evicted)
        return plan.rows

    def _flush_soon(self) -> None:
        self._stop_flush_timer()
        if self._unflushed:
            self._flush_after_s = self._settings.flush_s
        if self._flush_task is None or self._flush_task.done():
            self._flush_task = asyncio.ensure_future(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        await self._quietly("flush", self.flush)
        if self._troubles.has("flush"):
            self.touch(0)

    def _stop_flush_timer(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    # --- bounds ---

    def look_soon(self) -> None:
        """Measure, and give up what is too much."""
        if not self._stopped and (self._look_task is None or self._look_task.done()):
            self._look_task = asyncio.ensure_future(self._quietly("eviction", self._look))

    async def _look(self) -> None:
        while True:
            async with self.writing:  # measured within: what was measured of a file that is replaced means nothing
                usage = await self._call(lambda db: db.measure(self._settings.bounds))
                need = policy.need(self._settings.bounds, usage, self._rows.on_disk)
                if need is None or self._stopped:
                    return
                if not await self._write(need):
                    return  # what is left may not be given up: the file grows no further, and taps are refused

    # --- recovery ---

    def _probe_soon(self) -> None:
        self._probe_timer = None
        if self._probe_task is None or self._probe_task.done():
            self._probe_task = asyncio.ensure_future(self._quietly("probe", self._probe))
        self.probe_later()

    async def _probe(self) -> None:
        if not self._troubles.fault:
            return  # a tap was kept meanwhile
        await self._recover()
        await self._look()
        await self._call(lambda db: db.probe())
        self._troubles.tap_kept()

    async def _quietly(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except OutboxError as error:
            if not (self._stopped and error.fault is OutboxFault.CLOSED):
                self._troubles.failed(what, error)
        else:
            self._troubles.worked(what)

    def stop(self) -> None:
        """Begin nothing new; what is under way ends by itself. ``flush`` still works."""
        self._stopped = True
        self._stop_flush_timer()
        if self._probe_timer is not None:
            self._probe_timer.cancel()
            self._probe_timer = None

    async def ended(self, timeout_s: float) -> None:
        """Wait until what was under way has ended; call it when the database is closed, which ends it."""
        tasks = (self._flush_task, self._flushing, self._look_task, self._probe_task)
        if under_way := [task for task in tasks if task is not None]:
            await asyncio.wait(under_way, timeout=timeout_s)

"""The thread ``outbox-writer``: owns the Database, serves taps first, commits together what waited together.

It knows rows and transactions only; what they mean is decided on the event loop. Crossing back is one
``call_soon_threadsafe`` for each transaction. It never lets one failing job end the thread.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import structlog

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import StoredTap
from edge_agent.outbox.database import Database, Seal

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_GROUP = 100
"""Taps in one transaction, bounded by SQLite's 999 parameters in a statement of three for each."""


@dataclass(frozen=True, slots=True)
class _Append:
    seal: Seal
    done: asyncio.Future[StoredTap]


@dataclass(frozen=True, slots=True)
class _Call:
    run: Callable[[Database], object]
    done: asyncio.Future[Any]


_Job = _Append | _Call | None
_Result = tuple[asyncio.Future[Any], object]


STALLED_S = 2.0
"""One transaction that takes longer shows that the medium hangs: no further phone is kept waiting for it."""


class Writer:
    """Call everything from the event loop; ``on_stored`` hears of every committed tap there, before its waiter does."""

    def __init__(
        self,
        open_database: Callable[[], Database],
        *,
        now: Callable[[], float],
        on_stored: Callable[[StoredTap], None],
        max_waiting: int,
        idle_s: float,
    ) -> None:
        self._open_database = open_database
        self._now = now
        self._on_stored = on_stored
        self._max_waiting = max_waiting
        self._idle_s = idle_s
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._waiting = 0
        self._running = False
        self._ended: asyncio.Future[None] | None = None
        self._busy_since: float | None = None
        # Used by the thread only.
        self._taps: deque[_Append] = deque()
        self._calls: deque[_Call] = deque()
        self._stopping = False

    async def start(self) -> None:
        """Start the thread and open the database on it; raises OutboxError. May be tried again after a failure."""
        if self._ended is not None:
            await asyncio.shield(self._ended)  # a thread of an earlier try must not touch the state of this one
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        self._running = True
        self._waiting = 0
        self._jobs = SimpleQueue()
        self._taps.clear()  # whoever waited for them has heard that they were not kept
        self._calls.clear()
        self._busy_since = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)
        self._thread.start()
        try:
            await self._opened
        except asyncio.CancelledError:
            self._jobs.put(None)
            self._running = False
            raise
        except Exception:
            await asyncio.shield(self._ended)
            raise

    @property
    def running(self) -> bool:
        """Whether it takes work."""
        return self._running

    def append(self, seal: Seal) -> "asyncio.Future[StoredTap]":
        """Queue one tap; raises OutboxError when too many are waiting already, or the storage hangs."""
        self._check()
        if self._waiting >= self._max_waiting or self._hangs():
            raise OutboxError(
                f"the outbox is busy: {self._waiting} taps are waiting for the storage",
                remedy="the storage is too slow or hangs; look into the kernel log",
                fault=OutboxFault.BUSY,
            )
        self._waiting += 1
        job = _Append(seal, self._loop.create_future())
        self._jobs.put(job)
        return job.done

    def call(self, run: Callable[[Database], T]) -> "asyncio.Future[T]":
        """Queue any other work on the database; taps overtake it."""
        self._check()
        job = _Call(run, self._loop.create_future())
        self._jobs.put(job)
        return job.done

    async def stop(self, timeout_s: float) -> None:
        """Finish what is queued, close the database, end the thread. Raises OutboxError after ``timeout_s``."""
        if not self._running or self._ended is None:
            return
        self._running = False
        self._jobs.put(None)
        try:
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_s)
        except TimeoutError:
            raise OutboxError(
                f"the outbox could not be closed in {timeout_s:g} s",
                remedy="the storage hangs; look into the kernel log",
            ) from None
        self._thread.join(timeout_s)

    def _hangs(self) -> bool:
        since = self._busy_since
        return since is not None and self._now() - since > STALLED_S

    def _check(self) -> None:
        if not self._running:
            raise OutboxError("the outbox is not open", fault=OutboxFault.CLOSED)

    # --- on the event loop, called by the thread ---

    def _deliver(self, results: Sequence[_Result]) -> None:
        for done, result in results:
            if isinstance(result, StoredTap):
                self._on_stored(result)
            if done.done():  # the waiter was cancelled; the row is kept all the same
                continue
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)

    def _deliver_taps(self, results: Sequence[_Result]) -> None:
        self._waiting -= len(results)
        self._deliver(results)

    def _end(self, unserved: Sequence[asyncio.Future[Any]]) -> None:
        self._running = False
        self._deliver([(done, OutboxError("the outbox was closed", fault=OutboxFault.CLOSED)) for done in unserved])
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # --- on the thread ---

    def _post(self, call: Callable[[Any], None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # the loop is closed: nobody waits any more, and the disk has it
            log.debug("outbox_result_unheard")

    def _run(self) -> None:
        try:
            if (database := self._open()) is not None:
                try:
                    self._serve(database)
                finally:
                    self._close(database)
        finally:
            self._take(wait=False)
            unserved: list[asyncio.Future[Any]] = [job.done for job in self._taps]
            unserved += [job.done for job in self._calls]
            self._post(self._end, unserved)

    def _open(self) -> Database | None:
        try:
            database = self._open_database()
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever opens must hear of it
            self._post(self._deliver, [(self._opened, error)])
            return None
        self._post(self._deliver, [(self._opened, None)])
        return database

    def _serve(self, database: Database) -> None:
        """Until told to stop: all waiting taps, then one other job, and again; a pause copies the WAL back."""
        while True:
            self._busy_since = None
            nothing_to_do = not (self._taps or self._calls or self._stopping)
            arrived = self._take(wait=nothing_to_do, timeout_s=self._idle_s if database.checkpoint_due else None)
            self._busy_since = self._now()
            if self._taps:
                self._commit(database)
            if self._calls:
                self._serve_call(database)
            elif self._stopping and not self._taps:
                return
            elif nothing_to_do and not arrived:
                self._checkpoint(database)

    def _take(self, *, wait: bool, timeout_s: float | None = None) -> bool:
        """Sort what is queued; may wait for the first job. Returns whether there was one."""
        try:
            job = self._jobs.get(block=wait, timeout=timeout_s if wait else None)
        except Empty:
            return False
        while True:
            if isinstance(job, _Append):
                self._taps.append(job)
            elif isinstance(job, _Call):
                self._calls.append(job)
            else:
                self._stopping = True
            if self._jobs.empty():  # this thread alone takes from it
                return True
            job = self._jobs.get_nowait()

    def _commit(self, database: Database) -> None:
        group = [self._taps[index] for index in range(min(len(self._taps), MAX_GROUP))]
        results: Sequence[object]
        try:
            results = database.append([tap.seal for tap in group], self._now)
        except OutboxError as error:
            results = [error] * len(group)
        except Exception as error:  # the thread must outlive it: one lost group, not a dead agent
            log.exception("outbox_writer_failed")
            results = [OutboxError(f"the outbox failed: {error!r}")] * len(group)
        for _ in group:
            self._taps.popleft()
        self._post(self._deliver_taps, list(zip((tap.done for tap in group), results, strict=True)))

    def _serve_call(self, database: Database) -> None:
        call = self._calls.popleft()
        result: object
        try:
            result = call.run(database)
        except Exception as error:  # noqa: BLE001 - as in concurrent.futures: it belongs to whoever waits for it
            result = error
        self._post(self._deliver, [(call.done, result)])

    def _checkpoint(self, database: Database) -> None:
        try:
            database.checkpoint()
        except OutboxError as error:
            log.warning("outbox_checkpoint_failed", error=str(error))

    def _close(self, database: Database) -> None:
        try:
            database.close()
        except OutboxError as error:
            log.warning("outbox_close_failed", error=str(error))

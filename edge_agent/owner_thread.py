"""One thread that owns one blocking library: jobs go in by a bounded queue, results come back as futures.

The only crossing is ``call_soon_threadsafe``. A loop that was closed meanwhile must not crash the thread, and a thread
that hangs must not hang the loop.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T")

QUEUE_DEPTH = 8


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    last: bool = False


class ThreadBusy(Exception):
    """The queue is full: the thread hangs in a call."""


class OwnerThread:
    """A daemon thread with a name, started at once; ends with ``stop``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: queue.Queue[_Job] = queue.Queue(maxsize=QUEUE_DEPTH)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs; one that was left behind ends by itself once its call returns."""
        return self._thread.is_alive()

    async def call(self, run: Callable[[], T]) -> T:
        """Run a job on the thread and return its result, or raise what it raised. Raises ThreadBusy.

        Cancelling the caller skips a job that has not begun, and drops the result of one that has.
        """
        result: T = await self._submit(run)
        return result

    async def stop(self, last: Callable[[], None], *, timeout_s: float) -> bool:
        """Run a last job and end the thread; False when it hangs and was left behind after ``timeout_s`` seconds.

        A thread that was left behind still runs the last job, and ends, once its call returns.
        """
        future = None
        while future is None:
            try:
                future = self._submit(last, ends=True)
            except ThreadBusy:
                self._drop_one()
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if not done:
            future.cancel()
            return False
        future.result()
        return True

    def _drop_one(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._jobs.get_nowait().future.cancel()

    def _submit(self, run: Callable[[], Any], *, ends: bool = False) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        try:
            self._jobs.put_nowait(_Job(run, loop, future, last=ends))
        except queue.Full:
            future.cancel()
            raise ThreadBusy from None
        return future

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job.last or not job.future.cancelled():
                self._run(job)
            if job.last:
                return

    def _run(self, job: _Job) -> None:
        result, error = None, None
        try:
            result = job.run()
        except Exception as raised:  # noqa: BLE001 - whatever it is, it belongs to the coroutine that awaits the job
            error = raised
        try:
            job.loop.call_soon_threadsafe(_deliver, job.future, result, error)
        except RuntimeError:
            log.debug("result_without_a_loop", thread=self._thread.name)


class SoleThread:
    """The one thread that uses a device at a time: while one of before hangs in a call there is no other.

    Once that call returns it goes on using the device, and ends. ``hangs`` makes the error that says so.
    """

    def __init__(self, name: str, hangs: Callable[[], Exception]) -> None:
        self._name = name
        self._hangs = hangs
        self._owner: OwnerThread | None = None
        self.left_behind: list[OwnerThread] = []

    @property
    def runs(self) -> bool:
        """Whether it was begun and not ended."""
        return self._owner is not None

    def begin(self) -> None:
        """Start it; raises what ``hangs`` makes while one of before is not over."""
        self.left_behind = [owner for owner in self.left_behind if owner.alive]
        if self.left_behind:
            raise self._hangs()
        self._owner = OwnerThread(self._name)

    async def call(self, run: Callable[[], T]) -> T:
        """As OwnerThread's, but raises what ``hangs`` makes; RuntimeError before ``begin``."""
        if self._owner is None:
            raise RuntimeError(f"the thread {self._name} was not begun")
        try:
            return await self._owner.call(run)
        except ThreadBusy:
            raise self._hangs() from None

    async def end(self, last: Callable[[], None], *, timeout_s: float) -> None:
        """End it with a last job; one that hangs is left behind after ``timeout_s`` seconds. Idempotent."""
        owner, self._owner = self._owner, None
        if owner is None:
            return
        self.left_behind.append(owner)  # until it is known to let go: this wait may be cut off
        if await owner.stop(last, timeout_s=timeout_s):
            self.left_behind.remove(owner)
        else:
            log.warning("thread_left_behind", thread=owner.name, left=len(self.left_behind))


def _deliver(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)

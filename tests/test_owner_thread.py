import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from edge_agent.owner_thread import QUEUE_DEPTH, OwnerThread, SoleThread, ThreadBusy
from tests.fakes.waiting import eventually


@dataclass
class Hanging:
    """A job that begins, and hangs until it is let go."""

    begun: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.begun.set()
        self.released.wait()


async def stopped(owner: OwnerThread) -> None:
    assert await owner.stop(lambda: None, timeout_s=30)
    owner._thread.join(30)
    assert not owner._thread.is_alive()


async def test_jobs_run_in_order_on_one_named_daemon_thread() -> None:
    owner = OwnerThread("reader-test")
    threads = await asyncio.gather(*(owner.call(threading.current_thread) for _ in range(3)))
    assert {(thread.name, thread.daemon) for thread in threads} == {("reader-test", True)}
    await stopped(owner)


async def test_whatever_a_job_raises_reaches_its_caller_and_not_the_thread() -> None:
    owner = OwnerThread("reader-test")
    with pytest.raises(ZeroDivisionError):
        await owner.call(lambda: 1 // 0)
    assert await owner.call(lambda: 7) == 7
    await stopped(owner)


async def test_a_full_queue_is_refused_at_once() -> None:
    owner, hanging = OwnerThread("reader-test"), Hanging()
    running = asyncio.ensure_future(owner.call(hanging))
    await eventually(hanging.begun.is_set)  # it has left the queue
    waiting = [asyncio.ensure_future(owner.call(int)) for _ in range(QUEUE_DEPTH)]
    await asyncio.sleep(0)
    with pytest.raises(ThreadBusy):
        await owner.call(int)
    hanging.released.set()
    await asyncio.gather(running, *waiting)
    await stopped(owner)


async def test_a_cancelled_job_that_has_not_begun_is_skipped() -> None:
    owner, hold, ran = OwnerThread("reader-test"), threading.Event(), []
    running = asyncio.ensure_future(owner.call(hold.wait))
    waiting = asyncio.ensure_future(owner.call(lambda: ran.append(1)))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.wait({waiting})
    hold.set()
    await running
    await stopped(owner)
    assert not ran


async def test_a_result_that_nobody_awaits_any_more_is_dropped() -> None:
    owner, hold = OwnerThread("reader-test"), threading.Event()

    def late() -> None:
        hold.wait()
        raise OSError("late")

    running = asyncio.ensure_future(owner.call(late))
    await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait({running})
    hold.set()
    assert await owner.call(lambda: 7) == 7
    await stopped(owner)


async def test_a_thread_that_hangs_is_left_behind() -> None:
    owner, hold = OwnerThread("reader-test"), threading.Event()
    running = asyncio.ensure_future(owner.call(hold.wait))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert not await owner.stop(lambda: None, timeout_s=0.1)
    assert owner.alive
    hold.set()
    await running
    owner._thread.join(30)
    assert not owner.alive, "it ends by itself once it can"


async def test_a_thread_that_was_left_behind_with_a_full_queue_does_the_last_job_and_ends() -> None:
    owner, hanging, ran = OwnerThread("reader-test"), Hanging(), list[str]()
    running = asyncio.ensure_future(owner.call(hanging))
    await eventually(hanging.begun.is_set)
    waiting = [asyncio.ensure_future(owner.call(lambda: ran.append("job"))) for _ in range(QUEUE_DEPTH)]
    await asyncio.sleep(0)
    assert not await owner.stop(lambda: ran.append("last"), timeout_s=0.1)
    hanging.released.set()
    await running
    owner._thread.join(30)
    assert not owner.alive
    assert ran[-1] == "last"
    await asyncio.gather(*waiting, return_exceptions=True)


def test_a_loop_that_was_closed_meanwhile_does_not_crash_the_thread() -> None:
    hold = threading.Event()
    crashed: list[threading.ExceptHookArgs] = []
    previous, threading.excepthook = threading.excepthook, crashed.append

    async def leave_while_it_works() -> OwnerThread:
        owner = OwnerThread("reader-test")
        task = asyncio.ensure_future(owner.call(hold.wait))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
        return owner

    try:
        owner = asyncio.run(leave_while_it_works())
        hold.set()
        asyncio.run(stopped(owner))
    finally:
        threading.excepthook = previous
    assert not crashed


async def test_while_a_sole_thread_hangs_there_is_no_other() -> None:
    sole = SoleThread("sole", lambda: RuntimeError("it hangs"))
    release = threading.Event()
    sole.begin()
    hanging = asyncio.ensure_future(sole.call(release.wait))
    await asyncio.sleep(0)
    await sole.end(lambda: None, timeout_s=0.01)
    await sole.end(lambda: None, timeout_s=0.01)  # twice is once
    assert not sole.runs
    with pytest.raises(RuntimeError, match="it hangs"):
        sole.begin()
    release.set()
    assert await hanging
    await eventually(lambda: not sole.left_behind[0].alive)
    sole.begin()
    assert await sole.call(lambda: 7) == 7
    await sole.end(lambda: None, timeout_s=30)
    assert sole.left_behind == []

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import StoredTap
from edge_agent.outbox.database import Seal
from edge_agent.outbox.writer import STALLED_S, Writer
from tests.fakes.waiting import eventually


class StandIn:
    """Where the Database is, without a disk: can hang, fail, and tells what it was asked."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.checkpoint_due = False
        self.fail: BaseException | None = None
        self.closed = threading.Event()

    def append(self, seals: Sequence[Seal], now: Callable[[], float]) -> list[StoredTap]:
        self.gate.wait(10)
        if self.fail is not None:
            raise self.fail
        self.done.append(f"taps {len(seals)}")
        return [StoredTap(b"chain-id", seq, b"token", 0) for seq in range(len(seals))]

    def work(self, name: str) -> str:
        self.gate.wait(10)
        self.done.append(name)
        return name

    def checkpoint(self) -> None:
        self.done.append("checkpoint")
        self.checkpoint_due = False

    def close(self) -> None:
        self.closed.set()


def seal(_place: object) -> tuple[bytes, int]:
    return b"token", 0


@pytest.fixture
def database() -> StandIn:
    return StandIn()


@pytest.fixture
def stored() -> list[StoredTap]:
    return []


@pytest.fixture
async def writer(database: StandIn, stored: list[StoredTap]) -> AsyncIterator[Writer]:
    one = make_writer(lambda: database, stored)
    await one.start()
    yield one
    database.gate.set()
    await one.stop(10)
    assert database.closed.wait(10)


def make_writer(
    open_database: Callable[[], StandIn], stored: list[StoredTap], now: Callable[[], float] = lambda: 0.0
) -> Writer:
    return Writer(
        open_database,  # type: ignore[arg-type]  # a stand-in
        now=now,
        on_stored=stored.append,
        max_waiting=10,
        idle_s=0.01,
    )


def job(name: str):  # type: ignore[no-untyped-def]  # the type of a stand-in's job
    return lambda database: database.work(name)


async def test_taps_overtake_other_work_which_still_gets_its_turn(writer: Writer, database: StandIn) -> None:
    database.gate.clear()
    first = writer.call(job("a"))
    await eventually(lambda: writer._busy_since is not None)  # it is past the choice
    others = [writer.call(job("b")), writer.append(seal), writer.call(job("c")), writer.append(seal)]
    database.gate.set()
    await asyncio.gather(first, *others)
    assert database.done == ["a", "taps 2", "b", "c"]


async def test_the_owner_hears_of_a_tap_before_its_waiter(writer: Writer, stored: list[StoredTap]) -> None:
    tap = await writer.append(seal)
    assert stored == [tap]


async def test_a_failing_job_is_its_waiters_problem(writer: Writer) -> None:
    with pytest.raises(ZeroDivisionError):
        await writer.call(lambda _: 1 // 0)
    assert await writer.call(job("next")) == "next"  # type: ignore[comparison-overlap]  # a stand-in


@pytest.mark.parametrize("error", [OutboxError("full"), MemoryError("a bug")])
async def test_taps_that_fail_leave_the_thread_alive(writer: Writer, database: StandIn, error: Exception) -> None:
    database.fail = error
    with pytest.raises(OutboxError, match=str(error)):
        await writer.append(seal)
    database.fail = None
    await writer.append(seal)


async def test_whatever_fails_at_opening_is_heard_and_it_can_be_tried_again(
    database: StandIn, stored: list[StoredTap]
) -> None:
    errors: list[Exception] = [RuntimeError("a bug"), OutboxError("locked")]

    def open_database() -> StandIn:
        if errors:
            raise errors.pop(0)
        return database

    writer = make_writer(open_database, stored)
    with pytest.raises(RuntimeError, match="a bug"):
        await writer.start()
    with pytest.raises(OutboxError, match="locked"):
        await writer.start()
    with pytest.raises(OutboxError, match="not open"):
        writer.append(seal)
    await writer.start()
    await writer.append(seal)
    await writer.stop(10)


async def test_a_cancelled_opening_leaves_nothing_behind(database: StandIn, stored: list[StoredTap]) -> None:
    opening = threading.Event()

    def open_database() -> StandIn:
        opening.wait(10)
        return database

    writer = make_writer(open_database, stored)
    first = asyncio.ensure_future(writer.start())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(writer.start())
    opening.set()
    await second
    assert database.closed.is_set(), "the first thread is at its end before the second one starts"
    await writer.append(seal)
    await writer.stop(10)


async def test_storage_that_hangs_does_not_hang_the_end(writer: Writer, database: StandIn) -> None:
    database.gate.clear()
    waiting = writer.append(seal)
    with pytest.raises(OutboxError, match="could not be closed"):
        await writer.stop(0.05)
    with pytest.raises(OutboxError, match="not open"):
        writer.append(seal)
    database.gate.set()
    await waiting


async def test_what_is_queued_is_finished_before_the_end(writer: Writer, database: StandIn) -> None:
    database.gate.clear()
    queued = [writer.append(seal), writer.call(job("a")), writer.append(seal), writer.call(job("b"))]
    ending = asyncio.ensure_future(writer.stop(10))
    await asyncio.sleep(0)
    database.gate.set()
    await ending
    assert all(future.done() and future.exception() is None for future in queued)


async def test_a_pause_is_used_for_the_checkpoint(writer: Writer, database: StandIn) -> None:
    await writer.call(job("a"))
    await asyncio.sleep(0.05)
    assert "checkpoint" not in database.done, "none was due"
    database.checkpoint_due = True
    await writer.call(job("b"))
    async with asyncio.timeout(10):
        while "checkpoint" not in database.done:  # noqa: ASYNC110 - it happens on a thread
            await asyncio.sleep(0.01)
    assert database.done == ["a", "b", "checkpoint"]


@pytest.mark.parametrize("what", ["tap", "call"])
async def test_while_the_storage_hangs_no_further_phone_is_kept_waiting_for_it(
    database: StandIn, stored: list[StoredTap], what: str
) -> None:
    now = 100.0
    writer = make_writer(lambda: database, stored, lambda: now)
    await writer.start()
    database.gate.clear()
    hanging = writer.append(seal) if what == "tap" else writer.call(job("a"))
    await eventually(lambda: writer._busy_since is not None)
    now += STALLED_S
    patient = writer.append(seal)
    now += 0.1
    with pytest.raises(OutboxError) as refused:
        writer.append(seal)
    assert refused.value.fault is OutboxFault.BUSY
    database.gate.set()
    await asyncio.gather(hanging, patient)
    await eventually(lambda: writer._busy_since is None)
    await writer.append(seal)
    await eventually(lambda: writer._busy_since is None)
    now += 3600
    await writer.append(seal)
    await writer.stop(10)


class _Ends(BaseException):
    """What no job may raise, and what ends the thread."""


async def test_a_thread_that_ended_can_be_started_again_and_keeps_nothing_that_it_refused(
    database: StandIn, stored: list[StoredTap], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    writer = make_writer(lambda: database, stored)
    await writer.start()
    first = writer._thread
    database.gate.clear()
    database.fail = _Ends()
    taps = [writer.append(seal) for _ in range(3)]
    database.gate.set()
    for tap in taps:
        with pytest.raises(OutboxError) as refused:
            await tap
        assert refused.value.fault is OutboxFault.CLOSED
    assert not writer.running
    database.fail = None
    await writer.start()
    await writer.append(seal)
    assert database.done == ["taps 1"]
    await writer.stop(10)
    first.join(30)  # the hook hears of it last

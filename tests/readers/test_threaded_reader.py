import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.owner_thread import QUEUE_DEPTH
from edge_agent.readers import threaded_reader
from edge_agent.readers.base import RawUid, ReaderInfo, Recoverable, Recovery, Step, Target, TargetKind, Tried
from edge_agent.readers.threaded_reader import Exchanged, Found, ThreadedReader
from tests.fakes.waiting import eventually

TARGET = Target(TargetKind.ISO_DEP, RawUid(b"\x08abc"), 0x20)


class StubbornDriver:
    """A driver whose exchange does not keep its deadline: it returns when ``gate`` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.deadlines: list[float] = []
        self.polls = 0

    def open(self) -> ReaderInfo:
        return ReaderInfo(driver="stub", device="/dev/stub", chip="STUB 1")

    def poll(self) -> Found | None:
        self.polls += 1
        return Found(TARGET, time.monotonic())

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
        self.deadlines.append(deadline)
        self.gate.wait(60)
        return Exchanged(apdu, 0.01, 3)

    def present(self) -> bool:
        return False

    def abort(self) -> None:
        self.gate.set()

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets no time for seconds hangs in no driver."""
    monkeypatch.setattr(threaded_reader, "_RECOVER_WITHIN_S", 30.0)


@pytest.fixture
def driver() -> Iterator[StubbornDriver]:
    made = StubbornDriver()
    yield made
    made.gate.set()


@pytest.fixture
async def reader(driver: StubbornDriver) -> ThreadedReader:
    made = ThreadedReader("stub0", driver, clock=SystemClock())
    await made.open()
    return made


async def test_a_driver_that_overruns_its_deadline_costs_one_tap_and_no_more_time(
    reader: ThreadedReader, driver: StubbornDriver
) -> None:
    session = await reader.next_session()
    async with asyncio.timeout(30):
        with pytest.raises(SessionLost) as lost:
            await session.transceive(b"token", 0.1)
    assert lost.value.reason is LostReason.TIMEOUT
    driver.gate.set()
    following = await reader.next_session()
    assert await following.transceive(b"select", 30.0) == b"select", "a late answer belongs to nobody"
    assert (following.wtx, following.rtt_s) == (3, 0.01)
    await reader.close()


async def test_the_driver_is_asked_to_be_back_before_the_budget_ends(
    reader: ThreadedReader, driver: StubbornDriver
) -> None:
    driver.gate.set()
    session = await reader.next_session()
    before = time.monotonic()
    await session.transceive(b"select", 30.0)
    assert driver.deadlines[0] < time.monotonic() + 30.0
    assert driver.deadlines[0] > before + 29.5
    await reader.close()


async def test_a_session_that_is_over_reaches_no_phone(reader: ThreadedReader, driver: StubbornDriver) -> None:
    session = await reader.next_session()
    await reader.next_session()
    with pytest.raises(SessionLost):
        await session.transceive(b"token", 1.0)
    assert driver.deadlines == []
    await reader.close()


async def test_a_thread_that_hangs_is_a_fault_of_the_reader(reader: ThreadedReader, driver: StubbornDriver) -> None:
    session = await reader.next_session()
    held = asyncio.ensure_future(session.transceive(b"select", 60.0))
    await eventually(lambda: driver.deadlines)  # a job that is given up before it began would not hold the thread
    for _ in range(QUEUE_DEPTH):
        with pytest.raises(SessionLost):
            await session.transceive(b"select", 0.02)
    with pytest.raises(ReaderError, match="hangs"):
        await session.transceive(b"select", 0.02)
    await reader.close()
    assert await held == b"select"


class Hanging(StubbornDriver):
    """A driver whose poll does not return until ``gate`` is set, whatever it is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.hangs = threading.Event()

    def open(self) -> ReaderInfo:
        self.inside.append(f"open on {threading.current_thread().ident}")
        return super().open()

    def poll(self) -> Found | None:
        self.hangs.set()
        self.gate.wait(60)
        return super().poll()

    def abort(self) -> None:
        """It does not listen."""

    def close(self) -> None:
        self.inside.append(f"close on {threading.current_thread().ident}")


async def test_while_a_thread_hangs_in_the_driver_no_other_one_touches_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threaded_reader, "_CLOSE_WITHIN_S", 0.05)
    driver = Hanging()
    reader = ThreadedReader("stub0", driver, clock=SystemClock())
    await reader.open()
    polling = asyncio.ensure_future(reader.next_session())
    await eventually(driver.hangs.is_set)
    polling.cancel()
    await asyncio.wait({polling})
    await reader.close()
    for _ in range(3):
        with pytest.raises(ReaderError) as refused:
            await reader.open()
        assert refused.value.fault is ReaderFault.HANGS
        assert "reader-stub0" in refused.value.text
    (first,) = driver.inside
    driver.gate.set()
    await eventually(lambda: len(driver.inside) == 2)
    assert driver.inside[1] == first.replace("open", "close"), "the thread of before lets go itself"
    await eventually(lambda: not reader._thread.left_behind[0].alive)
    await reader.open()
    assert len(driver.inside) == 3
    await reader.close()


async def test_a_closed_reader_says_so(reader: ThreadedReader) -> None:
    await reader.close()
    with pytest.raises(ReaderError, match="closed"):
        await reader.next_session()
    await reader.close()


async def test_a_close_that_is_cut_off_forgets_no_thread_that_hangs() -> None:
    driver = Hanging()
    reader = ThreadedReader("stub0", driver, clock=SystemClock())
    await reader.open()
    polling = asyncio.ensure_future(reader.next_session())
    await eventually(driver.hangs.is_set)
    polling.cancel()
    closing = asyncio.ensure_future(reader.close())
    await asyncio.sleep(0.05)
    closing.cancel()
    await asyncio.wait({polling, closing})
    with pytest.raises(ReaderError, match="hangs"):
        await reader.open()
    assert len(driver.inside) == 1
    driver.gate.set()
    await eventually(lambda: not reader._thread.left_behind[0].alive)
    await reader.open()
    await reader.close()


class Resettable(StubbornDriver):
    """A driver that can be set up anew on its open line; ``error`` is what comes of it."""

    def __init__(self, error: ReaderError | None = None) -> None:
        super().__init__()
        self.resets: list[str] = []
        self._error = error

    def soft_reset(self) -> None:
        self.resets.append(threading.current_thread().name)
        if self._error is not None:
            raise self._error


async def test_a_driver_without_a_soft_reset_says_so(reader: ThreadedReader) -> None:
    assert isinstance(reader, Recoverable)
    assert (await reader.recover(Step.SOFT_RESET)).tried is Tried.IMPOSSIBLE
    assert (await reader.recover(Step.USB_RESET)).tried is Tried.IMPOSSIBLE
    assert (await reader.recover(Step.REOPEN)).tried is Tried.IMPOSSIBLE
    assert await reader.next_session()
    await reader.close()


async def test_a_soft_reset_runs_on_the_thread_that_owns_the_line_and_ends_the_session() -> None:
    driver = Resettable()
    driver.gate.set()
    reader = ThreadedReader("stub0", driver, clock=SystemClock())
    assert (await reader.recover(Step.SOFT_RESET)).tried is Tried.IMPOSSIBLE, "closed"
    await reader.open()
    session = await reader.next_session()
    assert await reader.recover(Step.SOFT_RESET) == Recovery(Tried.DONE)
    assert driver.resets == ["reader-stub0"]
    with pytest.raises(SessionLost):
        await session.transceive(b"select", 30.0)
    await reader.close()


async def test_a_soft_reset_that_does_not_help_is_told_and_never_raised() -> None:
    reader = ThreadedReader("stub0", Resettable(ReaderError(ReaderFault.NO_ANSWER, "silent")), clock=SystemClock())
    await reader.open()
    assert await reader.recover(Step.SOFT_RESET) == Recovery(Tried.FAILED, "silent")
    await reader.close()


async def test_a_usb_reset_sets_a_thread_free_that_hangs_in_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_reader, "_CLOSE_WITHIN_S", 0.05)
    driver = Hanging()
    threads: list[str] = []

    def reset() -> str:
        threads.append(threading.current_thread().name)
        driver.gate.set()  # the tty vanishes, and the call returns
        return "USB Serial (1-1.2)"

    reader = ThreadedReader("stub0", driver, clock=SystemClock(), reset_usb=reset)
    await reader.open()
    polling = asyncio.ensure_future(reader.next_session())
    await eventually(driver.hangs.is_set)
    polling.cancel()
    await asyncio.wait({polling})
    await reader.close()
    with pytest.raises(ReaderError, match="hangs"):
        await reader.open()
    assert await reader.recover(Step.USB_RESET) == Recovery(Tried.DONE, "USB Serial (1-1.2)")
    assert threads == ["usb-reset-stub0"]
    await eventually(lambda: not reader._thread.left_behind[0].alive)
    await reader.open()
    await reader.close()


@pytest.mark.parametrize(
    ("fault", "tried"),
    [
        (ReaderFault.NO_PERMISSION, Tried.IMPOSSIBLE),
        (ReaderFault.NOT_FOUND, Tried.IMPOSSIBLE),
        (ReaderFault.IO, Tried.FAILED),
    ],
)
async def test_why_a_usb_reset_cannot_be_is_told(fault: ReaderFault, tried: Tried) -> None:
    def reset() -> str:
        raise ReaderError(fault, "no", remedy="do this")

    reader = ThreadedReader("stub0", StubbornDriver(), clock=SystemClock(), reset_usb=reset)
    assert await reader.recover(Step.USB_RESET) == Recovery(tried, "no; do this")


async def test_a_usb_reset_that_hangs_keeps_nobody_waiting_and_is_not_begun_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    ahead, now = [0.0], loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + ahead[0])
    gate = threading.Event()
    begun: list[int] = []

    def reset() -> str:
        begun.append(1)
        gate.wait(60)
        return "late"

    reader = ThreadedReader("stub0", StubbornDriver(), clock=SystemClock(), reset_usb=reset)
    recovering = asyncio.ensure_future(reader.recover(Step.USB_RESET))
    await eventually(lambda: begun)  # what is given up before its thread began is not begun at all
    ahead[0] = threaded_reader._RECOVER_WITHIN_S
    assert (await recovering).tried is Tried.FAILED
    assert (await reader.recover(Step.USB_RESET)).text == "the one of before is not over"
    assert begun == [1]
    gate.set()
    await eventually(lambda: reader._usb_owner is not None and not reader._usb_owner.alive)
    assert await reader.recover(Step.USB_RESET) == Recovery(Tried.DONE, "late")


async def test_the_ats_of_the_moment_is_the_sessions_even_if_the_exchange_fails(driver: StubbornDriver) -> None:
    class Telling(StubbornDriver):
        ats = b""

        def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
            self.ats = b"\x01"
            raise SessionLost(LostReason.VANISHED, "gone")

    reader = ThreadedReader("stub0", Telling(), clock=SystemClock())
    await reader.open()
    session = await reader.next_session()
    assert session.ats == b""
    with pytest.raises(SessionLost):
        await session.transceive(b"select", 30.0)
    assert session.ats == b"\x01"
    await reader.close()
    silent = ThreadedReader("stub1", driver, clock=SystemClock())
    await silent.open()
    assert (await silent.next_session()).ats == b""
    await silent.close()

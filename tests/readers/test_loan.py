"""A reader is lent between two taps, for a bounded time, and comes back whatever becomes of the borrower."""

import asyncio

import pytest

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.models import Cue
from edge_agent.readers import service
from edge_agent.readers.exchange import Outcome
from edge_agent.readers.loan import LONGEST_S, Loan, Wanted
from edge_agent.readers.service import ReaderState
from tests.fakes.fake_reader import FakeReader, FakeSession
from tests.readers.test_service import FCI, OK, UNPLUGGED, Bench, phone, tap_works

WITHIN_S = 30.0


class Answering(FakeSession):
    """A phone that takes its token when ``answers`` is set."""

    def __init__(self) -> None:
        super().__init__(FCI, OK)
        self.answers = asyncio.Event()

    async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
        if self.apdus:
            await self.answers.wait()
        return await super().transceive(apdu, timeout_s)


def lent(bench: Bench) -> list[bool]:
    """What the rest of the agent hears of loans, from now on."""
    told: list[bool] = []
    bench.service.tell_lent = lambda _name, on: told.append(on)
    return told


async def polling(bench: Bench) -> None:
    await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)


async def test_a_lent_reader_is_closed_and_the_next_tap_works_once_it_is_given_back() -> None:
    bench = Bench(FakeReader())
    told = lent(bench)
    async with bench.running():
        await polling(bench)
        await bench.service.loan.borrow(60, WITHIN_S)
        assert (bench.service.snapshot().state, bench.reader.is_open) == (ReaderState.LENT, False)
        assert told == [True]
        bench.service.loan.give_back(empty=True)
        await polling(bench)
        assert told == [True, False]
        await tap_works(bench)
    snapshot = bench.service.snapshot()
    assert (snapshot.taps, snapshot.reopens) == (1, 0)


async def test_a_loan_that_nobody_renews_is_over_by_itself() -> None:
    bench = Bench(FakeReader())
    async with bench.running():
        await polling(bench)
        await bench.service.loan.borrow(0.05, WITHIN_S)
        await polling(bench)
        assert bench.service.loan.is_free
        await asyncio.sleep(0.6)  # so long what is there may have lain there before
        await tap_works(bench)


async def test_a_tap_that_goes_on_is_finished_first() -> None:
    bench = Bench(FakeReader())
    async with bench.running():
        session = Answering()
        bench.reader.put(session)
        await bench.until(lambda: Cue.READING in bench.cues)
        borrowing = asyncio.create_task(bench.service.loan.borrow(60, WITHIN_S))
        await bench.until(lambda: not bench.service.loan.is_free)
        session.answers.set()
        await borrowing
        assert bench.ends[0][0] is Outcome.ACCEPTED
        assert session.closed
        bench.service.loan.give_back()


async def test_a_phone_that_lies_on_the_reader_keeps_nobody_waiting_and_is_no_second_tap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_STILL_THERE_S", 30.0)  # found at once, on a machine that stands still as well
    bench = Bench(FakeReader())
    async with bench.running():
        bench.reader.put(phone(OK))
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.OCCUPIED)
        await bench.service.loan.borrow(60, WITHIN_S)
        bench.service.loan.give_back()
        still_there = phone(OK)
        bench.reader.put(still_there)
        await bench.until(lambda: still_there.waited)
        assert still_there.apdus == []
        still_there.leave()
        await polling(bench)
        await tap_works(bench)
    assert bench.service.snapshot().taps == 2


async def test_a_reader_that_does_not_come_back_is_lost_as_any_other_and_found_again() -> None:
    bench = Bench(FakeReader())
    async with bench.running():
        await polling(bench)
        await bench.service.loan.borrow(60, WITHIN_S)
        bench.reader.open_errors.append(UNPLUGGED)
        bench.service.loan.give_back()
        await bench.until(lambda: bench.service.snapshot().reopens == 1)
        assert bench.cues == [Cue.FAULT, Cue.INVITE]
        assert bench.service.snapshot().fault == ""


async def test_who_comes_second_is_refused_and_the_first_keeps_it() -> None:
    bench = Bench(FakeReader())
    async with bench.running():
        await polling(bench)
        await bench.service.loan.borrow(60, WITHIN_S)
        with pytest.raises(ReaderError, match="lent already"):
            await bench.service.loan.borrow(60, WITHIN_S)
        assert bench.service.loan.left_s > 0
        assert bench.service.snapshot().state is ReaderState.LENT


async def test_who_asked_and_left_before_he_got_it_leaves_the_reader_at_work() -> None:
    bench = Bench(FakeReader())
    async with bench.running():
        session = Answering()
        bench.reader.put(session)
        await bench.until(lambda: Cue.READING in bench.cues)
        with pytest.raises(ReaderError, match="not free") as refused:
            await bench.service.loan.borrow(60, 0.01)
        assert refused.value.fault is ReaderFault.TAKEN
        session.answers.set()
        await bench.ended(1)
        assert bench.service.loan.is_free
        assert bench.reader.closed == 0


async def test_an_agent_that_stops_takes_a_lent_reader_with_it() -> None:
    bench = Bench(FakeReader())
    told = lent(bench)
    async with bench.running():
        await polling(bench)
        await bench.service.loan.borrow(60, WITHIN_S)
    assert bench.service.snapshot().state is ReaderState.STOPPED
    assert bench.service.loan.is_free
    assert told == [True, False]


async def test_a_loan_can_be_renewed_but_not_beyond_its_longest_time() -> None:
    clock = FakeClock()
    loan = Loan(clock)
    assert loan.renew(5) == 0
    borrowing = asyncio.create_task(loan.borrow(5, WITHIN_S))
    await asyncio.sleep(0)
    loan.begin()
    await borrowing
    for _ in range(100):
        clock.advance(1)
        assert loan.renew(5) <= 5
    assert loan.left_s == 0
    assert clock.monotonic() - LONGEST_S > 0


async def test_what_waits_inside_ends_at_once_and_errors_of_others_pass() -> None:
    loan = Loan(SystemClock())
    with pytest.raises(TimeoutError):
        async with loan.unless_wanted():
            raise TimeoutError
    entered = asyncio.Event()

    async def wait() -> None:
        async with loan.unless_wanted():
            entered.set()
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await entered.wait()
    with pytest.raises(ReaderError):
        await loan.borrow(5, 0.05)  # nobody begins the loan
    with pytest.raises(Wanted):
        await waiting
    async with loan.unless_wanted():
        pass


async def test_who_asked_and_is_gone_in_the_same_moment_is_no_fault_of_the_reader() -> None:
    loan = Loan(SystemClock())

    async def wait() -> None:
        async with loan.unless_wanted():
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    borrowing = asyncio.create_task(loan.borrow(5, WITHIN_S))
    await asyncio.sleep(0)
    borrowing.cancel()
    await asyncio.sleep(0)
    with pytest.raises(ReaderError, match="not free"):  # another one, before the reader was let go
        await loan.borrow(5, 0)
    with pytest.raises(Wanted):
        await waiting
    assert loan.is_free

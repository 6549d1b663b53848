import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from edge_agent.clock import Clock, FakeClock, SystemClock
from edge_agent.errors import EdgeAgentError, LostReason, OutboxError, ReaderError, ReaderFault, SessionLost, TapRefused
from edge_agent.models import Cue, StoredTap, TapFacts, TapMode
from edge_agent.readers import service
from edge_agent.readers.base import ReaderInfo, Recovery, Step, TargetKind, Tried
from edge_agent.readers.escalation import Ladder
from edge_agent.readers.exchange import CardPolicy, ExchangeSettings, Outcome
from edge_agent.readers.presence import RetryAllowance
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState, ReopenDelays
from edge_agent.readers.tap_runner import TapTimings
from tests.fakes.fake_reader import FakeReader, FakeSession, Reply

AID = bytes.fromhex("F05441504544474501")
NONCE = b"nonce-of-16bytes"
TOKEN = bytes(range(200))
OK = b"\x90\x00"
FCI = b"\x6f\x22\x84\x09" + AID + b"\xa5\x15\x80\x01\x01\x81\x10" + NONCE + OK
UNPLUGGED = ReaderError(ReaderFault.UNPLUGGED, "gone", remedy="plug it in")
SILENT = ReaderError(ReaderFault.NO_ANSWER, "silent", remedy="power-cycle it")
FAST = ReopenDelays(first=0.01, last=0.04, absent=0.02, stable=60.0)


def phone(*replies: Reply | bytes) -> FakeSession:
    return FakeSession(FCI, *replies)


@dataclass
class Bench:
    """A service at work on a fake reader, and everything that it told.

    Its phones have time enough for a machine that stands still for a while. Where a budget is to end it is counted on a
    clock of its own, so that nothing but the test spends it.
    """

    reader: FakeReader
    cards: CardPolicy = CardPolicy.IGNORE
    budget_s: float = 60.0
    commit_s: float = 30.0
    clock: Clock = field(default_factory=SystemClock)
    cues: list[Cue] = field(default_factory=list)
    issued: list[TapFacts] = field(default_factory=list)
    ends: list[tuple[Outcome, TapFacts | None, TapTimings]] = field(default_factory=list)
    issue_results: deque[EdgeAgentError | asyncio.Event] = field(default_factory=deque)
    committed: int = 0

    def __post_init__(self) -> None:
        self.reader.now = self.clock.monotonic
        settings = ExchangeSettings(aids=(AID,), budget_s=self.budget_s, commit_s=self.commit_s, cards=self.cards)
        self.service = ReaderService(
            self.reader,
            settings=settings,
            issue=self._issue,
            show=self.cues.append,
            clock=self.clock,
            pseudonyms=Pseudonyms(),
            delays=FAST,
            observer=lambda *end: self.ends.append(end),
        )

    async def _issue(self, facts: TapFacts) -> StoredTap:
        self.issued.append(facts)
        result = self.issue_results.popleft() if self.issue_results else None
        if isinstance(result, EdgeAgentError):
            raise result
        if result is not None:
            await result.wait()
        self.committed += 1
        return StoredTap(b"chain-id", self.committed, TOKEN, exp=0, committed_at=time.monotonic())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 - what it waits for are plain attributes
                await asyncio.sleep(0.002)

    async def ended(self, count: int) -> Outcome:
        await self.until(lambda: len(self.ends) >= count)
        return self.ends[count - 1][0]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            yield
        finally:
            done = task.done()
            task.cancel()
            await asyncio.wait({task})
            if done:
                task.result()


@pytest.fixture
def bench() -> Bench:
    return Bench(FakeReader())


@pytest.fixture
def _soon_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes at once still comes at once on a machine that stood still meanwhile."""
    monkeypatch.setattr(service, "_STILL_THERE_S", 30.0)


async def tap_works(bench: Bench) -> None:
    """The next phone is served as if nothing had happened before."""
    before = len(bench.ends)
    session = phone(OK)
    bench.reader.put(session)
    assert await bench.ended(before + 1) is Outcome.ACCEPTED
    assert bench.cues[-2:] == [Cue.READING, Cue.THANKS]
    session.leave()
    await bench.until(lambda: session.closed)


async def test_a_tap_is_shown_issued_delivered_and_observed(bench: Bench) -> None:
    session = phone(OK)
    async with bench.running():
        bench.reader.put(session)
        assert await bench.ended(1) is Outcome.ACCEPTED
        assert bench.cues == [Cue.READING, Cue.THANKS]
        assert session.apdus == [b"\x00\xa4\x04\x00\x09" + AID + b"\x00", b"\x80\x54\x00\x00\xc8" + TOKEN + b"\x00"]
        _, facts, timings = bench.ends[0]
        assert facts == bench.issued[0]
        assert (facts.mode, facts.nonce, facts.reader) == (TapMode.PHONE_APP, NONCE, "fake0")
        steps = [timings.seen_at, timings.reading_at, timings.issued_at, timings.committed_at, timings.finished_at]
        assert None not in steps
        assert steps == sorted(steps)
        await bench.until(lambda: session.waited)
        assert bench.service.snapshot().state is ReaderState.OCCUPIED
        session.leave()
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)
    snapshot = bench.service.snapshot()
    assert (snapshot.state, snapshot.taps, snapshot.lost) == (ReaderState.STOPPED, 1, 0)
    assert not bench.reader.is_open


async def test_reading_is_shown_before_the_first_apdu(bench: Bench) -> None:
    seen_first: list[list[Cue]] = []

    class Curious(FakeSession):
        async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
            seen_first.append(list(bench.cues))
            return await super().transceive(apdu, timeout_s)

    async with bench.running():
        bench.reader.put(Curious(FCI, OK))
        await bench.ended(1)
    assert seen_first[0] == [Cue.READING]


async def test_a_phone_that_stays_is_one_tap(bench: Bench) -> None:
    session = phone(OK)
    async with bench.running():
        bench.reader.put(session)
        bench.reader.put(phone(OK))
        await bench.ended(1)
        await asyncio.sleep(0.05)
        assert len(bench.ends) == 1
        session.leave()
        await bench.ended(2)


async def test_a_lost_phone_may_start_again_without_leaving_first(bench: Bench) -> None:
    gone = Reply(error=SessionLost(LostReason.VANISHED, "gone"))
    first = phone(gone)
    async with bench.running():
        bench.reader.put(first)
        assert await bench.ended(1) is Outcome.UNCONFIRMED
        assert not first.waited
        await tap_works(bench)
    assert bench.cues == [Cue.READING, Cue.RETRY, Cue.READING, Cue.THANKS]
    assert bench.service.snapshot().taps == 2


async def test_a_phone_that_is_lost_again_and_again_must_leave_in_the_end() -> None:
    clock = FakeClock()
    bench = Bench(FakeReader(), clock=clock)
    bench.service._retries = RetryAllowance(for_s=0.5)

    class Leaving(FakeSession):
        async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
            clock.advance(0.125)
            return await super().transceive(apdu, timeout_s)

    sessions = [Leaving() for _ in range(40)]
    async with bench.running():
        for session in sessions:
            bench.reader.put(session)
        await bench.until(lambda: any(session.waited for session in sessions))
        last = next(index for index, session in enumerate(sessions) if session.waited)
        assert last == 3, "the first losses may be a slow approach"
        assert bench.service.snapshot().lost == last + 1
        assert bench.service.snapshot().state is ReaderState.OCCUPIED
        sessions[last].leave()


@pytest.mark.parametrize(
    ("error", "cue"), [(OutboxError("disk full"), Cue.RESTING), (EdgeAgentError("paused"), Cue.RESTING)]
)
async def test_a_refused_tap_shows_why_and_the_reader_goes_on(bench: Bench, error: EdgeAgentError, cue: Cue) -> None:
    bench.issue_results.append(error)
    session = phone(OK)
    async with bench.running():
        with capture_logs() as logs:
            bench.reader.put(session)
            assert await bench.ended(1) is Outcome.REFUSED
        assert bench.cues == [Cue.READING, cue]
        assert len(session.apdus) == 1, "no token for the phone"
        assert ("tap_refused", "warning") in [(entry["event"], entry["log_level"]) for entry in logs]
        session.leave()
        await bench.until(lambda: bench.cues[-1] is Cue.INVITE)
        await tap_works(bench)
    snapshot = bench.service.snapshot()
    assert (snapshot.taps, snapshot.last_refusal, snapshot.last_error) == (1, str(error), "")


async def test_refusals_warn_once_until_a_tap_succeeds(bench: Bench) -> None:
    done = asyncio.Event()
    done.set()
    bench.issue_results.extend([OutboxError("full"), OutboxError("full"), done, OutboxError("full")])
    async with bench.running():
        with capture_logs() as logs:
            for count in range(1, 5):
                session = phone(OK)
                session.leave()
                bench.reader.put(session)
                await bench.ended(count)
    told = [(entry["log_level"], entry["refusals"]) for entry in logs if entry["event"] == "tap_refused"]
    assert told == [("warning", 1), ("debug", 2), ("warning", 1)]


async def test_a_tap_beyond_the_limits_shows_resting_and_is_no_trouble_to_warn_of(bench: Bench) -> None:
    bench.issue_results.extend([TapRefused("too many"), TapRefused("too many"), OutboxError("full")])
    async with bench.running():
        with capture_logs() as logs:
            for count in range(1, 4):
                session = phone(OK)
                session.leave()
                bench.reader.put(session)
                assert await bench.ended(count) is Outcome.REFUSED
        await bench.until(lambda: bench.cues[-1] is Cue.INVITE)
        assert bench.cues == [Cue.READING, Cue.RESTING, Cue.INVITE] * 3
        await tap_works(bench)
    told = [entry["log_level"] for entry in logs if entry["event"] == "tap_refused"]
    assert told == ["debug", "debug", "warning"], "what the storage refuses is told all the same"


async def test_a_late_commit_is_never_cancelled_and_counts() -> None:
    disk = asyncio.Event()
    bench = Bench(FakeReader(), budget_s=0.1, clock=FakeClock())
    bench.issue_results.append(disk)
    session = phone(OK)
    async with bench.running():
        bench.reader.put(session)
        assert await bench.ended(1) is Outcome.LATE
        assert (bench.cues[-1], bench.committed) == (Cue.RETRY, 0)
        disk.set()
        await bench.until(lambda: bench.service.snapshot().taps == 1)
    assert bench.committed == 1
    assert len(session.apdus) == 1


async def test_a_phone_is_told_before_its_budget_ends_that_the_storage_hangs_and_its_tap_counts() -> None:
    disk = asyncio.Event()
    bench = Bench(FakeReader(), commit_s=0.1)
    bench.issue_results.append(disk)
    async with bench.running():
        bench.reader.put(phone(OK))
        assert await bench.ended(1) is Outcome.LATE
        assert (bench.cues[-1], bench.committed) == (Cue.RESTING, 0)
        disk.set()
        await bench.until(lambda: bench.service.snapshot().taps == 1)


async def test_a_card_whose_commit_is_late_must_leave_before_it_makes_another_tap() -> None:
    disk = asyncio.Event()
    bench = Bench(FakeReader(), cards=CardPolicy.PSEUDONYM, budget_s=0.1, clock=FakeClock())
    bench.issue_results.append(disk)
    card, again = FakeSession(kind=TargetKind.PLAIN), FakeSession(kind=TargetKind.PLAIN)
    async with bench.running():
        bench.reader.put(card)
        bench.reader.put(again)
        await bench.ended(1)
        await bench.until(lambda: card.waited or again.waited)
        disk.set()
        await bench.until(lambda: bench.committed == 1)
        assert len(bench.issued) == 1, "a card has no nonce by which a second tap could be told from the first"
        card.leave()
        await bench.ended(2)
    assert bench.cues == [Cue.READING, Cue.RESTING, Cue.INVITE, Cue.READING, Cue.THANKS]


async def test_a_late_commit_that_fails_is_told() -> None:
    disk = asyncio.Event()
    bench = Bench(FakeReader(), budget_s=0.05, clock=FakeClock())

    async def fail(facts: TapFacts) -> StoredTap:
        await disk.wait()
        raise OutboxError("disk full")

    bench.service._runner._issue = fail
    async with bench.running():
        bench.reader.put(phone(OK))
        assert await bench.ended(1) is Outcome.LATE
        disk.set()
        await bench.until(lambda: bench.service.snapshot().last_refusal == "disk full")
    assert bench.service.snapshot().taps == 0


async def test_stopping_waits_for_a_commit_that_has_begun(bench: Bench) -> None:
    disk = asyncio.Event()
    bench.issue_results.append(disk)
    async with bench.running():
        bench.reader.put(phone(OK))
        await bench.until(lambda: bool(bench.issued))
        asyncio.get_running_loop().call_later(0.1, disk.set)
    assert bench.committed == 1
    assert bench.service.snapshot().taps == 1
    assert not bench.reader.is_open


async def test_a_token_given_again_is_counted_once(bench: Bench) -> None:
    stored = StoredTap(b"chain-id", 7, TOKEN, exp=0)

    async def same(facts: TapFacts) -> StoredTap:
        return stored

    bench.service._runner._issue = same
    async with bench.running():
        bench.reader.put(phone(Reply(error=SessionLost(LostReason.VANISHED, "gone"))))
        bench.reader.put(phone(OK))
        assert await bench.ended(2) is Outcome.ACCEPTED
    assert bench.service.snapshot().taps == 1


async def test_budget_goes_down_from_apdu_to_apdu() -> None:
    clock = FakeClock()
    bench = Bench(FakeReader(), budget_s=1.0, clock=clock)

    class Slow(FakeSession):
        async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
            answer = await super().transceive(apdu, timeout_s)
            clock.advance(0.125)
            return answer

    session = Slow(FCI, OK)
    async with bench.running():
        bench.reader.put(session)
        assert await bench.ended(1) is Outcome.ACCEPTED
    assert session.timeouts == [1.0, 0.875]


async def test_a_phone_slower_than_the_budget_is_cut_off() -> None:
    bench = Bench(FakeReader(), budget_s=0.1, clock=FakeClock())
    async with bench.running():
        bench.reader.put(FakeSession(Reply(FCI, delay_s=9)))
        assert await bench.ended(1) is Outcome.TIMEOUT
    assert bench.service.snapshot().lost == 1


async def test_a_phone_slow_to_take_the_token_was_counted() -> None:
    bench = Bench(FakeReader(), budget_s=0.1, clock=FakeClock())
    async with bench.running():
        bench.reader.put(phone(Reply(OK, delay_s=9)))
        assert await bench.ended(1) is Outcome.UNCONFIRMED
    assert bench.service.snapshot().taps == 1


async def test_plain_card_is_ignored_in_silence(bench: Bench) -> None:
    card = FakeSession(kind=TargetKind.PLAIN)
    async with bench.running():
        bench.reader.put(card)
        assert await bench.ended(1) is Outcome.IGNORED
        card.leave()
        assert (bench.cues, card.apdus, bench.issued) == ([], [], [])
        await tap_works(bench)


async def test_plain_card_by_policy_is_a_tap_under_a_pseudonym() -> None:
    bench = Bench(FakeReader(), cards=CardPolicy.PSEUDONYM)
    uid = bytes.fromhex("04A1B2C3D4E5F6")
    async with bench.running():
        with capture_logs() as logs:
            card = FakeSession(kind=TargetKind.PLAIN, uid=uid)
            bench.reader.put(card)
            assert await bench.ended(1) is Outcome.ACCEPTED
            card.leave()
    facts = bench.issued[0]
    assert (facts.mode, facts.nonce, facts.rtt_ms) == (TapMode.CARD, None, None)
    assert facts.sub is not None
    assert len(facts.sub) == 12
    assert uid not in facts.sub
    assert uid.hex() not in str(logs).lower()


async def test_reader_fault_withdraws_the_invitation_until_the_reader_is_back(bench: Bench) -> None:
    async with bench.running():
        await bench.until(lambda: bench.reader.opened == 1)
        bench.reader.open_errors.extend([UNPLUGGED, UNPLUGGED])
        with capture_logs() as logs:
            bench.reader.put(UNPLUGGED)
            await bench.until(lambda: bench.reader.opened == 2)
        assert bench.cues == [Cue.FAULT, Cue.INVITE]
        told = [(entry["event"], entry["log_level"]) for entry in logs]
        assert told == [
            ("reader_lost", "warning"),
            ("reader_lost", "debug"),
            ("reader_lost", "debug"),
            ("reader_back", "info"),
        ]
        assert logs[0]["remedy"] == "plug it in"
        assert logs[2]["failures"] == 3
        await tap_works(bench)
    snapshot = bench.service.snapshot()
    assert (snapshot.reopens, snapshot.last_error) == (1, "gone; plug it in")
    assert bench.reader.closed >= 4, "closed before each attempt"


async def test_reader_absent_at_start_is_found_later(bench: Bench) -> None:
    bench.reader.open_errors.extend([ReaderError(ReaderFault.NOT_FOUND, "none")] * 3)
    async with bench.running():
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.LOST)
        await tap_works(bench)
    assert bench.cues[:2] == [Cue.FAULT, Cue.INVITE]


async def test_reader_fault_after_the_commit_still_ends_the_tap(bench: Bench) -> None:
    async with bench.running():
        bench.reader.put(phone(Reply(error=UNPLUGGED)))
        assert await bench.ended(1) is Outcome.UNCONFIRMED
        await bench.until(lambda: bench.reader.opened == 2)
        await tap_works(bench)
    assert bench.cues[:4] == [Cue.READING, Cue.RETRY, Cue.FAULT, Cue.INVITE]
    assert bench.service.snapshot().taps == 2


async def test_reader_fault_while_waiting_for_removal_reopens(bench: Bench) -> None:
    session = phone(OK)
    session.removal_error = UNPLUGGED
    async with bench.running():
        bench.reader.put(session)
        await bench.ended(1)
        session.leave()
        await bench.until(lambda: bench.reader.opened == 2)
        assert session.closed
        await tap_works(bench)


@pytest.mark.usefixtures("_soon_after_a_fault")
async def test_a_phone_that_outlasts_a_reader_fault_is_still_one_tap(bench: Bench) -> None:
    first, second, third = phone(OK), phone(OK), phone(OK)
    first.removal_error = second.removal_error = SILENT
    async with bench.running():
        for session in (first, second, third):
            bench.reader.put(session)
        await bench.ended(1)
        first.leave()
        second.leave()
        await bench.until(lambda: third.waited)
        assert bench.reader.opened == 3
        assert [session.apdus for session in (second, third)] == [[], []]
        third.leave()
        await tap_works(bench)
    assert bench.service.snapshot().taps == 2


async def test_a_phone_that_comes_well_after_a_reader_fault_is_a_new_tap(bench: Bench) -> None:
    session = phone(OK)
    session.removal_error = SILENT
    async with bench.running():
        bench.reader.put(session)
        await bench.ended(1)
        session.leave()
        await bench.until(lambda: bench.reader.opened == 2)
        await asyncio.sleep(0.6)
        await tap_works(bench)


async def test_a_phone_after_the_second_of_two_faults_is_new_when_the_field_was_empty_between(bench: Bench) -> None:
    session = phone(OK)
    session.removal_error = SILENT
    async with bench.running():
        bench.reader.put(session)
        await bench.ended(1)
        session.leave()
        await bench.until(lambda: bench.reader.opened == 2)
        await asyncio.sleep(0.6)
        bench.reader.put(SILENT)
        await tap_works(bench)
    assert bench.reader.opened == 3


async def test_an_error_of_our_own_is_not_hidden(bench: Bench) -> None:
    async def broken(facts: TapFacts) -> StoredTap:
        raise KeyError("bug")

    bench.service._runner._issue = broken
    task = asyncio.create_task(bench.service.run())
    bench.reader.put(phone(OK))
    async with asyncio.timeout(30):
        with pytest.raises(KeyError, match="bug"):
            await task
    assert not bench.reader.is_open


def test_delays_double_up_to_the_cap_of_the_fault() -> None:
    delays = ReopenDelays()
    assert [delays.after(n, ReaderFault.NO_ANSWER) for n in (1, 2, 3, 8, 9, 1000)] == [0.2, 0.4, 0.8, 25.6, 30.0, 30.0]
    assert [delays.after(n, ReaderFault.NOT_FOUND) for n in (1, 4, 5, 1000)] == [0.2, 1.6, 2.0, 2.0]
    assert delays.after(1000, ReaderFault.UNPLUGGED) == 2.0


async def test_a_reader_that_fails_at_once_each_time_is_slowed_down(bench: Bench) -> None:
    pauses: list[float] = []
    async with bench.running():
        with capture_logs() as logs:
            for count in range(1, 5):
                bench.reader.put(SILENT)
                await bench.until(lambda count=count: bench.reader.opened == count + 1)
    pauses = [entry["next_attempt_s"] for entry in logs if entry["event"] == "reader_lost"]
    assert pauses == [0.01, 0.02, 0.04, 0.04]


async def test_a_reader_that_was_stable_starts_from_the_first_pause() -> None:
    bench = Bench(FakeReader())
    bench.service._delays = ReopenDelays(first=0.01, last=0.04, absent=0.02, stable=0.0)
    async with bench.running():
        with capture_logs() as logs:
            for count in range(1, 4):
                bench.reader.put(SILENT)
                await bench.until(lambda count=count: bench.reader.opened == count + 1)
    assert [entry["next_attempt_s"] for entry in logs if entry["event"] == "reader_lost"] == [0.01] * 3


class Held(FakeReader):
    """A reader of which any call may be made to hang."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.released.set()

    async def open(self) -> ReaderInfo:
        await self.released.wait()
        return await super().open()


async def test_an_open_that_hangs_gives_no_sign_of_life() -> None:
    reader = Held()
    bench = Bench(reader)
    reader.released.clear()
    async with bench.running():
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.OPENING)
        sign = bench.service.snapshot().last_sign
        assert sign <= time.monotonic()
        await asyncio.sleep(0.1)
        assert bench.service.snapshot().last_sign == sign
        reader.released.set()
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)


async def test_an_announced_pause_is_a_sign_of_life_until_it_is_over() -> None:
    bench = Bench(FakeReader(open_errors=deque([SILENT])))
    bench.service._delays = ReopenDelays(first=0.4, last=0.4)
    async with bench.running():
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.LOST)
        before = bench.service.snapshot().last_sign
        await asyncio.sleep(0.1)
        after = bench.service.snapshot().last_sign
        assert before < after <= time.monotonic()
        assert not bench.service.snapshot().hangs


async def test_a_driver_that_hangs_is_told_until_it_returns() -> None:
    hangs = ReaderError(ReaderFault.HANGS, "it hangs")
    bench = Bench(FakeReader(open_errors=deque([hangs] * 3)))
    async with bench.running():
        await bench.until(lambda: bench.service.snapshot().hangs)
        await bench.until(lambda: bench.service.snapshot().state is ReaderState.POLLING)
        assert not bench.service.snapshot().hangs
        await tap_works(bench)


@dataclass
class Recovering(FakeReader):
    """A deaf reader that a step heals, or none: until then it opens, and fails at the first poll."""

    healed_by: Step | None = None
    tried: list[Step] = field(default_factory=list)
    open_when_tried: list[bool] = field(default_factory=list)

    async def recover(self, step: Step) -> Recovery:
        self.tried.append(step)
        self.open_when_tried.append(self.is_open)
        if step is self.healed_by:
            self.fault = None
            return Recovery(Tried.DONE)
        return Recovery(Tried.IMPOSSIBLE if step is Step.USB_RESET else Tried.FAILED, "no use")

    fault: ReaderError | None = None

    async def next_session(self) -> FakeSession:
        if self.fault is not None:
            raise self.fault
        return await super().next_session()


def deaf(healed_by: Step | None) -> tuple[Bench, Recovering, list[tuple[str, str]]]:
    reader = Recovering(healed_by=healed_by, fault=SILENT)
    bench = Bench(reader)
    delays = ReopenDelays(first=0.01, last=0.02, absent=0.02, stable=60.0, settle=0.03, ladder=Ladder(tell_after_s=0.0))
    bench.service._delays = delays
    bench.service._escalation._ladder = delays.ladder
    told: list[tuple[str, str]] = []
    bench.service.tell_deaf = lambda name, text: told.append((name, text))
    return bench, reader, told


async def test_a_soft_reset_heals_without_closing_the_line() -> None:
    bench, reader, told = deaf(Step.SOFT_RESET)
    async with bench.running():
        await tap_works(bench)
        assert (reader.opened, reader.closed) == (1, 0)
    assert reader.tried == [Step.SOFT_RESET]
    assert reader.open_when_tried == [True]
    assert bench.cues[:2] == [Cue.FAULT, Cue.INVITE]
    snapshot = bench.service.snapshot()
    assert (snapshot.recovery, snapshot.reopens, snapshot.last_error) == ("soft reset, done", 0, str(SILENT))
    assert told == []


async def test_a_usb_reset_comes_after_the_line_was_closed_and_waits_for_the_device() -> None:
    bench, reader, told = deaf(Step.USB_RESET)
    async with bench.running():
        with capture_logs() as logs:
            await tap_works(bench)
    assert reader.tried == [Step.SOFT_RESET, Step.USB_RESET]
    assert reader.open_when_tried == [True, False]
    steps = [entry["next_step"] for entry in logs if entry["event"] == "reader_lost"]
    assert steps == ["soft reset", "reopen", "reopen", "USB reset"]
    assert bench.service.snapshot().recovery == "USB reset, done"
    assert told == []


async def test_what_nothing_heals_is_told_once_and_opened_for_ever() -> None:
    bench, reader, told = deaf(None)
    async with bench.running():
        await bench.until(lambda: bool(told))
        opened = reader.opened
        await bench.until(lambda: reader.opened >= opened + 5)
        assert len(told) == 1
        assert told[0][0] == "fake0"
        assert "power-cycle the reader; tried: soft reset (failed: no use), opened again" in told[0][1]
        assert "USB reset (not possible: no use)" in told[0][1]
        assert reader.tried == [Step.SOFT_RESET, Step.USB_RESET]
        reader.fault = None
        await tap_works(bench)


async def test_a_reader_that_can_only_be_opened_again_climbs_past_what_it_has_not() -> None:
    told: list[str] = []
    bench = Bench(FakeReader(open_errors=deque([SILENT] * 12)))
    bench.service._escalation._ladder = Ladder(tell_after_s=0.0)
    bench.service.tell_deaf = lambda _name, text: told.append(text)
    async with bench.running():
        await tap_works(bench)
    assert len(told) == 1
    assert "USB reset (not possible: this reader has none)" in told[0]


async def test_a_reader_that_was_pulled_out_is_not_reset() -> None:
    bench, reader, told = deaf(Step.SOFT_RESET)
    reader.fault = None
    reader.open_errors.extend([ReaderError(ReaderFault.NOT_FOUND, "none")] * 10)
    async with bench.running():
        await bench.until(lambda: reader.opened == 1)
        reader.open_errors.extend([ReaderError(ReaderFault.NOT_FOUND, "none")] * 3)
        reader.put(UNPLUGGED)
        await tap_works(bench)
    assert (reader.tried, told) == ([], [])
    assert bench.service.snapshot().recovery == ""


@pytest.mark.usefixtures("_soon_after_a_fault")
async def test_a_phone_that_lay_there_through_a_soft_reset_is_still_one_tap() -> None:
    bench, reader, _ = deaf(Step.SOFT_RESET)
    reader.fault = None
    first, second = phone(OK), phone(OK)
    first.removal_error = SILENT
    async with bench.running():
        reader.put(first)
        reader.put(second)
        await bench.ended(1)
        first.leave()
        await bench.until(lambda: second.waited)
        assert (second.apdus, reader.tried) == ([], [Step.SOFT_RESET])
        second.leave()
        await tap_works(bench)
    assert bench.service.snapshot().taps == 2

"""Keeps one reader at work: opens it, polls, has each phone served, opens a lost reader again, for as long as it runs.

No phone, card or unplugged cable may end it; only an error in our own program does.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.live.steps import Steps
from edge_agent.models import Cue
from edge_agent.readers.base import Reader, ReaderInfo, Recoverable, Recovery, Session, Step, Tried
from edge_agent.readers.escalation import Escalation, Ladder
from edge_agent.readers.exchange import ExchangeSettings, Outcome
from edge_agent.readers.loan import Loan, TellLent, Wanted
from edge_agent.readers.presence import RetryAllowance
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.tap_runner import IssueTap, Observer, ShowCue, TapRunner

log = structlog.get_logger(__name__)

# What a reader finds so soon after its line failed was there all the time: a phone that was served is no new tap.
_STILL_THERE_S = 0.5
_NOT_THERE = frozenset({ReaderFault.NOT_FOUND, ReaderFault.UNPLUGGED})
_CHEAP_TO_TRY = _NOT_THERE | {ReaderFault.HANGS, ReaderFault.NO_SERVICE, ReaderFault.TAKEN}
_RETRY_PAUSE_S = 0.05
# Ends that show that no tap is taken now: the invitation comes back once the phone or card has left.
_SHOWN_UNTIL_GONE = frozenset({Outcome.REFUSED, Outcome.CARD_LATE})


TellDeaf = Callable[[str, str], None]
"""Takes the name of a reader that only a person can help, and what to do; must not block or raise."""


class ReaderState(StrEnum):
    """What a reader is doing."""

    STOPPED = "stopped"
    OPENING = "opening"
    POLLING = "polling"
    SERVING = "serving"
    OCCUPIED = "occupied"
    """The tap is over, the phone or card is still there."""
    LOST = "lost"
    LENT = "lent"
    """Closed, for a technician to use by himself; taken back in a minute at most."""


@dataclass(frozen=True, slots=True)
class ReopenDelays:
    """Pauses between attempts to open a lost reader, in seconds: doubled from first to last.

    A reader that is not there costs nothing to look for, and somebody may be plugging it in: ``absent`` caps that case,
    and those of a driver that hangs, a service that does not run and another program that has it, too.
    A reader that worked for ``stable`` seconds starts from the first pause again.
    """

    first: float = 0.2
    last: float = 30.0
    absent: float = 2.0
    stable: float = 10.0
    settle: float = 1.0
    """After a USB reset: so long the kernel needs to bring the device back."""
    ladder: Ladder = field(default_factory=Ladder)

    def after(self, failures: int, fault: ReaderFault) -> float:
        """Return the pause after this many failures in a row (from 1)."""
        cap = self.absent if fault in _CHEAP_TO_TRY else self.last
        return min(self.first * 2.0 ** min(failures - 1, 16), cap)


@dataclass(frozen=True, slots=True)
class ReaderSnapshot:
    """One reader at one moment; ``taps`` are committed ones, ``lost`` were begun and left without a commit.

    ``last_sign`` is when anything showed that its work goes on (CLOCK_MONOTONIC seconds): a poll, an exchange, an
    attempt to open, an announced pause. ``hangs``: a call into the driver does not return, and the reader waits for it.
    ``last_error`` is the reader's, ``last_refusal`` the issuer's, ``recovery`` what was tried last on a deaf reader;
    all stay after the cure and are "" without one.
    """

    name: str
    state: ReaderState
    info: ReaderInfo | None
    taps: int
    lost: int
    reopens: int
    last_poll: float
    last_sign: float
    hangs: bool
    last_error: str
    last_refusal: str
    recovery: str
    fault: str = ""
    """Why it is lost (ReaderFault); "" while it is not."""


class ReaderService:
    """One reader under supervision.

    ``observer`` hears of the end of every exchange. ``show`` gets the cues of the exchanges, `fault` when the reader is
    lost, and `invite` once it is back.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        settings: ExchangeSettings,
        issue: IssueTap,
        show: ShowCue,
        clock: Clock,
        pseudonyms: Pseudonyms,
        delays: ReopenDelays | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._reader = reader
        self._show = show
        self._clock = clock
        self._delays = delays or ReopenDelays()
        self._escalation = Escalation(reader.name, self._delays.ladder)
        self.tell_deaf: TellDeaf = lambda _reader, _text: None
        """Hears once of each time that nothing helps a deaf reader; set it before ``run``."""
        self.tell_lent: TellLent = lambda _reader, _on: None
        """Hears when the reader is lent and when it is back; set it before ``run``."""
        self.loan = Loan(clock)
        self._retries = RetryAllowance()
        self._runner = TapRunner(
            reader.name,
            settings=settings,
            issue=issue,
            show=show,
            clock=clock,
            pseudonyms=pseudonyms,
            observer=observer,
        )
        self._state = ReaderState.STOPPED
        self._info: ReaderInfo | None = None
        self._reopens = 0
        self._failures = 0
        self._paused = 0  # failures since the pauses began with the first
        self._is_open = False
        self._opened_at: float | None = None
        self._fault_shown = False
        self._lost_while_occupied = False
        self._last_error = ""
        self._fault = ""
        self._hangs = False
        self._signed_until = clock.monotonic()

    def follow(self, steps: Steps) -> None:
        """Tell each step of each phone; before ``run``."""
        self._runner.steps = steps

    def snapshot(self) -> ReaderSnapshot:
        """Return the state of the reader now."""
        return ReaderSnapshot(
            name=self._reader.name,
            state=self._state,
            info=self._info,
            taps=self._runner.taps,
            lost=self._runner.lost,
            reopens=self._reopens,
            last_poll=self._reader.last_poll,
            last_sign=max(self._reader.last_poll, min(self._signed_until, self._clock.monotonic())),
            hangs=self._hangs,
            last_error=self._last_error,
            last_refusal=self._runner.last_refusal,
            recovery=self._escalation.last,
            fault=self._fault if self._state is ReaderState.LOST else "",
        )

    async def run(self) -> None:
        """Serve until cancelled; then release the reader and let commits that have begun end (2 s at most)."""
        try:
            ready = False
            while True:
                try:
                    if not ready:
                        await self._open()
                    await self._poll()
                    await self._lend()
                    ready = False
                    continue
                except ReaderError as error:
                    step, pause = self._failed(error)
                ready = await self._recover(step, pause)
        finally:
            self.loan.end()
            self._state = ReaderState.STOPPED
            self._is_open = False
            await self._reader.close()
            await self._runner.drain()

    async def _open(self) -> None:
        if self._state is not ReaderState.LOST:
            self._state = ReaderState.OPENING
        self._sign()
        self._info = await self._reader.open()
        self._hangs = False
        if self._failures:
            self._reopens += 1
        else:
            log.info("reader_open", reader=self._reader.name, device=self._info.device, chip=self._info.chip)
        self._works()

    def _works(self) -> None:
        now = self._opened_at = self._clock.monotonic()
        self._is_open = True
        self._escalation.works(now)
        self._state = ReaderState.POLLING
        if self._failures:
            log.info("reader_back", reader=self._reader.name, attempts=self._failures, recovery=self._escalation.last)
        if self._fault_shown:
            self._fault_shown = False
            self._show(Cue.INVITE)

    async def _recover(self, step: Step, pause: float) -> bool:
        """Take the step and wait; True if the reader is open and may be polled at once."""
        if step is Step.SOFT_RESET and await self._try(step):
            self._works()
            return True
        self._is_open = False
        await self._reader.close()
        if step is Step.USB_RESET and await self._try(step):
            self._paused, pause = 0, max(pause, self._delays.settle)
        self._sign(pause)
        await asyncio.sleep(pause)
        return False

    async def _try(self, step: Step) -> bool:
        reader = self._reader
        recovery = Recovery(Tried.IMPOSSIBLE, "this reader has none")
        if isinstance(reader, Recoverable):
            self._sign()
            recovery = await reader.recover(step)
        self._escalation.ended(step, recovery)
        level = log.debug if recovery.tried is Tried.IMPOSSIBLE else log.info
        level("reader_recovery", reader=reader.name, step=step.value, came_of_it=recovery.tried, why=recovery.text)
        return recovery.tried is Tried.DONE

    def _sign(self, pause_s: float = 0.0) -> None:
        """A sign of life, good for an announced pause, too. Going back to the poll is none: only its end is."""
        self._signed_until = self._clock.monotonic() + pause_s

    def _failed(self, error: ReaderError) -> tuple[Step, float]:
        now = self._clock.monotonic()
        self._sign()
        self._hangs = error.fault is ReaderFault.HANGS
        todo = self._escalation.failed(error.fault, now, is_open=self._is_open)
        if self._opened_at is not None and now - self._opened_at >= self._delays.stable:
            self._failures = self._paused = 0
        if self._opened_at is not None and now - self._opened_at > _STILL_THERE_S:
            self._lost_while_occupied = False  # the field was empty since: whoever comes now is new
        self._opened_at = None
        self._failures += 1
        self._paused += 1
        # Who pulls a reader out takes it away from the phone too.
        occupied = self._lost_while_occupied or self._state is ReaderState.OCCUPIED
        self._lost_while_occupied = occupied and error.fault not in _NOT_THERE
        self._state = ReaderState.LOST
        self._last_error = str(error)
        self._fault = error.fault.value
        pause = self._delays.after(self._paused, error.fault)
        level = log.warning if self._failures == 1 else log.debug
        level(
            "reader_lost",
            reader=self._reader.name,
            fault=error.fault.value,
            error=error.text,
            remedy=error.remedy,
            failures=self._failures,
            next_step=todo.step.value,
            next_attempt_s=pause,
        )
        if not self._fault_shown:
            self._fault_shown = True
            self._show(Cue.FAULT)
        if todo.tell:
            self.tell_deaf(self._reader.name, todo.tell)
        return todo.step, pause

    async def _poll(self) -> None:
        """Serve one phone after the other until somebody wants to borrow the reader; never in the midst of a tap."""
        with contextlib.suppress(Wanted):
            while True:
                self._state = ReaderState.POLLING
                async with self.loan.unless_wanted():
                    session = await self._reader.next_session()
                try:
                    if self._was_served_before_the_fault(session):
                        await self._until_gone(session)
                        continue
                    self._state = ReaderState.SERVING
                    outcome = await self._runner.serve(session)
                    await self._let_go(session, outcome)
                finally:
                    await session.close()

    async def _until_gone(self, session: Session) -> None:
        self._state = ReaderState.OCCUPIED
        async with self.loan.unless_wanted():
            await session.wait_removed()

    async def _lend(self) -> None:
        """Let go of the reader until it is given back; what lies on it then is no new tap."""
        name = self._reader.name
        self._is_open, self._opened_at = False, None
        self._failures = self._paused = 0
        await self._reader.close()
        self._state = ReaderState.LENT
        self.tell_lent(name, True)  # noqa: FBT003 - a callback with one fact
        log.info("reader_lent", reader=name)
        try:
            self.loan.begin()
            while left_s := self.loan.left_s:
                self._sign(left_s)
                await self.loan.wait()
        finally:
            self.loan.end()
            self.tell_lent(name, False)  # noqa: FBT003 - as above
            log.info("reader_given_back", reader=name)
        self._lost_while_occupied = not self.loan.left_empty

    def _was_served_before_the_fault(self, session: Session) -> bool:
        occupied, self._lost_while_occupied = self._lost_while_occupied, False
        return occupied and self._opened_at is not None and session.seen_at - self._opened_at <= _STILL_THERE_S

    async def _let_go(self, session: Session, outcome: Outcome) -> None:
        if not outcome.may_retry:
            self._retries.served()
        elif self._retries.lost(session.seen_at, self._clock.monotonic()):
            await asyncio.sleep(_RETRY_PAUSE_S)
            return
        await self._until_gone(session)
        self._retries.served()
        if outcome in _SHOWN_UNTIL_GONE:
            self._show(Cue.INVITE)

"""Runs one phone or card through an exchange: performs the effects that the pure state machine asks for.

It decides nothing about a tap itself. It must never cancel a commit that has begun: a token that may be on disk counts.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError, LostReason, ReaderError, SessionLost, TapRefused
from edge_agent.live.steps import StepName, Steps, Untold
from edge_agent.models import Cue, StoredTap, TapFacts
from edge_agent.readers import apdu
from edge_agent.readers.base import Session
from edge_agent.readers.exchange import (
    Answered,
    BudgetSpent,
    CardPolicy,
    CommitLate,
    Event,
    Exchange,
    ExchangeSettings,
    FieldDetected,
    FieldLost,
    Finish,
    Issue,
    Outcome,
    Send,
    Show,
    TokenReady,
    TokenRefused,
)
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.sanitize import printable

log = structlog.get_logger(__name__)

IssueTap = Callable[[TapFacts], Awaitable[StoredTap]]
"""Signs and commits a tap, durable when it returns; an EdgeAgentError refuses it."""
ShowCue = Callable[[Cue], None]
"""Puts a cue on the screens; must not block or raise."""

_BEGUN_AND_LOST = frozenset({Outcome.LOST, Outcome.TIMEOUT})
_COMMIT_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class TapTimings:
    """When it happened, CLOCK_MONOTONIC seconds; None where it did not come to that."""

    seen_at: float
    reading_at: float | None = None
    issued_at: float | None = None
    committed_at: float | None = None
    finished_at: float | None = None


Observer = Callable[[Outcome, TapFacts | None, TapTimings], None]
"""Hears of every finished exchange; must not block."""


@dataclass(slots=True)
class _Tap:
    session: Session
    exchange: Exchange
    timings: TapTimings
    visit: int
    """Its number among the steps."""
    why: str = ""


class TapRunner:
    """Drives the exchanges of one reader, one at a time."""

    def __init__(
        self,
        name: str,
        *,
        settings: ExchangeSettings,
        issue: IssueTap,
        show: ShowCue,
        clock: Clock,
        pseudonyms: Pseudonyms,
        observer: Observer | None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._issue = issue
        self._show = show
        self._clock = clock
        self._pseudonyms = pseudonyms
        self._observer = observer
        self.steps: Steps = Untold()
        """Hears of each step on the way."""
        self._commits: set[asyncio.Future[StoredTap]] = set()
        self.taps = 0
        """Committed taps, late ones too; a token given again to the same phone counts once."""
        self.lost = 0
        """Exchanges that ended before the commit because the phone left or was too slow."""
        self.last_refusal = ""
        self._refusals = 0
        self._last_cti = b""

    async def drain(self) -> None:
        """Let the commits that have begun end; 2 s at most."""
        if self._commits:
            await asyncio.wait(self._commits, timeout=_COMMIT_GRACE_S)

    async def serve(self, session: Session) -> Outcome:
        """Drive one exchange to its end. A ReaderError on the way ends the exchange too, and is raised after that."""
        exchange = Exchange(self._settings, reader=self._name)
        tap = _Tap(session, exchange, TapTimings(session.seen_at), self._begin(session))
        event: Event | None = self._detected(session)
        broken: ReaderError | None = None
        while event is not None:
            now = self._clock.monotonic()
            # A timer of the loop may fire a little before our own clock says so.
            effects = exchange.handle(event, max(now, exchange.deadline) if isinstance(event, BudgetSpent) else now)
            event = None
            for effect in effects:
                match effect:
                    case Show(cue):
                        self._show(cue)
                        if cue is Cue.READING:
                            tap.timings = replace(tap.timings, reading_at=self._clock.monotonic())
                    case Send():
                        event, broken = await self._send(tap, effect)
                    case Issue():
                        event = await self._commit(tap, effect)
                    case Finish():
                        self._finished(tap, effect.outcome)
        if broken is not None:
            raise broken
        if exchange.outcome is None:
            raise AssertionError("an exchange stopped without an outcome")
        return exchange.outcome

    def _detected(self, session: Session) -> FieldDetected:
        wanted = self._settings.cards is CardPolicy.PSEUDONYM
        sub = self._pseudonyms.of(session.target.uid, self._clock.monotonic()) if wanted else None
        return FieldDetected(session.target.kind, session.seen_at, card_sub=sub)

    def _begin(self, session: Session) -> int:
        target = session.target
        facts = {"technology": target.kind.value, "sak": target.sak, "uid_bytes": target.uid.length}
        return self.steps.begin(self._name, session.seen_at, **facts)

    async def _send(self, tap: _Tap, send: Send) -> tuple[Event, ReaderError | None]:
        session, knew_ats = tap.session, bool(tap.session.ats)
        try:
            response = await session.transceive(send.apdu, send.timeout_s)
        except SessionLost as error:
            self._tell_ats(tap, knew_ats=knew_ats)
            tap.why = error.text
            log.debug("session_lost", reader=self._name, reason=error.reason.value, error=error.text)
            return (BudgetSpent() if error.reason is LostReason.TIMEOUT else FieldLost()), None
        except ReaderError as error:
            tap.why = error.text
            return FieldLost(), error
        self._tell_ats(tap, knew_ats=knew_ats)
        self._tell_answer(tap, send, response)
        return Answered(response, session.rtt_s, session.wtx), None

    def _tell_ats(self, tap: _Tap, *, knew_ats: bool) -> None:
        if tap.session.ats and not knew_ats:
            self.steps.tell(tap.visit, StepName.ATS, self._clock.monotonic(), ats=tap.session.ats)

    def _tell_answer(self, tap: _Tap, send: Send, response: bytes) -> None:
        now, ms, sw = self._clock.monotonic(), round(tap.session.rtt_s * 1000, 1), response[-2:]
        if tap.timings.issued_at is None:
            self.steps.tell(tap.visit, StepName.ANSWERED, now, aid=apdu.selected(send.apdu), sw=sw, ms=ms)
        else:
            receipt = {"receipt": 1} if len(response) > len(sw) else {}
            self.steps.tell(tap.visit, StepName.DELIVERED, now, sw=sw, ms=ms, **receipt)

    async def _commit(self, tap: _Tap, issue: Issue) -> Event:
        now, facts = self._clock.monotonic(), issue.facts
        tap.timings = replace(tap.timings, issued_at=now)
        if facts.nonce is not None:
            pseudonym = {"sub": 1} if facts.sub is not None else {}
            self.steps.tell(tap.visit, StepName.NONCE, now, nonce_bytes=len(facts.nonce), **pseudonym)
        commit = asyncio.ensure_future(self._issue(facts))
        self._commits.add(commit)
        commit.add_done_callback(partial(self._committed, tap.visit))
        # wait() leaves the commit running on a time-out and on cancellation.
        done, _ = await asyncio.wait({commit}, timeout=issue.timeout_s)
        if not done:
            log.warning("commit_late", reader=self._name, after_s=round(issue.timeout_s, 3))
            return CommitLate()
        try:
            stored = commit.result()
        except EdgeAgentError as error:
            tap.why = error.text
            return TokenRefused(Cue.RESTING)  # the tap could not be kept; the reader is well, and goes on
        tap.timings = replace(tap.timings, committed_at=stored.committed_at or self._clock.monotonic())
        return TokenReady(stored.token)

    def _committed(self, visit: int, commit: asyncio.Future[StoredTap]) -> None:
        self._commits.discard(commit)
        if commit.cancelled():
            return
        error = commit.exception()
        if error is None:
            stored = commit.result()
            again = stored.cti == self._last_cti
            self.taps += not again
            self._last_cti = stored.cti
            self.steps.token(visit, self._clock.monotonic(), stored.chain, stored.seq, again=again)
            self._refusals = 0
            return
        self.last_refusal = str(error)
        if isinstance(error, TapRefused):
            # No trouble of ours: the limits count them, and tell of a flood.
            log.debug("tap_refused", reader=self._name, error=error.text)
            return
        self._refusals += 1
        level = log.warning if self._refusals == 1 else log.debug
        level(
            "tap_refused",
            reader=self._name,
            error=str(error),
            kind=type(error).__name__,
            refusals=self._refusals,
        )

    def _finished(self, tap: _Tap, outcome: Outcome) -> None:
        now = self._clock.monotonic()
        tap.timings = replace(tap.timings, finished_at=now)
        self.steps.tell(tap.visit, StepName.ENDED, now, outcome=outcome.value, why=printable(tap.why, 120))
        if outcome in _BEGUN_AND_LOST:
            self.lost += 1
        facts = tap.exchange.facts
        level = log.debug if outcome is Outcome.IGNORED else log.info
        level(
            "tap_finished",
            reader=self._name,
            outcome=outcome.value,
            rtt_ms=facts.rtt_ms if facts else None,
            wtx=tap.session.wtx,
        )
        if self._observer is not None:
            self._observer(outcome, facts, tap.timings)

"""Mode 1 of the contract as a state machine: SELECT, token issued and committed, token delivered, done. Pure.

Takes (event, now) and returns effects; the service performs them. It never says thanks for a tap that is not on disk,
never issues twice, and is over when the budget is: ``BudgetSpent`` at or after ``deadline`` ends it in every phase.

Status words are actions. On SELECT: 9000 issue; 6A82 next AID, after the last one the card policy; 6985, 6982 unlock;
6F00, 6D00, 6E00 and all others: a foreign application, ignored. On the token: 9000 thanks; 6985, 6982 unlock; all
others: the tap is on disk but of no use to the phone yet; it is asked to hold longer and gets the same token again.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from edge_agent.models import Cue, TapFacts, TapMode
from edge_agent.readers import apdu
from edge_agent.readers.aids import DEFAULT_AID
from edge_agent.readers.base import TargetKind

APP_VERSION = 1
"""The version of the contract's mode 1 that this agent speaks; an app that says another one is not served."""

# ISO/IEC 7816-4, 5.6: conditions of use not satisfied, security status not satisfied.
_LOCKED = frozenset({0x6985, 0x6982})
_RTT_MAX_MS = 65_535
_WTX_MAX = 255


class CardPolicy(StrEnum):
    """What becomes of cards, tags and phones without our app."""

    IGNORE = "ignore"
    PSEUDONYM = "pseudonym"
    """A mode 3 tap; its `sub` is the pseudonym of the UID, absent where the UID is a random one."""


class Outcome(StrEnum):
    """How one exchange ended."""

    ACCEPTED = "accepted"
    """The token is on disk and the phone said 9000, or a card's tap is on disk."""
    UNCONFIRMED = "unconfirmed"
    """The token is on disk, the phone did not take it: the tap counts."""
    LATE = "late"
    """The commit was not done in time; it goes on, and the tap counts when it succeeds."""
    CARD_LATE = "card_late"
    """The same for a card. It has no nonce: asked again at once, it would make a second tap, so it must leave first."""
    LOST = "lost"
    TIMEOUT = "timeout"
    LOCKED = "locked"
    REFUSED = "refused"
    NO_APP = "no_app"
    FOREIGN = "foreign"
    MALFORMED = "malformed"
    """The app answered SELECT with bytes that are not the contract's, or another version of it."""
    IGNORED = "ignored"

    @property
    def may_retry(self) -> bool:
        """Whether the same phone may start again at once, without leaving the field first."""
        return self in _RETRY


_RETRY = frozenset({Outcome.UNCONFIRMED, Outcome.LATE, Outcome.LOST, Outcome.TIMEOUT})

_CUES = {
    Outcome.ACCEPTED: Cue.THANKS,
    Outcome.UNCONFIRMED: Cue.RETRY,
    Outcome.CARD_LATE: Cue.RESTING,
    Outcome.LOST: Cue.RETRY,
    Outcome.TIMEOUT: Cue.RETRY,
    Outcome.LOCKED: Cue.UNLOCK,
    Outcome.NO_APP: Cue.INVITE,
    Outcome.FOREIGN: Cue.INVITE,
    Outcome.MALFORMED: Cue.INVITE,
}


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """AIDs in the order to try (validated by ``aids.check_aid``), budget for one phone in seconds, card policy.

    A storage that takes longer than ``commit_s`` hangs: nobody is kept waiting for it any longer.
    """

    aids: tuple[bytes, ...] = (DEFAULT_AID,)
    budget_s: float = 1.5
    commit_s: float = 0.8
    cards: CardPolicy = CardPolicy.IGNORE


@dataclass(frozen=True, slots=True)
class FieldDetected:
    """Something is in the field since ``seen_at`` (CLOCK_MONOTONIC); ``card_sub`` is the pseudonym of its UID."""

    kind: TargetKind
    seen_at: float
    card_sub: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A response APDU; its round trip in seconds; waiting-time extensions of the session so far."""

    response: bytes
    rtt_s: float
    wtx: int = 0


@dataclass(frozen=True, slots=True)
class FieldLost:
    """The phone is gone, or broke the protocol."""


@dataclass(frozen=True, slots=True)
class TokenReady:
    """The token is on disk."""

    token: bytes


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The terminal takes no tap now; ``cue`` says why."""

    cue: Cue = Cue.RESTING


@dataclass(frozen=True, slots=True)
class CommitLate:
    """The commit has not answered in the time that Issue gave it; it goes on."""


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """A look at the time."""


Event = FieldDetected | Answered | FieldLost | TokenReady | TokenRefused | CommitLate | BudgetSpent


@dataclass(frozen=True, slots=True)
class Send:
    """Send this command APDU; give up after ``timeout_s`` seconds (the rest of the budget)."""

    apdu: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Issue:
    """Sign and commit a tap; report CommitLate when it is not done after ``timeout_s`` seconds, but let it go on."""

    facts: TapFacts
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Show:
    """Show this cue."""

    cue: Cue


@dataclass(frozen=True, slots=True)
class Finish:
    """The exchange is over."""

    outcome: Outcome


Effect = Send | Issue | Show | Finish


class _Phase(Enum):
    IDLE = auto()
    SELECTING = auto()
    ISSUING = auto()
    ISSUING_CARD = auto()
    DELIVERING = auto()
    DONE = auto()


_COMMITTING = frozenset({_Phase.ISSUING, _Phase.ISSUING_CARD})
_STILL = frozenset({_Phase.IDLE, _Phase.DONE})


class Exchange:
    """One phone or card, from the field to the finish. Events that do not belong to the phase change nothing."""

    def __init__(self, settings: ExchangeSettings, *, reader: str) -> None:
        self._settings = settings
        self._reader = reader
        self._phase = _Phase.IDLE
        self._detected: FieldDetected | None = None
        self._tried = 0
        self._rtts: list[float] = []
        self._wtx = 0
        self._gone = False
        self._late = Cue.RETRY
        self.deadline = 0.0
        """CLOCK_MONOTONIC seconds at which the budget ends; counts from the moment the field was detected."""
        self.facts: TapFacts | None = None
        """What was issued, None before."""
        self.outcome: Outcome | None = None

    def handle(self, event: Event, now: float) -> tuple[Effect, ...]:
        """Take one event at ``now`` (CLOCK_MONOTONIC seconds) and return the effects to perform, in order."""
        effects: tuple[Effect, ...] = ()
        match event:
            case FieldDetected() if self._phase is _Phase.IDLE:
                effects = self._begin(event, now)
            case Answered() if self._phase is _Phase.SELECTING:
                effects = self._selected(event, now)
            case Answered() if self._phase is _Phase.DELIVERING:
                effects = self._delivered(event)
            case TokenReady() if self._phase in _COMMITTING:
                effects = self._committed(event, now)
            case TokenRefused() if self._phase in _COMMITTING:
                effects = self._finish(Outcome.REFUSED, event.cue)
            case CommitLate() if self._phase in _COMMITTING:
                effects = self._expire()
            case FieldLost():
                effects = self._lost()
            case BudgetSpent() if self._phase not in _STILL and now >= self.deadline:
                effects = self._expire()
        return effects

    def _begin(self, event: FieldDetected, now: float) -> tuple[Effect, ...]:
        self._detected = event
        self.deadline = event.seen_at + self._settings.budget_s
        if event.kind is TargetKind.ISO_DEP:
            return (Show(Cue.READING), *self._select_next(now))
        if self._settings.cards is CardPolicy.IGNORE:
            return self._finish(Outcome.IGNORED)
        return (Show(Cue.READING), *self._issue_card(now))

    def _select_next(self, now: float) -> tuple[Effect, ...]:
        if self._tried >= len(self._settings.aids):
            if self._settings.cards is CardPolicy.IGNORE:
                return self._finish(Outcome.NO_APP)
            return self._issue_card(now)
        aid = self._settings.aids[self._tried]
        self._tried += 1
        self._phase = _Phase.SELECTING
        return self._send(apdu.select(aid), now)

    def _selected(self, event: Answered, now: float) -> tuple[Effect, ...]:
        self._rtts.append(event.rtt_s)
        self._wtx = event.wtx
        try:
            response = apdu.parse_response(event.response)
            if response.sw == apdu.SW_NOT_FOUND:
                return self._select_next(now)
            if response.sw in _LOCKED:
                return self._finish(Outcome.LOCKED)
            if response.sw != apdu.SW_OK:
                return self._finish(Outcome.FOREIGN)
            phone = apdu.parse_application(response.data, self._settings.aids[self._tried - 1])
        except apdu.ApduError:
            return self._finish(Outcome.MALFORMED)
        if phone.version != APP_VERSION:
            return self._finish(Outcome.MALFORMED)
        return self._issue(_Phase.ISSUING, TapMode.PHONE_APP, now, nonce=phone.nonce, sub=phone.sub)

    def _issue_card(self, now: float) -> tuple[Effect, ...]:
        sub = self._detected.card_sub if self._detected else None
        return self._issue(_Phase.ISSUING_CARD, TapMode.CARD, now, nonce=None, sub=sub)

    def _issue(
        self, phase: _Phase, mode: TapMode, now: float, *, nonce: bytes | None, sub: bytes | None
    ) -> tuple[Effect, ...]:
        left = self.deadline - now
        if left <= 0 or self._detected is None:
            return self._finish(Outcome.TIMEOUT)
        self._phase = phase
        self.facts = TapFacts(
            mode=mode,
            reader=self._reader,
            nonce=nonce,
            sub=sub,
            rtt_ms=min(round(_median(self._rtts) * 1000), _RTT_MAX_MS) if self._rtts else None,
            wtx=min(self._wtx, _WTX_MAX) if self._rtts else None,
            seen_at=self._detected.seen_at,
        )
        commit_s = self._settings.commit_s
        self._late = Cue.RETRY if left <= commit_s else Cue.RESTING  # was it the phone that was slow, or the storage?
        return (Issue(self.facts, min(left, commit_s)),)

    def _committed(self, event: TokenReady, now: float) -> tuple[Effect, ...]:
        if self._phase is _Phase.ISSUING_CARD:
            return self._finish(Outcome.ACCEPTED)
        self._phase = _Phase.DELIVERING
        if self._gone:
            return self._finish(Outcome.UNCONFIRMED)
        return self._send(apdu.deliver_token(event.token), now)

    def _lost(self) -> tuple[Effect, ...]:
        match self._phase:
            case _Phase.SELECTING:
                return self._finish(Outcome.LOST)
            case _Phase.DELIVERING:
                return self._finish(Outcome.UNCONFIRMED)
            case _Phase.ISSUING:
                self._gone = True  # whether the tap counts is known when the commit answers
        return ()

    def _delivered(self, event: Answered) -> tuple[Effect, ...]:
        try:
            sw = apdu.parse_response(event.response).sw
        except apdu.ApduError:
            return self._finish(Outcome.UNCONFIRMED)
        if sw == apdu.SW_OK:
            return self._finish(Outcome.ACCEPTED)
        return self._finish(Outcome.LOCKED if sw in _LOCKED else Outcome.UNCONFIRMED)

    def _send(self, command: bytes, now: float) -> tuple[Effect, ...]:
        left = self.deadline - now
        return (Send(command, left),) if left > 0 else self._expire()

    def _expire(self) -> tuple[Effect, ...]:
        match self._phase:
            case _Phase.ISSUING:
                return self._finish(Outcome.LATE, self._late)
            case _Phase.ISSUING_CARD:
                return self._finish(Outcome.CARD_LATE)
            case _Phase.DELIVERING:
                return self._finish(Outcome.UNCONFIRMED)
            case _:
                return self._finish(Outcome.TIMEOUT)

    def _finish(self, outcome: Outcome, cue: Cue | None = None) -> tuple[Effect, ...]:
        self._phase = _Phase.DONE
        self.outcome = outcome
        cue = cue or _CUES.get(outcome)
        return (Show(cue), Finish(outcome)) if cue else (Finish(outcome),)


def _median(values: list[float]) -> float:
    """As in the module statistics, whose import would cost the daemon 0.6 MB."""
    ordered, half = sorted(values), len(values) // 2
    return (ordered[half] + ordered[~half]) / 2

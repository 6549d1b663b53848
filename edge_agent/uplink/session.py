"""The life of the connection to the broker as a pure state machine: one event and the time in, effects out.

It decides when to connect, what counts as connected (subscribed, not just CONNACK) and how long to wait. It promises
that there is never a second link before the first has ended, and that every end but a stop leads to another attempt.
No I/O, no clock, no threads; ``connection`` carries the effects out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.backoff import Backoff
from edge_agent.uplink.base import DownReason, LinkDown, LinkUp, Subscribed

# A refusal of our identity or a second terminal with it does not heal in seconds; meanwhile each try costs the
# broker a handshake, and two terminals with one identity would kick each other out for ever.
FLOORS_S = {
    DownReason.AUTH: 30.0,
    DownReason.TAKEN_OVER: 60.0,
    DownReason.BUSY: 30.0,
    DownReason.MOVED: 60.0,
    DownReason.LIMIT: 30.0,
}
# A busy broker says it to all terminals at the same moment: they come back over as long a time again.
SPREADS_S = {DownReason.BUSY: 30.0}
# A terminal that shares its identity waits like one that was taken over, until a connection lasts. That is longer than
# the other one's pause: while both live, neither is ever called stable.
SHARED_FLOOR_S = FLOORS_S[DownReason.TAKEN_OVER]
ALONE_AFTER_S = 150.0
# Some brokers close the connection instead of refusing a subscription in SUBACK.
WITHOUT_OPTIONAL_AFTER = 3

# MQTT 5, section 2.4: "Reason Codes of 0x80 or greater indicate failure".
FIRST_FAILURE_CODE = 0x80
NOT_AUTHORIZED = 0x87


SUBSCRIBE_REFUSED = "the broker refused to subscribe"
"""How the text of such an end begins."""


class SessionState(StrEnum):
    """What is true in each state."""

    IDLE = "idle"
    """Never started: no link."""
    CONNECTING = "connecting"
    """A link exists and has not answered; a deadline runs."""
    SUBSCRIBING = "subscribing"
    """CONNACK came, SUBACK has not; a deadline runs."""
    UP = "up"
    """Subscribed; the owner was told."""
    CLOSING = "closing"
    """We end the link; its LinkDown has not come yet."""
    WAITING = "waiting"
    """No link; a retry is scheduled."""
    STOPPING = "stopping"
    """We end the link for good."""
    STOPPED = "stopped"
    """No link, and there will be none."""


@dataclass(frozen=True, slots=True)
class Start:
    """Begin the first attempt."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The timer that was set last ran out."""


@dataclass(frozen=True, slots=True)
class Poke:
    """Something changed for the better (network up, operator): do not wait for the rest of the back-off."""


@dataclass(frozen=True, slots=True)
class GiveUpLink:
    """The owner found the link dead although it looks alive."""

    reason: DownReason
    text: str


@dataclass(frozen=True, slots=True)
class SlowDown:
    """Somebody else seems to use our identity: wait longer after each end, until a connection lasts."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End for good."""


SessionEvent = Start | TimerFired | Poke | GiveUpLink | SlowDown | Stop | LinkUp | LinkDown | Subscribed


@dataclass(frozen=True, slots=True)
class Connect:
    """Build a link, start it, and send TimerFired after its connect timeout."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask for the filters."""

    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send TimerFired after this many seconds; replaces the timer before."""

    delay: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """No timer any more."""


@dataclass(frozen=True, slots=True)
class TellUp:
    """Tell the owner that it may publish."""

    up: LinkUp


@dataclass(frozen=True, slots=True)
class TellDown:
    """Tell the owner that all in flight is lost; follows each TellUp exactly once."""

    down: LinkDown


@dataclass(frozen=True, slots=True)
class TellUnheard:
    """The broker does not let us read this optional filter (``code`` of SUBACK; None: it hung up); told once."""

    topic_filter: str
    code: int | None


@dataclass(frozen=True, slots=True)
class CloseLink:
    """End the link; its LinkDown is awaited. ``clean``: the broker must not publish the will."""

    clean: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt or session failed for this reason; the next try is ``delay`` seconds away (for the log)."""

    down: LinkDown
    delay: float
    failures: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end of everything."""


Effect = Connect | Subscribe | SetTimer | CancelTimer | TellUp | TellDown | TellUnheard | CloseLink | Retry | Stopped


class Session:
    """The state machine; ``step`` is all there is to call. The broker may refuse the filters that are ``optional``."""

    def __init__(self, *, filters: Sequence[str], backoff: Backoff, optional: Collection[str] = ()) -> None:
        self._filters = tuple(filters)
        self._optional = frozenset(optional)
        self._told_unheard: set[str] = set()
        self._hung_up = 0
        self._shared = False
        self._up_since: float | None = None
        self._backoff = backoff
        self._state = SessionState.IDLE
        self._up: LinkUp | None = None
        self._cause: LinkDown | None = None

    @property
    def state(self) -> SessionState:
        """Where we are."""
        return self._state

    def step(self, event: SessionEvent, now: float) -> list[Effect]:
        """Take one event at CLOCK_MONOTONIC ``now``; an event without meaning in this state has no effect."""
        effects: list[Effect] = []
        match event:
            case Stop():
                effects = self._stop()
            case LinkDown():
                effects = self._link_down(event, now)
            case Start() if self._state is SessionState.IDLE:
                effects = self._connect()
            case Poke() | TimerFired() if self._state is SessionState.WAITING:
                effects = self._connect()
            case TimerFired() if self._state in {SessionState.CONNECTING, SessionState.SUBSCRIBING}:
                effects = self._close(LinkDown(DownReason.TIMEOUT, self._what_is_late()))
            case LinkUp() if self._state is SessionState.CONNECTING:
                effects = self._link_up(event, now)
            case Subscribed() if self._state is SessionState.SUBSCRIBING:
                effects = self._subscribed(event, now)
            case GiveUpLink() if self._has_open_link():
                effects = self._close(LinkDown(event.reason, event.text))
            case SlowDown():
                self._shared = True
        return effects

    def _connect(self) -> list[Effect]:
        self._state = SessionState.CONNECTING
        self._cause = None
        return [Connect()]

    def _link_up(self, up: LinkUp, now: float) -> list[Effect]:
        self._up = up
        if up.receive_maximum < 1:
            # MQTT 5, section 3.2.2.3.3: "It is a Protocol Error to include the Receive Maximum value ... 0".
            text = "the broker breaks the protocol: with a Receive Maximum of 0 nothing can be sent"
            return self._close(LinkDown(DownReason.LIMIT, text))
        if not self._filters:
            return self._now_up(up, now)
        self._state = SessionState.SUBSCRIBING
        return [Subscribe(self._filters)]

    def _subscribed(self, event: Subscribed, now: float) -> list[Effect]:
        unheard: list[Effect] = []
        for topic_filter, code in zip(event.filters, event.codes, strict=False):
            if code < FIRST_FAILURE_CODE:
                continue
            if topic_filter not in self._optional:
                reason = DownReason.AUTH if code == NOT_AUTHORIZED else DownReason.BROKER
                text = f"{SUBSCRIBE_REFUSED} {topic_filter} (code {code})"
                return self._close(LinkDown(reason, text, code))
            unheard += self._unheard(topic_filter, code)
        if len(event.codes) != len(self._filters) or self._up is None:
            return self._close(LinkDown(DownReason.BROKER, "SUBACK does not answer all filters"))
        self._hung_up = 0
        return [*self._now_up(self._up, now), *unheard]

    def _unheard(self, topic_filter: str, code: int | None) -> list[Effect]:
        if topic_filter in self._told_unheard:
            return []
        self._told_unheard.add(topic_filter)
        return [TellUnheard(topic_filter, code)]

    def _hung_up_on(self) -> list[Effect]:
        """The peer ended the connection instead of answering our subscriptions."""
        self._hung_up += 1
        if self._hung_up < WITHOUT_OPTIONAL_AFTER:
            return []
        left_out = [name for name in self._filters if name in self._optional]
        self._filters = tuple(name for name in self._filters if name not in self._optional)
        return [effect for name in left_out for effect in self._unheard(name, None)]

    def _now_up(self, up: LinkUp, now: float) -> list[Effect]:
        self._state = SessionState.UP
        self._up_since = now
        self._backoff.succeeded(now)
        return [CancelTimer(), TellUp(up)]

    def _close(self, cause: LinkDown) -> list[Effect]:
        was_up = self._state is SessionState.UP
        self._state = SessionState.CLOSING
        self._cause = cause
        effects: list[Effect] = [CancelTimer()]
        if was_up:
            effects.append(TellDown(cause))
        # Not clean: whoever watches our state must hear that this session is lost.
        effects.append(CloseLink(clean=False))
        return effects

    def _link_down(self, down: LinkDown, now: float) -> list[Effect]:
        match self._state:
            case SessionState.STOPPING:
                self._state = SessionState.STOPPED
                return [Stopped()]
            case SessionState.CLOSING:
                return self._wait(self._cause or down, now)
            case SessionState.UP:
                return [TellDown(down), *self._wait(down, now)]
            case SessionState.SUBSCRIBING:
                return [*self._hung_up_on(), *self._wait(down, now)]
            case SessionState.CONNECTING:
                return self._wait(down, now)
            case _:
                return []

    def _wait(self, cause: LinkDown, now: float) -> list[Effect]:
        self._state = SessionState.WAITING
        self._up = None
        self._cause = None
        if self._up_since is not None and now - self._up_since >= ALONE_AFTER_S:
            self._shared = False
        self._up_since = None
        floor = max(FLOORS_S.get(cause.reason, 0.0), SHARED_FLOOR_S if self._shared else 0.0)
        # The floor comes on top of the jitter, else all terminals that share a fault would return in step.
        delay = floor + self._backoff.spread(SPREADS_S.get(cause.reason, 0.0)) + self._backoff.next_delay(now)
        return [Retry(cause, delay, self._backoff.failures), SetTimer(delay)]

    def _stop(self) -> list[Effect]:
        match self._state:
            case SessionState.STOPPING | SessionState.STOPPED:
                return []
            case SessionState.IDLE | SessionState.WAITING:
                self._state = SessionState.STOPPED
                return [CancelTimer(), Stopped()]
            case SessionState.CLOSING:
                self._state = SessionState.STOPPING
                return []
            case state:
                self._state = SessionState.STOPPING
                effects: list[Effect] = [CancelTimer()]
                if state is SessionState.UP:
                    effects.append(TellDown(LinkDown(DownReason.STOPPED, "stopped")))
                return [*effects, CloseLink(clean=True)]

    def _has_open_link(self) -> bool:
        return self._state in {SessionState.CONNECTING, SessionState.SUBSCRIBING, SessionState.UP}

    def _what_is_late(self) -> str:
        what = "CONNACK" if self._state is SessionState.CONNECTING else "SUBACK"
        return f"no {what} within the connect timeout"

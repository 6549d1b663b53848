"""Which cue is on the screens: a pure state machine over the table of ``docs/screen-link.md``.

Takes ``(event, now)``, returns what to present. It never leaves a screen without a cue and never emits one without a
time to live: a display that hears nothing for that long falls back to its own static picture.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType


class CueName(StrEnum):
    """What a screen is asked to show; the same words as ``edge_agent.models.Cue`` (kept equal by a test)."""

    INVITE = "invite"
    READING = "reading"
    THANKS = "thanks"
    UNLOCK = "unlock"
    RETRY = "retry"
    RESTING = "resting"
    FAULT = "fault"
    IDENTIFY = "identify"
    QUIET = "quiet"


class Lang(StrEnum):
    """The languages of a screen."""

    ZH_CN = "zh-CN"
    EN = "en"


MAX_TTL_MS = 0xFFFF
MAX_LEVEL = 100
# An unlit screen looks broken: brightness is never driven below this.
MIN_LEVEL = 5

# Seconds after which a cue falls back. The lasting ones stand here too: shown as the answer to one tap they last this
# long, raised by SetLasting they last until they are taken back.
HOLD_S = MappingProxyType(
    {
        CueName.READING: 2.0,
        CueName.THANKS: 3.0,
        CueName.UNLOCK: 3.0,
        CueName.RETRY: 3.0,
        CueName.RESTING: 3.0,
        CueName.FAULT: 3.0,
        CueName.IDENTIFY: 30.0,
    }
)
MAX_TRY_S = 5.0
# A tap's answers that wear the advert's colours.
_OF_THE_ADVERT = frozenset({CueName.READING, CueName.THANKS})
# The display's own fall back comes this much later than ours, so that ours normally wins and nothing flickers.
GRACE_S = 0.5
# Base cues are sent again three times within their time to live: two lost frames change nothing.
BASE_TTL_S = 12.0
BASE_RESEND_S = 4.0

_LASTING_BY_PRIORITY = (CueName.FAULT, CueName.RESTING)
LASTING = frozenset(_LASTING_BY_PRIORITY)
# A display that showed one of these rests when nobody speaks to it any more; after all others it invites.
WITHOUT_INVITATION = LASTING | {CueName.QUIET}


@dataclass(frozen=True, slots=True)
class Words:
    """One text in both languages; where it is empty the display uses its own words."""

    zh: str = ""
    en: str = ""

    def said_in(self, lang: Lang) -> str:
        """The text in this language."""
        return self.zh if lang is Lang.ZH_CN else self.en


@dataclass(frozen=True, slots=True)
class Advert:
    """What the advert that is showing asks of the screens.

    Its own words for the invitation, and for a `thanks` that has no text; two colours (``#rrggbb``) for a page; without
    a reward there is no invitation, and the cue `quiet` stands in its place.
    """

    invite: Words = Words()
    thanks: Words = Words()
    colours: tuple[str, str] | None = None
    reward: bool = True


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue as a link sends it: ``ttl_ms`` 1-65535, brightness ``level`` 0-100, ``amount`` ready to show.

    ``text`` is for every language, ``words`` stand in its place while it is empty; ``colours`` are the advert's.
    """

    name: CueName
    text: str = ""
    amount: str | None = None
    ttl_ms: int = int(BASE_TTL_S * 1000)
    level: int = MAX_LEVEL
    words: Words = Words()
    colours: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.ttl_ms <= MAX_TTL_MS:
            raise ValueError(f"ttl_ms {self.ttl_ms} is outside 1-{MAX_TTL_MS}")
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"level {self.level} is outside 0-{MAX_LEVEL}")

    def text_in(self, lang: Lang) -> str:
        """What a display of this language says."""
        return self.text or self.words.said_in(lang)


@dataclass(frozen=True, slots=True)
class Show:
    """Show a cue for its hold time; INVITE (or QUIET) takes back what is shown for a tap."""

    name: CueName
    text: str = ""
    amount: str | None = None


@dataclass(frozen=True, slots=True)
class Try:
    """Show a cue to a technician for ``seconds``, below every tap's answer; None ends it.

    Nobody may take it for true: ``text`` says that it is a test, it is short, and the first tap, IDENTIFY, or a lasting
    state that begins, ends it.
    """

    name: CueName | None
    text: str = ""
    seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class SetLasting:
    """Raise or take back RESTING or FAULT; ``text`` is its reason (the fault class)."""

    name: CueName
    on: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class SetLevel:
    """Set the brightness, 0-100; raised to MIN_LEVEL."""

    level: int


@dataclass(frozen=True, slots=True)
class SetAdvert:
    """Another advert is showing; what is shown for a tap stays as it is."""

    advert: Advert


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed: send it at ``CueMachine.due`` at the latest."""


CueEvent = Show | Try | SetLasting | SetLevel | SetAdvert | Tick


@dataclass(frozen=True, slots=True)
class Present:
    """Effect: every link shows this cue now."""

    cue: Cue


@dataclass(frozen=True, slots=True)
class _Timed:
    cue: Cue
    until: float


class CueMachine:
    """identify over a tap's answer over fault over resting over invite, or quiet where the advert has no reward.

    What a technician tries stands below identify and the answers, and over the rest, for as long as none of them comes.

    A tap's answer stands above the lasting states because it tells one person about a tap that really happened; only
    "hold still" is withdrawn at once when a lasting state begins.
    """

    def __init__(self) -> None:
        self.current = Cue(CueName.INVITE)
        self.due = 0.0
        """Monotonic seconds of the next Tick."""
        self.trying = False
        """Whether what is shown is only tried by a technician."""
        self._identify: _Timed | None = None
        self._answer: _Timed | None = None
        self._tried: _Timed | None = None
        self._lasting: dict[CueName, str] = {}
        self._level = MAX_LEVEL
        self._advert = Advert()

    @property
    def base(self) -> CueName:
        """The cue that stays when nothing happens."""
        unless = CueName.INVITE if self._advert.reward else CueName.QUIET
        return next((name for name in _LASTING_BY_PRIORITY if name in self._lasting), unless)

    def may_try(self, now: float) -> bool:
        """Whether no tap's answer and no IDENTIFY is on the screens, which a try would not be seen beside."""
        return self._top(now) in (None, self._tried)

    def handle(self, event: CueEvent, now: float) -> list[Present]:
        """Take one event at ``now`` (monotonic seconds); nothing comes back while the screens are right."""
        asked = False
        match event:
            case Show(name=CueName.INVITE | CueName.QUIET):
                self._answer = None
            case Show(name=name):
                asked = self._start(event, now + HOLD_S[name])
            case Try(name=None):
                self._tried = None
            case Try(name=CueName() as name):
                asked = self._try(event, name, now)
            case SetLasting(name=name):
                self._set_lasting(name, on=event.on, text=event.text)
            case SetLevel(level=level):
                self._level = min(max(level, MIN_LEVEL), MAX_LEVEL)
            case SetAdvert(advert=advert):
                self._advert = advert
            case Tick():
                pass
        return self._settle(now, asked=asked)

    def _start(self, event: Show, until: float) -> bool:
        advert = self._advert if event.name in _OF_THE_ADVERT else Advert()
        words = advert.thanks if event.name is CueName.THANKS else Words()
        timed = _Timed(Cue(event.name, event.text, event.amount, words=words, colours=advert.colours), until)
        self._tried = None
        if event.name is CueName.IDENTIFY:
            self._identify = timed
            return True
        self._answer = timed
        return self._identify is None

    def _try(self, event: Try, name: CueName, now: float) -> bool:
        if not 0 < event.seconds <= MAX_TRY_S:
            raise ValueError(f"a try lasts {MAX_TRY_S:g} s at most")
        if not self.may_try(now):
            return False
        self._tried = _Timed(Cue(name, event.text), now + event.seconds)
        return True

    def _set_lasting(self, name: CueName, *, on: bool, text: str) -> None:
        if name not in LASTING:
            raise ValueError(f"{name} is not a lasting cue")
        if not on:
            self._lasting.pop(name, None)
            return
        if name not in self._lasting:
            self._tried = None  # what begins amid a test is to be seen
        self._lasting[name] = text
        if self._answer and self._answer.cue.name is CueName.READING:
            self._answer = None

    def _base_cue(self) -> Cue:
        base = self.base
        if base is CueName.INVITE:
            return Cue(base, words=self._advert.invite, colours=self._advert.colours, level=self._level)
        return Cue(base, self._lasting.get(base, ""), level=self._level)

    def _top(self, now: float) -> _Timed | None:
        if self._identify and now >= self._identify.until:
            self._identify = None
        if self._answer and now >= self._answer.until:
            self._answer = None
        if self._tried and now >= self._tried.until:
            self._tried = None
        return self._identify or self._answer or self._tried

    def _settle(self, now: float, *, asked: bool) -> list[Present]:
        top = self._top(now)
        if top:
            cue = replace(top.cue, ttl_ms=_milliseconds(top.until - now + GRACE_S), level=self._level)
            next_due = top.until
        else:
            cue = self._base_cue()
            next_due = now + BASE_RESEND_S
        same = replace(cue, ttl_ms=self.current.ttl_ms) == self.current
        if same and not asked and now < self.due:
            return []
        self.current = cue
        self.trying = top is not None and top is self._tried
        self.due = next_due
        return [Present(cue)]


def _milliseconds(seconds: float) -> int:
    return min(max(1, round(seconds * 1000)), MAX_TTL_MS)

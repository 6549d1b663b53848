"""What each phone did at each reader and tag, step by step: a bounded ring for a technician who follows it live. Pure.

It is told on the tap path: one append for each step, never a wait, never an error. No UID, nonce, token or pseudonym
goes in, only how long they are; what a phone sent comes out as hex of bounded length.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, Protocol

LIMIT = 256
MAX_BYTES = 32
"""So many bytes of what a phone sent are told; an ATS of 15 historical bytes has 20."""
EARLY_LIMIT = 16
CUE_WITHIN_S = 10.0
"""A cue that leaves later than this after the newest phone came is told as nobody's."""

Fact = str | int | float | bytes | None


class StepName(StrEnum):
    """What happened; a phone's visit begins with SEEN, and what comes in between depends on the phone."""

    SEEN = "seen"
    """Something is in the field: ``technology``, ``sak``, ``uid_bytes``; at a tag it reads: ``technology`` alone."""
    ATS = "ats"
    """It answered RATS: ``ats``, without its checksum (ISO/IEC 14443-4, 5.2)."""
    ANSWERED = "answered"
    """It answered SELECT: ``aid``, ``sw`` (ISO/IEC 7816-4, 5.6), ``ms``."""
    NONCE = "nonce"
    """The app gave its nonce, ``nonce_bytes`` long; ``sub`` is 1 where it gave a pseudonym, too."""
    READ = "read"
    """It has read the ticket of the tag or code."""
    TOKEN = "token"  # noqa: S105 - the name of a step
    """Its token is on disk: ``chain``, ``seq``; ``again`` is 1 where it is the one that it already had."""
    DELIVERED = "delivered"
    """It answered the token: ``sw``, ``ms``; ``receipt`` is 1 where it gave one."""
    CUE = "cue"
    """The first byte of ``cue`` left for ``screen``."""
    SENT = "sent"
    """The broker has it (PUBACK)."""
    STORED = "stored"
    """The receiver confirmed it."""
    ENDED = "ended"
    """The reader is done with it: ``outcome`` is a word of readers.exchange.Outcome, ``why`` says more, if anything."""


class Step(NamedTuple):
    """One step; ``at`` in CLOCK_MONOTONIC seconds, ``visit`` 0 where it is nobody's, ``since`` when the visit began."""

    number: int
    at: float
    visit: int
    where: str
    name: StepName
    since: float
    facts: dict[str, Fact]

    def as_json(self, now: float) -> dict[str, object]:
        """For the control socket: ``ms`` of the visit, ``age_s``, bytes as hex."""
        return {
            "n": self.number,
            "visit": self.visit,
            "where": self.where,
            "step": self.name.value,
            "at_ms": round((self.at - self.since) * 1000, 1),
            "age_s": round(max(0.0, now - self.at), 2),
            **{name: _shown(fact) for name, fact in self.facts.items()},
        }


class Steps(Protocol):
    """Who is told of the steps; nothing here waits or raises. ``now`` is CLOCK_MONOTONIC seconds."""

    def begin(self, where: str, now: float, **facts: Fact) -> int:
        """Something came to this reader or tag; returns the number of its visit."""

    def tell(self, visit: int, name: StepName, now: float, **facts: Fact) -> None:
        """A step of this visit."""

    def token(self, visit: int, now: float, chain: bytes, seq: int, *, again: bool = False) -> None:
        """The token of this visit is on disk."""


class Untold:
    """Steps that nobody follows."""

    def begin(self, where: str, now: float, **facts: Fact) -> int:  # noqa: ARG002 - the port has them
        """Forget it."""
        return 0

    def tell(self, visit: int, name: StepName, now: float, **facts: Fact) -> None:
        """Forget it."""

    def token(self, visit: int, now: float, chain: bytes, seq: int, *, again: bool = False) -> None:
        """Forget it."""


class _Visit(NamedTuple):
    where: str
    since: float


class _Token(NamedTuple):
    visit: int
    told: set[StepName]


class StepRing:
    """The newest steps, at most ``limit``; ``on_new`` hears of each and must not block or raise."""

    def __init__(self, *, limit: int = LIMIT, on_new: Callable[[], None] = lambda: None) -> None:
        self._limit = limit
        self._on_new = on_new
        self._steps: deque[Step] = deque(maxlen=limit)
        self._visits: OrderedDict[int, _Visit] = OrderedDict()
        self._tokens: OrderedDict[tuple[bytes, int], _Token] = OrderedDict()
        self._early: OrderedDict[tuple[bytes, int], list[tuple[StepName, float]]] = OrderedDict()
        self._last_cue: dict[str, str] = {}
        self._visit = 0
        self.newest = 0
        """Number of the newest step; they are counted from 1, without a hole."""

    def begin(self, where: str, now: float, **facts: Fact) -> int:
        """See the port."""
        self._visit += 1
        self._visits[self._visit] = _Visit(where, now)
        while len(self._visits) > self._limit:
            self._visits.popitem(last=False)
        self.tell(self._visit, StepName.SEEN, now, **facts)
        return self._visit

    def tell(self, visit: int, name: StepName, now: float, **facts: Fact) -> None:
        """See the port."""
        where, since = self._visits.get(visit) or _Visit("", now)
        self.newest += 1
        self._steps.append(Step(self.newest, now, visit, where, name, since, facts))
        self._on_new()

    def token(self, visit: int, now: float, chain: bytes, seq: int, *, again: bool = False) -> None:
        """See the port; from now on ``sent`` and ``stored`` find the visit by it."""
        before = self._tokens.pop((chain, seq), None)
        self._tokens[chain, seq] = _Token(visit, set())
        while len(self._tokens) > self._limit:
            self._tokens.popitem(last=False)
        self.tell(visit, StepName.TOKEN, now, chain=chain, seq=seq, **({"again": 1} if again else {}))
        # Of a token that a phone fetches once more nobody says a second time that it went on.
        for name in (StepName.SENT, StepName.STORED):
            if before is not None and name in before.told:
                self.went_on(chain, seq, name, now)
        for name, at in self._early.pop((chain, seq), ()):
            self.went_on(chain, seq, name, at)

    def cue(self, screen: str, cue: str, now: float) -> None:
        """A cue left for a screen; the same one again at once is no news."""
        if self._last_cue.get(screen) == cue:
            return
        self._last_cue[screen] = cue
        newest = self._visits.get(self._visit)
        near = newest is not None and now - newest.since <= CUE_WITHIN_S
        self.tell(self._visit if near else 0, StepName.CUE, now, screen=screen, cue=cue)

    def went_on(self, chain: bytes, seq: int, name: StepName, now: float) -> None:
        """A token was sent or stored: told once. It may be known here a moment before the reader tells of it."""
        if (token := self._tokens.get((chain, seq))) is not None:
            if name not in token.told:
                token.told.add(name)
                self.tell(token.visit, name, now)
            return
        self._early.setdefault((chain, seq), []).append((name, now))
        while len(self._early) > EARLY_LIMIT:
            self._early.popitem(last=False)

    def after(self, number: int) -> list[Step]:
        """Steps newer than ``number`` that are still kept, oldest first."""
        new = min(self.newest - number, len(self._steps))
        return [self._steps[index] for index in range(len(self._steps) - new, len(self._steps))] if new > 0 else []


def _shown(fact: Fact) -> object:
    if isinstance(fact, bytes):
        return fact[:MAX_BYTES].hex()
    return fact

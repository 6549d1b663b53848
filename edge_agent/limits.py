"""How many taps a terminal takes, and how soon one phone may tap again. Pure: (event, now) in, effects out.

A bucket for the whole terminal: ``burst`` taps at once, refilled by ``taps_per_minute``. When it is empty that is a
flood: nothing is taken until it holds a quarter of the burst again, lest the screens flicker, but a minute at most.
A cool-down for whoever has a name: a pseudonym counts from its last tap, a nonce from the last attempt with it, for an
honest app makes a new one once it has its token. It never refuses the same token again: that is no new tap.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

MEMORY_LIMIT = 4096
"""Pseudonyms, and as many nonces, that are remembered; beyond it the oldest may tap too soon."""
TELL_EVERY_S = 600
"""A flood that goes on, or comes again, is told no more often."""

# Everything in whole numbers, so that nothing is rounded away: microseconds, and parts of a tap of which the bucket
# gets `taps_per_minute` in each of them.
_US = 1_000_000
_TAP = 60 * _US

_Key = TypeVar("_Key")
_Name = tuple[bytes, bytes | None]
"""Nonce and, where the app gives one, its pseudonym."""


class Refusal(StrEnum):
    """Why a tap is not taken."""

    COOLING = "cooling"
    FLOOD = "flood"


@dataclass(frozen=True, slots=True)
class NewTap:
    """Somebody wants a token; taken unless Refuse is among the effects."""

    nonce: bytes | None
    sub: bytes | None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A nonce got the token again that it already has."""

    nonce: bytes
    sub: bytes | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A tap that was taken at ``at`` is on disk."""

    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A tap that was taken at ``at`` could not be stored: it never happened."""

    nonce: bytes | None
    sub: bytes | None
    at: float


@dataclass(frozen=True, slots=True)
class Look:
    """Time passed; wanted about once a second."""


Event = NewTap | Repeated | Kept | Failed | Look


@dataclass(frozen=True, slots=True)
class Refuse:
    """This tap is not taken."""

    reason: Refusal


@dataclass(frozen=True, slots=True)
class Rest:
    """The screens rest, or invite again."""

    on: bool


@dataclass(frozen=True, slots=True)
class TellFlood:
    """A person must hear of it: how many were refused, in how many floods, since that was told last."""

    refused: int
    floods: int


@dataclass(frozen=True, slots=True)
class FloodOver:
    """How many were refused in this flood, and how long it lasted, in seconds."""

    refused: int
    lasted_s: float


Effect = Refuse | Rest | TellFlood | FloodOver


class TapLimits:
    """The limits of one terminal; ``cooldown_s`` = 0 knows no cool-down. All times are CLOCK_MONOTONIC seconds."""

    def __init__(self, *, taps_per_minute: int, burst: int, cooldown_s: float) -> None:
        self._bucket = _Bucket(taps_per_minute, burst)
        self._cooldown = round(cooldown_s * _US)
        self._subs = _Seen[bytes](self._cooldown)
        self._nonces = _Seen[_Name](self._cooldown)
        self._flood: int | None = None
        self._refused_in_flood = 0
        self._untold = 0
        self._floods = 0
        self._told: int | None = None
        self.refused = dict.fromkeys(Refusal, 0)
        """Taps refused so far, by reason."""

    @property
    def flooded(self) -> bool:
        """Whether nothing is taken at the moment."""
        return self._flood is not None

    def handle(self, event: Event, now: float) -> tuple[Effect, ...]:
        """Take one event and return what follows of it, in order."""
        at = round(now * _US)
        self._bucket.refill(at)
        effects = self._look(at)
        match event:
            case NewTap():
                effects += self._new_tap(event, at)
            case Repeated():
                self._nonces.note((event.nonce, event.sub), at)
            case Kept():
                self._bucket.keep(round(event.at * _US))
            case Failed():
                self._bucket.give_back(round(event.at * _US))
                self._forget(event)
            case Look():
                pass
        return effects

    def _new_tap(self, tap: NewTap, at: int) -> tuple[Effect, ...]:
        name = (tap.nonce, tap.sub) if tap.nonce is not None else None
        replayed = name is not None and self._nonces.lately(name, at)
        if name is not None and replayed:
            self._nonces.note(name, at)
        if replayed or (tap.sub is not None and self._subs.lately(tap.sub, at)):
            self.refused[Refusal.COOLING] += 1
            return (Refuse(Refusal.COOLING),)
        if self._flood is not None or not self._bucket.take(at):
            return self._refuse_flood(at)
        if name is not None:
            self._nonces.note(name, at)
        if tap.sub is not None:
            self._subs.note(tap.sub, at)
        return ()

    def _refuse_flood(self, at: int) -> tuple[Effect, ...]:
        begins = self._flood is None
        if begins:
            self._flood = at
            self._refused_in_flood = 0
            self._floods += 1
        self.refused[Refusal.FLOOD] += 1
        self._refused_in_flood += 1
        self._untold += 1
        return ((Rest(on=True),) if begins else ()) + self._tell(at) + (Refuse(Refusal.FLOOD),)

    def _look(self, at: int) -> tuple[Effect, ...]:
        if self._flood is None:
            return ()
        if not self._bucket.has_room:
            return self._tell(at)
        over = FloodOver(self._refused_in_flood, (at - self._flood) / _US)
        self._flood = None
        return (Rest(on=False), over)

    def _tell(self, at: int) -> tuple[Effect, ...]:
        if not self._untold or (self._told is not None and at - self._told < TELL_EVERY_S * _US):
            return ()
        told = TellFlood(self._untold, max(1, self._floods))
        self._told = at
        self._untold = self._floods = 0
        return (told,)

    def _forget(self, tap: Failed) -> None:
        at = round(tap.at * _US)
        if tap.nonce is not None:
            self._nonces.take_back((tap.nonce, tap.sub), at)
        if tap.sub is not None:
            self._subs.take_back(tap.sub, at)


@dataclass(slots=True)
class _Open:
    """A tap whose commit has not ended, and what the bucket gets back if it fails."""

    at: int
    credit: int


class _Bucket:
    """Full at first. In any time t no more than ``burst + rate * t`` taps are taken and kept, whatever fails when."""

    def __init__(self, taps_per_minute: int, burst: int) -> None:
        self._rate = taps_per_minute
        self._size = burst * _TAP
        self._level = self._size
        self._at: int | None = None
        self._open: list[_Open] = []

    @property
    def has_room(self) -> bool:
        """Whether a quarter is there again, or what a minute brings, and a whole tap."""
        return self._level >= max(min(self._size // 4, self._rate * _TAP), _TAP)

    def refill(self, at: int) -> None:
        if self._at is not None:
            self._level = min(self._size, self._level + max(0, at - self._at) * self._rate)
        self._at = at
        # Level and credits are never more than a full bucket: time that fills it uses the credits up, as if the taps
        # that fail later had never been.
        excess = self._level + sum(tap.credit for tap in self._open) - self._size
        for tap in self._open:
            cut = min(tap.credit, max(0, excess))
            tap.credit -= cut
            excess -= cut

    def take(self, at: int) -> bool:
        if self._level < _TAP:
            return False
        self._level -= _TAP
        self._open.append(_Open(at, _TAP))
        return True

    def keep(self, at: int) -> None:
        self._close(at)

    def give_back(self, at: int) -> None:
        self._level += self._close(at)

    def _close(self, at: int) -> int:
        tap = next(tap for tap in self._open if tap.at == at)
        self._open.remove(tap)
        return tap.credit


class _Seen(Generic[_Key]):
    """When each was seen last; forgotten after ``life`` microseconds, and when there are too many."""

    def __init__(self, life: int) -> None:
        self._life = life
        self._last: OrderedDict[_Key, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def lately(self, key: _Key, at: int) -> bool:
        return key in self._last and at - self._last[key] < self._life

    def note(self, key: _Key, at: int) -> None:
        self._last.pop(key, None)  # the newest is the last
        self._last[key] = at
        while self._last:
            oldest = next(iter(self._last))
            if at - self._last[oldest] < self._life and len(self._last) <= MEMORY_LIMIT:
                return
            del self._last[oldest]

    def take_back(self, key: _Key, at: int) -> None:
        if self._last.get(key) == at:
            del self._last[key]

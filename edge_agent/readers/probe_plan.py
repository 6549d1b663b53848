"""How `edge-agent reader probe` finds out what a line speaks: which speeds in which order, what counts as proof. Pure.

Whoever listens faster than the reader speaks hears every byte of it as some other byte, and how long the line is low at
its beginning tells the speed. So listening begins at the fastest, and only a burst that fits no profile moves it on.
Numbers are counted, never looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.readers.profiles.base import FaultKind, Parser, ProfileSettings, Reading
from edge_agent.readers.profiles.make import make_parser

LISTEN_BAUDS = (115200, 9600, 19200, 38400, 57600)
"""The fastest, which hears all others, then what UID readers are delivered with, the commonest first."""
CCID_BAUDS = (9600, 115200, 57600, 38400, 19200)
"""ACS readers leave the factory at 9600."""

QUIET_S = 0.15
"""A line that is silent for so long has ended what it said; a USB converter holds bytes back for 16 ms."""
LONGEST_S = 0.8
"""A reader that repeats itself while a card is there is judged without waiting for silence; some do so every 65 ms."""
LONGEST_BYTES = 512
PROVEN = 3
"""So many frames of one profile without a fault need no more."""
_LEAST_LINE = 5  # a number of four characters and its end


@dataclass(frozen=True, slots=True)
class Candidate:
    """A profile as it could be set; ``checked`` where a frame carries a check byte."""

    settings: ProfileSettings
    checked: bool = True

    def __str__(self) -> str:
        settings = self.settings
        if settings.profile != "aa_bb":
            return settings.profile
        frame = f"{settings.head.hex().upper()}..{settings.tail.hex().upper()}"
        return f"aa_bb ({frame}, length of the {settings.length}, check byte {settings.checksum})"


def _aa_bb(head: str, tail: str) -> tuple[Candidate, ...]:
    ends = bytes.fromhex(head), bytes.fromhex(tail)
    return tuple(
        Candidate(ProfileSettings("aa_bb", head=ends[0], tail=ends[1], length=length, checksum=checksum))
        for checksum in ("xor", "sum")
        for length in ("payload", "frame")
    )


CANDIDATES = (
    Candidate(ProfileSettings("stx_etx_hex")),
    *_aa_bb("AA", "BB"),
    *_aa_bb("02", "03"),
    Candidate(ProfileSettings("ascii_line"), checked=False),
    Candidate(ProfileSettings("aa_bb", checksum="none"), checked=False),
    Candidate(ProfileSettings("aa_bb", length="frame", checksum="none"), checked=False),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What one candidate made of the ``heard`` bytes: good frames, and faults."""

    candidate: Candidate
    good: int
    faults: int
    heard: int

    @property
    def plausible(self) -> bool:
        """Whether this can be what the reader speaks.

        The frame that listening began in the middle of is one fault. A line of text has no check: it must not be
        shorter than a number, and noise must not outweigh it.
        """
        if self.candidate.checked:
            return self.good >= max(1, self.faults)
        return self.good > self.faults and self.heard >= _LEAST_LINE * self.good


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the line speaks, at which speed, by how many frames; ``also`` are candidates for which as much speaks."""

    candidate: Candidate
    baud: int
    good: int
    also: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Speed:
    """Listen at this speed from now on."""

    baud: int


@dataclass(frozen=True, slots=True)
class HoldAgain:
    """The reader has said something that made no sense at the last speed, and is silent: it needs a card again."""


Effect = Verdict | Speed | HoldAgain


def judge(tallies: Sequence[Tally], baud: int) -> Verdict | None:
    """Weigh the candidates: a check byte counts for more than many frames, then good frames less faults."""
    plausible = [tally for tally in tallies if tally.plausible]
    if not plausible:
        return None
    best = max(plausible, key=_weight)
    also = tuple(other.candidate for other in plausible if other is not best and _weight(other) == _weight(best))
    return Verdict(best.candidate, baud, best.good, also)


def _weight(tally: Tally) -> tuple[bool, int]:
    return tally.candidate.checked, tally.good - tally.faults


@dataclass(slots=True)
class _Ear:
    """One candidate's parser at one speed."""

    candidate: Candidate
    parser: Parser = field(init=False)
    good: int = 0
    faults: int = 0

    def __post_init__(self) -> None:
        self.parser = make_parser(self.candidate.settings)

    def take(self, data: bytes | None) -> None:
        """Bytes, or None for silence."""
        for event in self.parser.idle() if data is None else self.parser.feed(data):
            if isinstance(event, Reading):
                self.good += 1
            elif event.kind is not FaultKind.NO_CARD:
                self.faults += 1
            elif self.candidate.checked:
                self.good += 1  # a sound frame that says that there is no card


def lead(byte: int) -> int:
    """Return for how many of its own bits a receiver saw the line low when this byte began; 9 means 9 or more."""
    return 9 if byte == 0 else (byte & -byte).bit_length()


class Listening:
    """One line, until something on it is understood. Begins at the first of ``bauds``, which is the fastest."""

    def __init__(self, bauds: Sequence[int] = LISTEN_BAUDS, candidates: Sequence[Candidate] = CANDIDATES) -> None:
        self._bauds = tuple(bauds)
        self._untried = list(bauds[1:])
        self.baud = bauds[0]
        """The speed to listen at."""
        self._candidates = tuple(candidates)
        self.heard_at: dict[int, int] = {}
        """Bytes by speed: what spoke and was not understood."""
        self._done = False
        self._lead = 9
        self._begin()

    def heard(self, data: bytes, now: float) -> tuple[Effect, ...]:
        """Take bytes of the line at ``now`` (CLOCK_MONOTONIC seconds); return what is to be done."""
        if self._done or not data:
            return ()
        if not self._heard:
            self._since = now
        self._last = now
        self._heard += len(data)
        self.heard_at[self.baud] = self.heard_at.get(self.baud, 0) + len(data)
        self._lead = min(self._lead, *map(lead, data))
        for ear in self._ears:
            ear.take(data)
        proven = any(ear.good >= PROVEN and not ear.faults for ear in self._ears if ear.candidate.checked)
        if proven or self._heard >= LONGEST_BYTES or now - self._since >= LONGEST_S:
            return self._judge(again=False)
        return ()

    def quiet(self, now: float) -> tuple[Effect, ...]:
        """Nothing has come; return what is to be done."""
        if self._done or not self._heard or now - self._last < QUIET_S:
            return ()
        for ear in self._ears:
            ear.take(None)
        return self._judge(again=True)

    def _judge(self, *, again: bool) -> tuple[Effect, ...]:
        tallies = [Tally(ear.candidate, ear.good, ear.faults, self._heard) for ear in self._ears]
        verdict = judge(tallies, self.baud)
        if verdict is not None:
            self._done = True
            return (verdict,)
        self.baud = self._next()
        self._begin()
        return (Speed(self.baud), HoldAgain()) if again else (Speed(self.baud),)

    def _next(self) -> int:
        """The speed that the first bits speak for, if this one hears all; else the next that was not tried."""
        if not self._untried:
            self._untried = list(self._bauds[1:])
            return self._bauds[0]
        guess = self._untried[0]
        if self.baud == self._bauds[0]:
            guess = min(self._untried, key=lambda baud: abs(min(self.baud / baud, 9) - self._lead))
        self._untried.remove(guess)
        return guess

    def _begin(self) -> None:
        self._ears = [_Ear(candidate) for candidate in self._candidates]
        self._heard = 0
        self._lead = 9
        self._since = self._last = 0.0

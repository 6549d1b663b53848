"""When damaged bytes on a reader's line are worth a word, and when they mean a wrong setting. Pure.

A reader that works in a noisy cabinet must go on; one that never said a number and brings nothing but damage has the
wrong speed or profile, and says so.
"""

from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto

from edge_agent.readers.profiles.base import FaultKind

NEVER_READ_LIMIT = 12
"""Damaged frames after which a line that never brought a number is given up."""
NEVER_READ_FADE_S = 60.0
"""One of them is forgotten in so many seconds: stray noise does not add up over a quiet night."""
ONCE_READ_LIMIT = 1000
ONCE_READ_FADE_S = 1.0
"""The same for a line that did bring numbers: sixteen minutes of nothing but damage at two a second."""
TELL_EVERY_S = 60.0

# A reader that says that it sees no card is well.
_NO_DAMAGE = frozenset({FaultKind.NO_CARD})


class Verdict(Enum):
    """What to do about the faults so far."""

    GO_ON = auto()
    TELL = auto()
    """Log ``counts``; at most once in TELL_EVERY_S."""
    GIVE_UP = auto()


class NoiseWatch:
    """One line, over all its openings."""

    def __init__(self) -> None:
        self.counts: Counter[FaultKind] = Counter()
        """Faults by kind since the beginning."""
        self._level = 0.0
        self._faded_at = 0.0
        self._told_at: float | None = None
        self.works = False
        """Whether a number was ever read: speed and profile are right."""

    def opened(self, now: float) -> None:
        """The line was opened: what was on it before counts no longer."""
        self._level = 0.0
        self._faded_at = now

    def read(self) -> None:
        """A number came."""
        self.works = True
        self._level = 0.0

    def faults(self, kinds: Iterable[FaultKind], now: float) -> Verdict:
        """Take what was thrown away at ``now``."""
        kinds = list(kinds)
        self.counts.update(kinds)
        damaged = sum(kind not in _NO_DAMAGE for kind in kinds)
        if not damaged:
            return Verdict.GO_ON
        limit, fade_s = (ONCE_READ_LIMIT, ONCE_READ_FADE_S) if self.works else (NEVER_READ_LIMIT, NEVER_READ_FADE_S)
        self._level = max(0.0, self._level - (now - self._faded_at) / fade_s) + damaged
        self._faded_at = now
        if self._level >= limit:
            return Verdict.GIVE_UP
        if self._told_at is None or now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            return Verdict.TELL
        return Verdict.GO_ON

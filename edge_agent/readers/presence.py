"""When a phone has really left, and when a lost one may try again without leaving. Pure: (observation, now) in.

A phone held for a minute is one tap, and so is a phone that loses the field for a blink; but a person who moved away
too soon and is asked to hold longer must be served as soon as the phone is back, or still there.
"""

GONE_AFTER_S = 0.3
"""Longer than a dropout by a moving hand, shorter than the next person needs to step up."""

RETRY_FOR_S = 4.0
"""More than two whole budgets of 1.5 s: whoever is still there after that lifts the phone and tries again."""
RETRY_WITHIN_S = 1.0


class Presence:
    """Debounces presence checks: gone means not seen for ``gone_after_s`` seconds, and at least twice in a row."""

    def __init__(self, *, gone_after_s: float = GONE_AFTER_S) -> None:
        self._gone_after_s = gone_after_s
        self._missed_since: float | None = None

    def observe(self, *, present: bool, now: float) -> bool:
        """Take one check; return True when the phone or card has left."""
        if present:
            self._missed_since = None
            return False
        if self._missed_since is None:
            self._missed_since = now
            return False
        return now - self._missed_since >= self._gone_after_s


class RetryAllowance:
    """How long a phone that keeps being lost may start again at once.

    People approach slowly: the first seconds of a phone at the edge of the field are all failures. Without an end,
    though, a broken card left on the reader would be asked for ever. So a series of losses, each session begun within
    ``within_s`` of the end of the one before, may go on for ``for_s`` seconds; then the field must be empty once.
    """

    def __init__(self, *, for_s: float = RETRY_FOR_S, within_s: float = RETRY_WITHIN_S) -> None:
        self._for_s = for_s
        self._within_s = within_s
        self._began = 0.0
        self._ended: float | None = None

    def lost(self, seen_at: float, now: float) -> bool:
        """A session seen at ``seen_at`` was lost; return whether the next one may start without an empty field."""
        if self._ended is None or seen_at - self._ended > self._within_s:
            self._began = seen_at
        self._ended = now
        return now - self._began < self._for_s

    def served(self) -> None:
        """A session ended properly, or the field was empty: the next loss begins a new series."""
        self._ended = None

"""One kind of news that may come as a flood: said at once, then seldom, the last of it always. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

Say = Callable[[int], None]
"""Says something, with the count of those before it that were left out."""


@dataclass(slots=True)
class Pace:
    """Says one thing in ``every_s`` at most; every ``now`` is in CLOCK_MONOTONIC seconds."""

    every_s: float
    _next: float = -inf
    _left_out: int = 0
    _newest: Say | None = None

    @property
    def due(self) -> float:
        """When ``look`` is wanted; infinity while nothing waits."""
        return inf if self._newest is None else self._next

    def say(self, say: Say, now: float) -> None:
        """Say it now, or later if there was news of this kind just before; then it takes the place of what waits."""
        self._left_out += self._newest is not None
        self._newest = say
        self.look(now)

    def look(self, now: float) -> None:
        """Say what waits, if its time has come."""
        if self._newest is None or now < self._next:
            return
        say, left_out = self._newest, self._left_out
        self._newest, self._left_out, self._next = None, 0, now + self.every_s
        say(left_out)


def left_out(count: int) -> dict[str, int]:
    """Return the field that tells of others before it; none where there were none."""
    return {"left_out": count} if count else {}

"""How bright the screens are: a command's level until its end, else the schedule's, else full. Pure.

Takes ``(event, now)``, returns the level that holds. A clock that is not trusted may show any day: then the schedule
says nothing, for a screen that is too dark at noon invites nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.windows import LocalTime, Tick, Window, until_next_look

FULL = 100


@dataclass(frozen=True, slots=True)
class TimedLevel:
    """A [[brightness]] table: this ``level``, 5 to 100, while ``window`` holds."""

    window: Window
    level: int


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command's ``level``, 5 to 100, for ``for_s`` seconds; it takes the place of the one before."""

    level: int
    for_s: float


class Brightness:
    """The level of all screens; every ``now`` is in CLOCK_MONOTONIC seconds."""

    def __init__(self, schedule: Sequence[TimedLevel] = ()) -> None:
        self._schedule = tuple(schedule)
        self._local: LocalTime | None = None
        self._look_at = 0.0
        self._command: tuple[int, float] | None = None

    @property
    def due(self) -> float:
        """When the next Tick is wanted at the latest: the end of a command, or the next minute of the schedule."""
        return self._look_at if self._command is None else min(self._look_at, self._command[1])

    def handle(self, event: Tick | Commanded, now: float) -> int:
        """Take one event and return the level, 5 to 100; of several windows that hold the first one counts."""
        match event:
            case Tick(local=local):
                self._local = local
                self._look_at = now + until_next_look(local)
            case Commanded(level=level, for_s=for_s):
                self._command = (level, now + for_s)
        if self._command is not None and now >= self._command[1]:
            self._command = None
        return self._scheduled() if self._command is None else self._command[0]

    def _scheduled(self) -> int:
        if self._local is None:
            return FULL
        return next((timed.level for timed in self._schedule if timed.window.contains(self._local)), FULL)

"""What a player tells of the advert on the screen, and what is showing: the values that cross this room. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.models import ComponentState

LONGEST_S = 86_400.0
"""A player's word holds for a day at most: one that has died must not claim the taps of the next one."""


class Source(StrEnum):
    """Who told which campaign is showing."""

    SOCKET = "socket"
    HTTP = "http"
    FILE = "file"
    SCHEDULE = "schedule"
    """A [[campaigns]] table whose time it is."""
    TERMINAL = "terminal"
    """`campaign` of [terminal]."""


@dataclass(frozen=True, slots=True)
class Told:
    """A player's word: this campaign (1-16 bytes) is showing for ``life_s`` more seconds, more than 0 to LONGEST_S.

    None takes the word before back, the file's only where it is the file's: the schedule holds again.
    """

    campaign: str | None
    life_s: float
    source: Source


@dataclass(frozen=True, slots=True)
class Showing:
    """What is on the screen at one moment.

    ``campaign`` is the one that a tap is counted for now, ``source`` who told it; both None where nobody did.
    ``until_s`` are the seconds, more than 0, after which it ends by itself; None where it has no end of its own.
    """

    campaign: str | None
    source: Source | None
    until_s: float | None


Tell = Callable[[Told], None]
"""Takes a player's word; never waits and never fails."""
Look = Callable[[], Showing]
"""What is showing now."""
Report = Callable[[ComponentState, str], None]
"""How a door is, in one line for a technician."""

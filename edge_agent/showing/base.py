"""What a player tells of the advert on the screen: the value that crosses this room. Pure."""

from dataclasses import dataclass
from enum import StrEnum

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

    None takes the word before back: the schedule holds again.
    """

    campaign: str | None
    life_s: float
    source: Source

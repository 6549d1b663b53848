"""Weekdays and times of day in the machine's local time, as a person writes them: ``mon-fri 07:00-09:30``. Pure.

A window over midnight belongs to the day on which it begins: ``fri 22:00-06:30`` ends on Saturday. Where a clock is
put forward or back, the local time simply jumps: a window is true whenever the clock on the wall is in it.
"""

import datetime as dt
import re
from dataclasses import dataclass
from itertools import groupby
from typing import Self

from edge_agent.sanitize import printable

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST = 64
"""Characters of a window at most."""
UNTRUSTED_LOOK_S = 10.0
"""So soon a clock that is not trusted is looked at again."""

_DAY_MINUTES = 24 * 60
_EVERY_DAY = frozenset(range(len(DAYS)))
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)


class WindowError(ValueError):
    """The text is no window; says what is wrong and what to write."""


@dataclass(frozen=True, slots=True)
class LocalTime:
    """What the clock on the wall says: ``weekday`` 0 (Monday) to 6, ``second`` of the day, 0 to 86399."""

    weekday: int
    second: int

    @classmethod
    def of(cls, moment: dt.datetime) -> Self:
        """The local time that ``moment`` shows, whatever its zone is."""
        return cls(moment.weekday(), moment.hour * 3600 + moment.minute * 60 + moment.second)

    @property
    def minute(self) -> int:
        """Minute of the day, 0 to 1439."""
        return self.second // 60


@dataclass(frozen=True, slots=True)
class Tick:
    """Event: the wall clock was looked at; ``local`` None where it is not trusted (it may show any day)."""

    local: LocalTime | None


@dataclass(frozen=True, slots=True)
class Window:
    """Some days, and a time on each of them: from ``begin`` until before ``end``, in minutes of the day.

    ``begin`` is 0 to 1439 and ``end`` 1 to 1440; an ``end`` that is not after ``begin`` is on the next day.
    """

    days: frozenset[int] = _EVERY_DAY
    begin: int = 0
    end: int = _DAY_MINUTES

    def __post_init__(self) -> None:
        right = 0 <= self.begin < _DAY_MINUTES and 0 < self.end <= _DAY_MINUTES and self.begin != self.end
        if not right or not self.days or not self.days <= _EVERY_DAY:
            raise ValueError(f"no window: days {sorted(self.days)}, minutes {self.begin} to {self.end}")

    @property
    def over_midnight(self) -> bool:
        """Whether it ends on the day after."""
        return self.end < self.begin

    def contains(self, local: LocalTime) -> bool:
        """Whether it holds at this local time; its first second belongs to it, its end does not."""
        minute = local.minute
        if not self.over_midnight:
            return local.weekday in self.days and self.begin <= minute < self.end
        return (local.weekday in self.days and minute >= self.begin) or (
            (local.weekday - 1) % len(DAYS) in self.days and minute < self.end
        )

    def __str__(self) -> str:
        """As a person writes it; ``parse`` reads it back."""
        every_day, all_day = self.days == _EVERY_DAY, (self.begin, self.end) == (0, _DAY_MINUTES)
        days = "" if every_day and not all_day else _printed_days(self.days)
        return f"{days} {'' if all_day else f'{_printed(self.begin)}-{_printed(self.end)}'}".strip()


def parse(text: str) -> Window:
    """Read ``DAYS``, ``HH:MM-HH:MM`` or both with a blank between them; raises WindowError.

    DAYS are names and ranges with commas, ``mon-thu,sun``; a range may go over the end of the week, ``sat-mon``.
    """
    parts = text.lower().split()
    if not 0 < len(parts) <= 2 or len(text) > LONGEST:
        what = "it is empty" if not parts else f"it is longer than {LONGEST} characters or has more than two parts"
        raise WindowError(f"{what}: write days, a time or both with a blank between them")
    if len(parts) == 2 and ":" in parts[0]:
        raise WindowError("the time comes first: write the days, a blank, then the time")
    if len(parts) == 2:
        return Window(_days(parts[0]), *_times(parts[1]))
    if ":" in parts[0]:
        return Window(_EVERY_DAY, *_times(parts[0]))
    return Window(_days(parts[0]))


def until_next_look(local: LocalTime | None) -> float:
    """Seconds until a schedule must look at the clock again: no window begins but at a full minute."""
    return UNTRUSTED_LOOK_S if local is None else 60.0 - local.second % 60


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        first, dash, last = item.partition("-")
        begin = _day(first)
        count = (_day(last) - begin) % len(DAYS) + 1 if dash else 1
        found.update((begin + ahead) % len(DAYS) for ahead in range(count))
    return frozenset(found)


def _day(name: str) -> int:
    if name not in DAYS:
        raise WindowError(f'"{printable(name, LONGEST)}" is no weekday: write {", ".join(DAYS[:-1])} or {DAYS[-1]}')
    return DAYS.index(name)


def _times(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not dash:
        raise WindowError(f'"{printable(text, LONGEST)}" has no end: write two times, such as 07:00-09:30')
    begin, end = _minute(first), _minute(last)
    if begin == _DAY_MINUTES:
        raise WindowError('"24:00" can be an end only: write 00:00 for the begin of a day')
    if begin == end:
        raise WindowError(f'"{text}" begins and ends at the same time: write 00:00-24:00 for a whole day')
    return begin, end or _DAY_MINUTES


def _minute(text: str) -> int:
    if not _TIME.fullmatch(text):
        raise WindowError(
            f'"{printable(text, LONGEST)}" is no time of day: write HH:MM from 00:00 to 24:00, such as 07:00'
        )
    return int(text[:2]) * 60 + int(text[3:])


def _printed(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _printed_days(days: frozenset[int]) -> str:
    runs = [[day for _, day in run] for _, run in groupby(enumerate(sorted(days)), key=lambda at: at[1] - at[0])]
    return ",".join(
        f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else ",".join(DAYS[day] for day in run) for run in runs
    )

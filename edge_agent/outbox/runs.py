"""A map from row number to the row's mark, kept as runs of equal neighbours. Pure: no I/O, no clock.

One map holds every row's state, so a row can never be in two states or in none. 100,000 waiting rows are one run;
the cost of an operation follows the number of runs, not of rows.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """Where a row is in its life. 1 to 4 are the values of ``spans.state`` on disk; a row without a span is pending."""

    PENDING = 0
    SENT = 1
    STORED = 2
    """Nobody needs the row any more; it is deleted when deletions are next written."""
    PARKED = 3
    GONE = 4
    """Deleted; its number is never used again."""
    LEASED = 5
    """In the hands of one connection; pending on disk."""


@dataclass(frozen=True, slots=True)
class Mark:
    """State of a row and what belongs to that state."""

    state: State
    at: float = 0.0
    """SENT: when, in the outbox's operating seconds."""
    lease: int = 0
    """LEASED: id of the lease."""
    note: str = ""
    """PARKED: the reason."""


PENDING = Mark(State.PENDING)
STORED = Mark(State.STORED)
GONE = Mark(State.GONE)


@dataclass(frozen=True, slots=True)
class Run:
    """Rows ``first`` to ``last``, both included, that bear the same mark."""

    first: int
    last: int
    mark: Mark

    def __len__(self) -> int:
        return self.last - self.first + 1


class RunMap:
    """Marks of the rows ``first`` to ``end - 1``."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._end = first
        self._starts: list[int] = []
        self._marks: list[Mark] = []
        self._counts = dict.fromkeys(State, 0)
        self._maybe_pending = first  # no row below is pending: the search for the oldest one starts here

    @property
    def first(self) -> int:
        """Lowest row of the map."""
        return self._first

    @property
    def end(self) -> int:
        """The row after the highest one."""
        return self._end

    def count(self, state: State) -> int:
        """Rows in this state."""
        return self._counts[state]

    def extend(self, rows: int, mark: Mark) -> None:
        """Add rows at the end."""
        if rows < 1:
            return
        if not self._marks or self._marks[-1] != mark:
            self._starts.append(self._end)
            self._marks.append(mark)
        self._end += rows
        self._counts[mark.state] += rows

    def mark(self, row: int) -> Mark:
        """Mark of one row; raises IndexError outside of the map."""
        if not self._first <= row < self._end:
            raise IndexError(row)
        return self._marks[bisect_right(self._starts, row) - 1]

    def runs(self, first: int | None = None, last: int | None = None) -> Iterator[Run]:
        """All runs that touch ``first`` to ``last``, cut to these bounds. The map must not change meanwhile."""
        low = self._first if first is None else max(first, self._first)
        high = self._end - 1 if last is None else min(last, self._end - 1)
        index = bisect_right(self._starts, low) - 1
        while low <= high:
            after = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
            yield Run(low, min(high, after - 1), self._marks[index])
            low, index = after, index + 1

    def rewrite(self, change: Callable[[Mark], Mark | None], first: int | None = None, last: int | None = None) -> int:
        """Ask ``change`` for the new mark of every run between the bounds (None keeps it). Returns the rows changed."""
        touched = list(self.runs(first, last))
        marks = [run.mark if (mark := change(run.mark)) is None else mark for run in touched]
        changed = [(run, mark) for run, mark in zip(touched, marks, strict=True) if mark != run.mark]
        if not changed:
            return 0
        low, high = self._cut(touched[0].first), self._cut(touched[-1].last + 1)
        starts: list[int] = []
        joined: list[Mark] = []
        for run, mark in zip(touched, marks, strict=True):  # one pass: thousands of runs may change at once
            if not joined or joined[-1] != mark:
                starts.append(run.first)
                joined.append(mark)
        self._starts[low:high] = starts
        self._marks[low:high] = joined
        for index in (low + len(joined), low):  # equal neighbours become one run
            if 0 < index < len(self._marks) and self._marks[index] == self._marks[index - 1]:
                del self._starts[index], self._marks[index]
        for run, mark in changed:
            self._counts[run.mark.state] -= len(run)
            self._counts[mark.state] += len(run)
            if mark.state is State.PENDING:
                self._maybe_pending = min(self._maybe_pending, run.first)
        return sum(len(run) for run, _ in changed)

    def oldest_pending(self) -> Run | None:
        """The lowest run of pending rows."""
        if not self._counts[State.PENDING]:
            return None
        for run in self.runs(self._maybe_pending):
            if run.mark.state is State.PENDING:
                self._maybe_pending = run.first
                return run
        raise AssertionError("rows are counted as pending that no run holds")

    def forget_gone(self) -> None:
        """Drop the rows at the low end that are GONE."""
        while self._marks and self._marks[0].state is State.GONE:
            after = self._starts[1] if len(self._starts) > 1 else self._end
            self._counts[State.GONE] -= after - self._first
            self._first = after
            del self._starts[0], self._marks[0]

    def _cut(self, row: int) -> int:
        """Make a run start at ``row``; returns its index."""
        index = bisect_left(self._starts, row)
        if row < self._end and (index == len(self._starts) or self._starts[index] != row):
            self._starts.insert(index, row)
            self._marks.insert(index, self._marks[index - 1])
        return index

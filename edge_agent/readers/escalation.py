"""What is tried next on a reader that is deaf: soft reset, reopen, USB reset, and at last a person. Pure.

One ladder for each episode; an episode ends when the reader was well for ``stable_s`` seconds. Opening again goes on
for ever in between. Never a storm: a USB reset comes once in several minutes at most, and each one makes the pause
longer, over the ends of episodes, until the reader was well for ``calm_s`` seconds.
"""

from dataclasses import dataclass

from edge_agent.errors import ReaderFault
from edge_agent.readers.base import Recovery, Step, Tried

_DEAF = frozenset({ReaderFault.NO_ANSWER, ReaderFault.IO, ReaderFault.HANGS})
_GONE = frozenset({ReaderFault.NOT_FOUND, ReaderFault.UNPLUGGED})
_LINE_IS_THERE = frozenset({ReaderFault.NO_ANSWER, ReaderFault.IO})


@dataclass(frozen=True, slots=True)
class Ladder:
    """How patient each rung is. Times in seconds; ``reopens``: so many failures in a row, then the next rung."""

    reopens: int = 3
    usb_first_s: float = 300.0
    """Least time between two USB resets: other devices may hang on the same hub."""
    usb_last_s: float = 3600.0
    tell_after_s: float = 20.0
    """A person hears of it after so long at the earliest: much heals by itself."""
    stable_s: float = 10.0
    calm_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Next:
    """What to do now; ``tell`` is, once in an episode, what a person must hear of, and "" otherwise."""

    step: Step
    tell: str = ""


class Escalation:
    """The ladder of one reader; all times are CLOCK_MONOTONIC seconds given by the caller."""

    def __init__(self, reader: str, ladder: Ladder | None = None) -> None:
        self._reader = reader
        self._ladder = ladder or Ladder()
        self._usb_at: float | None = None
        self._usb_resets = 0  # done since the last calm time
        self._well_since: float | None = None
        self.last = ""
        """What was tried last, and what came of it; "" before anything was."""
        self._begin()

    def _begin(self) -> None:
        self._deaf_since: float | None = None
        self._failures = 0
        self._soft = self._usb = ""
        self._reopened = 0
        self._told = False

    def failed(self, fault: ReaderFault, now: float, *, is_open: bool) -> Next:
        """The reader failed, ``is_open``: while its line was open; return what to do."""
        self._end_what_is_over(now)
        if fault in _DEAF:
            self._deaf_since = now if self._deaf_since is None else self._deaf_since
        # Whoever does not come back from a USB reset is not merely unplugged. All others are well, and out of reach.
        deaf = fault in _DEAF or (fault in _GONE and self._usb != "")
        self._failures += deaf
        if fault in _LINE_IS_THERE and is_open and not self._soft:
            self._soft = "begun"
            self._failures = 0
            return Next(Step.SOFT_RESET)
        stuck = fault is ReaderFault.HANGS or self._failures >= self._ladder.reopens
        if fault in _DEAF and stuck and self._may_reset(now):
            self._usb, self._usb_at = "begun", now
            self._failures = 0
            return Next(Step.USB_RESET)
        tell = self._finding(now) if deaf else ""
        self._reopened += 1
        return Next(Step.REOPEN, tell)

    def ended(self, step: Step, recovery: Recovery) -> None:
        """A soft reset or USB reset is over; what comes next is to open the reader again, or to poll."""
        told = f"{recovery.tried.value}: {recovery.text}" if recovery.text else recovery.tried.value
        self.last = f"{step.value}, {told}"
        if step is Step.SOFT_RESET:
            self._soft = told
        elif step is Step.USB_RESET:
            self._usb = told
            self._usb_resets += recovery.tried is not Tried.IMPOSSIBLE

    def works(self, now: float) -> None:
        """The reader was opened or set up again, and polls."""
        self._well_since = now

    def _end_what_is_over(self, now: float) -> None:
        well_s = 0.0 if self._well_since is None else now - self._well_since
        if self._well_since is not None and well_s >= self._ladder.stable_s:
            self._begin()
        if well_s >= self._ladder.calm_s:
            self._usb_resets = 0
        self._well_since = None

    def _may_reset(self, now: float) -> bool:
        pause_s = self._ladder.usb_first_s * 2.0 ** min(max(self._usb_resets - 1, 0), 16)
        return self._usb_at is None or now - self._usb_at >= min(pause_s, self._ladder.usb_last_s)

    def _finding(self, now: float) -> str:
        if self._told or self._deaf_since is None or now - self._deaf_since < self._ladder.tell_after_s:
            return ""
        if self._failures < self._ladder.reopens:
            return ""
        self._told = True
        tried = [f"soft reset ({self._soft})"] if self._soft else []
        tried.append(f"opened again {self._reopened} times")
        tried.append(f"USB reset ({self._usb})" if self._usb else "no USB reset so soon after the last one")
        return f"the reader {self._reader} does not hear: power-cycle the reader; tried: {', '.join(tried)}"

"""Whether a wall clock that nobody disciplines now may still be trusted: holdover or unset. Pure.

A good time is remembered with its boot and uptime. Within that boot the wall clock must go on as the uptime does; after
a reboot only an RTC may set it, and never to before the last good time. What is doubted stays so until a new sync.
"""

from dataclasses import replace

from edge_agent.models import ClockReading, ClockTrust

EARLIEST_SANE_UNIX = 1_767_225_600  # 2026-01-01T00:00:00Z
"""Earlier than this program: a clock that was never set. A board without RTC starts at 1970, or its image's date."""

SLACK_S = 3
"""Both clocks are read in whole seconds, one after the other; an RTC is read in whole seconds, too."""
_DRIFT = 0.001  # the kernel slews by 0.05 % at most (adjtimex(2)); a cheap quartz adds less


class Holdover:
    """Judges one reading after the other; ``good`` is the last one that could be trusted, None before the first."""

    def __init__(self, *, rtc: bool) -> None:
        self.good: ClockReading | None = None
        self._rtc = rtc
        self._doubted = False

    def recall(self, good: ClockReading) -> None:
        """Take up the last good time of an earlier run, unless this run was synced itself; what was judged is void."""
        if self.good is None or self.good.trust is not ClockTrust.SYNCED:
            self.good = replace(good, trust=ClockTrust.HOLDOVER)
            self._doubted = False

    def stepped(self, unix: int, boot: bytes, up: int) -> bool:
        """Whether the wall clock was set since the last good time of this boot: then who disciplines it is news."""
        good = self.good
        return good is not None and good.boot == boot and not self._goes_on(good, unix, up)

    def judge(self, unix: int, boot: bytes, up: int, *, synced: bool) -> ClockReading:
        """Return the reading with its trust; ``synced``: something disciplines the wall clock now."""
        reading = ClockReading(unix, ClockTrust.UNSET, boot, up)
        if unix < EARLIEST_SANE_UNIX:
            self._doubted = True
            return reading  # cannot be right, whatever set it
        if synced:
            self._doubted = False
            return self._trust(replace(reading, trust=ClockTrust.SYNCED))
        if self._doubted or not self._holds(reading):
            self._doubted = True
            return reading
        return self._trust(replace(reading, trust=ClockTrust.HOLDOVER))

    def _holds(self, now: ClockReading) -> bool:
        good = self.good
        if good is None:
            return self._rtc
        if good.boot == now.boot:
            return self._goes_on(good, now.unix, now.up)
        # This boot began after the last good time. A wall clock that started too early passes that time some day, but
        # the moment at which it says that the boot began stays too early.
        return self._rtc and now.unix - now.up >= good.unix - SLACK_S

    @staticmethod
    def _goes_on(good: ClockReading, unix: int, up: int) -> bool:
        elapsed = up - good.up
        return elapsed >= -SLACK_S and abs(unix - good.unix - elapsed) <= SLACK_S + abs(elapsed) * _DRIFT

    def _trust(self, reading: ClockReading) -> ClockReading:
        self.good = reading
        return reading

"""How long each tap took, step by step: the last taps for `status` and the demo, never more than a bounded number.

All times are CLOCK_MONOTONIC seconds of this process. Nothing here is written to disk or sent.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.models import StoredTap, Tap, TapMode

LIMIT = 512
LATE_CUE_S = 0.2


@dataclass(slots=True)
class TapTimes:
    """One tap: when it was seen, shown, committed, acknowledged by the broker and confirmed by the receiver."""

    chain: bytes
    seq: int
    mode: TapMode
    reader: str
    seen: float
    reading: float | None = None
    committed: float | None = None
    sent: float | None = None
    stored: float | None = None

    def tells_of(self, reading: float) -> bool:
        """Whether a cue that left at ``reading`` is this tap's: a slow line may send it only after the commit."""
        return self.committed is not None and self.seen <= reading <= self.committed + LATE_CUE_S

    def latency_ms(self) -> dict[str, float]:
        """Milliseconds from seen to each step that has happened."""
        steps = {
            "seen_to_reading_cue": self.reading,
            "seen_to_committed": self.committed,
            "seen_to_puback": self.sent,
            "seen_to_stored": self.stored,
        }
        return {name: round((at - self.seen) * 1000, 3) for name, at in steps.items() if at is not None}


class Trace:
    """Collects times from the parts of the agent; ``on_change`` hears of every step of every tap."""

    def __init__(self, on_change: Callable[[TapTimes], None] | None = None) -> None:
        self._taps: OrderedDict[tuple[bytes, int], TapTimes] = OrderedDict()
        self._on_change = on_change
        self._reading: deque[float] = deque(maxlen=16)

    def reading_shown(self, at: float) -> None:
        """Note that the `reading` cue has left on a screen link; belongs to the tap that was seen just before."""
        self._reading.append(at)
        newest = next(reversed(self._taps.values()), None)
        if newest is not None and newest.reading is None and newest.tells_of(at):
            newest.reading = at
            self._tell(newest)

    def committed(self, tap: Tap, stored: StoredTap) -> None:
        """Note that the token is on disk."""
        seen = tap.facts.seen_at
        shown = next((at for at in self._reading if at >= seen), None)
        times = TapTimes(
            chain=stored.chain,
            seq=stored.seq,
            mode=tap.facts.mode,
            reader=tap.facts.reader,
            seen=seen,
            reading=shown,
            committed=stored.committed_at,
        )
        self._taps[stored.chain, stored.seq] = times
        while len(self._taps) > LIMIT:
            self._taps.popitem(last=False)
        self._tell(times)

    def on_sent(self, chain: bytes, first: int, last: int, at: float) -> None:
        """PUBACK for these rows."""
        for times in self._known(chain, first, last):
            if times.sent is None:
                times.sent = at
                self._tell(times)

    def on_stored(self, chain: bytes, through: int, at: float) -> None:
        """The receiver confirmed all rows up to ``through``."""
        for times in self._known(chain, 1, through):
            if times.stored is None:
                times.stored = at
                self._tell(times)

    def recent(self, limit: int = 10) -> list[TapTimes]:
        """Return the newest taps, newest last."""
        return list(self._taps.values())[-limit:]

    def _known(self, chain: bytes, first: int, last: int) -> list[TapTimes]:
        return [t for t in self._taps.values() if t.chain == chain and first <= t.seq <= last]

    def _tell(self, times: TapTimes) -> None:
        if self._on_change is not None:
            self._on_change(times)

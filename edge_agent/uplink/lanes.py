"""Who may send now: a window shared by four lanes, and how large a batch of the backlog may be. Pure.

A live tap never waits behind the backlog: few batches are in flight, half of the window is closed to them and to gap
records, and their size follows the measured round trip, so that a slow line is never filled with seconds of backlog.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

CargoT = TypeVar("CargoT")


class Lane(StrEnum):
    """What a message carries."""

    CONTROL = "control"
    LIVE = "live"
    GAP = "gap"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class InFlight(Generic[CargoT]):
    """A message that was sent and not acknowledged yet; ``sent_at`` in CLOCK_MONOTONIC seconds."""

    lane: Lane
    cargo: CargoT
    sent_at: float


class Window(Generic[CargoT]):
    """The messages in flight on one connection, by mid."""

    def __init__(self, *, limit: int = 100, batches: int = 4, ack_timeout_s: float = 30.0) -> None:
        self._limit = limit
        self._batches = batches
        self._ack_timeout_s = ack_timeout_s
        self._total = 0
        self._in_flight: dict[int, InFlight[CargoT]] = {}
        self._backlog = 0
        self._progress_at = 0.0

    def __len__(self) -> int:
        return len(self._in_flight)

    def open(self, receive_maximum: int) -> None:
        """A connection is up whose broker takes ``receive_maximum`` messages at a time (MQTT 5, 3.2.2.3.3)."""
        self._total = min(self._limit, receive_maximum)

    def close(self) -> list[InFlight[CargoT]]:
        """The connection is gone; returns what was in flight, oldest first."""
        lost = list(self._in_flight.values())
        self._in_flight.clear()
        self._backlog = 0
        self._total = 0
        return lost

    def room(self, lane: Lane) -> bool:
        """Whether one more message of this lane may be sent now."""
        used, total = len(self._in_flight), self._total
        match lane:
            case Lane.CONTROL:
                return used < total
            case Lane.LIVE:
                # One place is kept for control: the last word must not wait for a PUBACK.
                return used < max(min(total, 1), total - 1)
            case Lane.GAP:
                return used < max(min(total, 1), total // 2)
            case Lane.BACKLOG:
                return self._backlog < self._batches and self.room(Lane.GAP)

    def cargo(self) -> list[CargoT]:
        """What is in flight, oldest first."""
        return [item.cargo for item in self._in_flight.values()]

    def sent(self, mid: int, lane: Lane, cargo: CargoT, now: float) -> None:
        """The link took the message."""
        if not self._in_flight:
            self._progress_at = now
        self._in_flight[mid] = InFlight(lane, cargo, now)
        self._backlog += lane is Lane.BACKLOG

    def acknowledged(self, mid: int, now: float) -> InFlight[CargoT] | None:
        """PUBACK; None if nothing of ours has this mid."""
        item = self._in_flight.pop(mid, None)
        if item is not None:
            self._progress_at = now
            self._backlog -= item.lane is Lane.BACKLOG
        return item

    def stalled(self, now: float) -> bool:
        """For ``ack_timeout_s`` no message was acknowledged, or for four times as long not the oldest one.

        PUBACKs come in order (MQTT 5, section 4.6): a message that the broker passed over will never have its own.
        """
        oldest = next(iter(self._in_flight.values()), None)
        if oldest is None:
            return False
        return now - self._progress_at >= self._ack_timeout_s or now - oldest.sent_at >= 4 * self._ack_timeout_s


class BatchSize:
    """How many rows a batch may have: halves on a slow or broken line, doubles on a quick one."""

    SLOW_S = 0.5
    QUICK_S = 0.1

    def __init__(self, *, most: int = 64) -> None:
        self._most = most
        self._rows = most

    @property
    def rows(self) -> int:
        """Rows of the next batch."""
        return self._rows

    def acknowledged(self, round_trip_s: float) -> None:
        """A batch was acknowledged after so long."""
        if round_trip_s > self.SLOW_S:
            self._rows = max(1, self._rows // 2)
        elif round_trip_s < self.QUICK_S:
            self._rows = min(self._most, self._rows * 2)

    def lost(self) -> None:
        """The connection ended with batches in flight: perhaps they are too large for the line or the broker."""
        self._rows = max(1, self._rows // 2)

    def refused(self) -> None:
        """One row may spoil the whole batch: go on row by row until that one is found."""
        self._rows = 1

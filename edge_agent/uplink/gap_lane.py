"""Gap records on their way out: each is sent until the outbox need not send it any more, a refused one later and later.

The outbox is the only truth. A record that the broker finally refuses rests until the next connection: it can neither
be parked, for the chain needs it, nor may it spin.
"""

from typing import Protocol

import structlog

from edge_agent.outbox.base import GapRecord
from edge_agent.uplink.refusals import Remedy, delay_s, remedy_for

log = structlog.get_logger(__name__)

MOST_IN_FLIGHT = 16


class GapSource(Protocol):
    """What this lane needs of the outbox."""

    def gaps_to_send(self) -> list[GapRecord]:
        """Records that are neither confirmed nor waiting for it, oldest first."""

    def confirm_gap_sent(self, number: int) -> None:
        """The broker acknowledged this record."""


class GapLane:
    """The gap records of one connection after the other; times are CLOCK_MONOTONIC seconds."""

    def __init__(self, source: GapSource) -> None:
        self._source = source
        self._in_flight: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._refusals: dict[int, int] = {}

    def due(self, now: float) -> list[GapRecord]:
        """Records to send now, oldest first; those that find no place come later."""
        return [
            record
            for record in self._source.gaps_to_send()
            if record.number not in self._in_flight and self._not_before.get(record.number, now) <= now
        ]

    @property
    def has_room(self) -> bool:
        """Whether one more may be in flight."""
        return len(self._in_flight) < MOST_IN_FLIGHT

    def sent(self, record: GapRecord) -> None:
        """The link took the record."""
        self._in_flight.add(record.number)

    def acknowledged(self, record: GapRecord) -> None:
        """PUBACK of the record."""
        self._forget(record.number)
        # A damaged outbox that was replaced meanwhile counts its records from the beginning again.
        if record in self._source.gaps_to_send():
            self._source.confirm_gap_sent(record.number)

    def refused(self, record: GapRecord, code: int, now: float) -> None:
        """The broker answered with a reason code of failure."""
        number = record.number
        self._in_flight.discard(number)
        times = self._refusals[number] = self._refusals.get(number, 0) + 1
        final = remedy_for(code, times, others_pass=True) is Remedy.PARK
        self._not_before[number] = float("inf") if final else now + delay_s(times)
        level = log.warning if times == 1 or final else log.debug
        level("gap_record_refused", code=code, first=record.first, last=record.last, times=times, rests=final)

    def closed(self) -> None:
        """The connection ended: nothing is in flight, and the next broker may be of another mind."""
        self._in_flight.clear()
        self._not_before.clear()
        self._refusals.clear()

    def _forget(self, number: int) -> None:
        self._in_flight.discard(number)
        self._not_before.pop(number, None)
        self._refusals.pop(number, None)

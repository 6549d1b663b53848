"""The last 24 hours of one terminal in 288 buckets of five minutes, in arrays of fixed size (39 kB). Pure.

Buckets go by the seconds since boot, which no step of the wall clock moves; a bucket in which nobody looked is unknown,
not quiet. Counts come as running totals of this process; only their growth is kept.
"""

import struct
import zlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass, fields

from edge_agent.models import ClockReading, ClockTrust

BUCKET_S = 300
BUCKETS = 288
_MAGIC = b"TAPHIST1"
_HEAD = struct.Struct("<8s8sQQ")  # magic, boot id, since when it looks, newest bucket

_MARKS = ("taps", "starts", "looks", "uplink", "screens", "readers", "queue", "refused", "lost", "reopens", "resets")
_AT = {name: index for index, name in enumerate(_MARKS)}
_MAX_MARK = 2**32 - 1
_MAX_BIN = 2**16 - 1

# Each bin ends a quarter above the one before, so that a quantile is known to an eighth: 1 ms ... 6 s, and beyond.
_RATIO = 1.25
_EDGES = tuple(0.001 * _RATIO**index for index in range(40))
_BINS = len(_EDGES) + 1

FIELDS = (
    "ago_s", "taps", "refused", "lost", "reopens", "resets", "starts", "looks", "uplink", "screens", "readers", "queue",
    "p50_ms", "p99_ms",
)  # fmt: skip
"""Columns of a row of `as_json`: how long ago the bucket began; growth in it; seconds in which somebody looked, and the
share of them (0 to 1) in which uplink, all screens, all readers worked; deepest queue; latency seen to committed."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Running totals since the start of this process."""

    refused: int = 0
    lost: int = 0
    reopens: int = 0
    resets: int = 0


@dataclass(frozen=True, slots=True)
class Working:
    """What works at a moment; ``queue`` is how many taps wait to be sent, None where that is not known."""

    uplink: bool
    screens: bool
    readers: bool
    queue: int | None


class History:
    """One terminal since its boot, or the last 24 hours of it; ``up`` is always seconds since boot."""

    def __init__(self, boot: bytes, up: int) -> None:
        self._boot = boot
        self._since = up
        self._newest = up // BUCKET_S
        self._numbers = array("Q", [2**64 - 1]) * BUCKETS
        self._marks = array("I", [0]) * (BUCKETS * len(_MARKS))
        self._bins = array("H", [0]) * (BUCKETS * _BINS)
        self._before = Totals()

    def started(self, up: int) -> None:
        """An agent begins to look."""
        self._add(self._slot(up), "starts", 1)

    def tap(self, up: int, latency_s: float | None) -> None:
        """A tap is on disk, ``latency_s`` after its phone was seen; None where that says nothing."""
        slot = self._slot(up)
        self._add(slot, "taps", 1)
        if latency_s is not None:
            at = slot * _BINS + bisect_left(_EDGES, latency_s)
            self._bins[at] = min(self._bins[at] + 1, _MAX_BIN)

    def look(self, up: int, totals: Totals, working: Working) -> None:
        """Once a second: how things are."""
        slot = self._slot(up)
        self._add(slot, "looks", 1)
        for field in fields(Totals):
            grown = getattr(totals, field.name) - getattr(self._before, field.name)
            if grown > 0:
                self._add(slot, field.name, grown)
        self._before = totals
        for name in ("uplink", "screens", "readers"):
            if getattr(working, name):
                self._add(slot, name, 1)
        if working.queue is not None:
            at = slot * len(_MARKS) + _AT["queue"]
            self._marks[at] = max(self._marks[at], min(working.queue, _MAX_MARK))

    def as_json(self, now: ClockReading) -> dict[str, object]:
        """For the control socket: rows of ``FIELDS`` for what is known, oldest first; ``all`` tells of all of them.

        ``known_s``: how far back it can be known. ``unix`` is null while the clock is not trusted.
        """
        last = max(now.up // BUCKET_S, self._newest)
        known = [slot for slot in range(BUCKETS) if last - BUCKETS < self._numbers[slot] <= last]
        known.sort(key=self._numbers.__getitem__)
        since = max(self._since, (last - BUCKETS + 1) * BUCKET_S)
        p50, p99 = _quantiles([sum(self._bins[slot * _BINS + bin_] for slot in known) for bin_ in range(_BINS)])
        return {
            "bucket_s": BUCKET_S,
            "known_s": max(0, now.up - since),
            "up_s": now.up,
            "unix": None if now.trust is ClockTrust.UNSET else now.unix,
            "fields": list(FIELDS),
            "rows": [self._row(slot, now.up) for slot in known],
            "all": {
                **{name: sum(self._mark(slot, name) for slot in known) for name in _MARKS if name != "queue"},
                "queue": max((self._mark(slot, "queue") for slot in known), default=0),
                "p50_ms": p50,
                "p99_ms": p99,
            },
        }

    def encode(self) -> bytes:
        """For a file that the next process of the same boot reads."""
        head = _HEAD.pack(_MAGIC, self._boot, self._since, self._newest)
        body = head + self._numbers.tobytes() + self._marks.tobytes() + self._bins.tobytes()
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def decode(cls, data: bytes, boot: bytes, up: int) -> "History | None":
        """Take up what an earlier process of this boot knew; None for anything else."""
        new = cls(boot, up)
        parts = (new._numbers, new._marks, new._bins)
        size = _HEAD.size + sum(len(part) * part.itemsize for part in parts)
        if len(data) != size + 4 or zlib.crc32(data[:size]) != int.from_bytes(data[size:], "little"):
            return None
        magic, of_boot, since, newest = _HEAD.unpack_from(data)
        if magic != _MAGIC or of_boot != boot or since > up or not since // BUCKET_S <= newest <= up // BUCKET_S:
            return None
        at = _HEAD.size
        for part in parts:
            length = len(part) * part.itemsize
            part[:] = array(part.typecode, data[at : at + length])
            at += length
        new._since, new._newest = since, newest
        return new

    def _slot(self, up: int) -> int:
        number = self._newest = max(up // BUCKET_S, self._newest)
        slot = number % BUCKETS
        if self._numbers[slot] != number:
            self._numbers[slot] = number
            for part, width in ((self._marks, len(_MARKS)), (self._bins, _BINS)):
                part[slot * width : (slot + 1) * width] = array(part.typecode, [0]) * width
        return slot

    def _add(self, slot: int, name: str, count: int) -> None:
        at = slot * len(_MARKS) + _AT[name]
        self._marks[at] = min(self._marks[at] + count, _MAX_MARK)

    def _mark(self, slot: int, name: str) -> int:
        return self._marks[slot * len(_MARKS) + _AT[name]]

    def _row(self, slot: int, up: int) -> list[object]:
        looks = self._mark(slot, "looks")
        share = {
            name: round(min(1.0, self._mark(slot, name) / looks), 3) if looks else None
            for name in ("uplink", "screens", "readers")
        }
        p50, p99 = _quantiles(list(self._bins[slot * _BINS : (slot + 1) * _BINS]))
        told = {"ago_s": up - self._numbers[slot] * BUCKET_S, "p50_ms": p50, "p99_ms": p99, **share}
        return [told[name] if name in told else self._mark(slot, name) for name in FIELDS]


def _quantiles(bins: list[int]) -> tuple[float | None, float | None]:
    """Median and 99th percentile in milliseconds, each to an eighth; None without a tap."""
    total = sum(bins)
    if not total:
        return None, None
    found = []
    for share in (0.5, 0.99):
        left = max(1.0, share * total)
        index = 0
        while left > bins[index]:
            left -= bins[index]
            index += 1
        # The middle of the bin, as its edges go: geometrically.
        edge = _EDGES[min(index, len(_EDGES) - 1)]
        found.append(round(edge / _RATIO**0.5 * 1000, 1))
    return found[0], found[1]

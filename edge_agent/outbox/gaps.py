"""The life of gap records: to send, sent (PUBACK), confirmed; which of them may be joined. Pure: no I/O, no clock.

``now`` is the outbox's operating time in seconds. What the disk has to learn of it is told by ``plan``; what it forgets
is sent again, and the receiver knows it already.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from edge_agent.outbox.base import GapRecord, Hole
from edge_agent.outbox.policy import CROWDED_RECORDS


@dataclass(frozen=True, slots=True)
class RecordLoad:
    """One gap record as found on disk; ``hole`` is what it says, None if it cannot be read back."""

    number: int
    first: int
    last: int
    sent_at: float | None
    token: bytes = field(repr=False)
    hole: Hole | None = None


@dataclass(frozen=True, slots=True)
class RecordsPlan:
    """What the disk does not know yet: times of PUBACK (None: to be sent again), and records whose life is over."""

    sent_at: dict[int, float | None]
    deleted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows ``first`` to ``last`` of a chain that are being given up; the chain by its number on disk and by its id."""

    number: int
    chain: bytes
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class GapOrder:
    """One gap record to be signed. ``prev`` and ``hash`` are None where the rows at that end have to tell."""

    number: int
    lost: Lost
    prev: bytes | None
    hash: bytes | None
    reason: str
    replaces: tuple[int, ...]
    """Records that are part of this one now."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A gap record that was signed and committed."""

    order: GapOrder
    hole: Hole
    token: bytes = field(repr=False)


@dataclass(slots=True)
class _Piece:
    """Lost rows, or what an older record says of some that adjoin them."""

    first: int
    last: int
    prev: bytes | None = None
    hash: bytes | None = None
    records: tuple[int, ...] = ()
    lost: bool = False


@dataclass(slots=True)
class _Kept:
    record: GapRecord
    hole: Hole | None
    sent_at: float | None = None


class GapBook:
    """All gap records of one outbox, oldest first.

    ``keep_sent_s``: None keeps a record until an ack covers it (confirm = "receiver"); a number lets it go that long
    after its PUBACK, which is all the confirmation that there is (confirm = "broker").
    """

    def __init__(self, *, keep_sent_s: float | None, last_number: int = 0) -> None:
        self._keep_sent_s = keep_sent_s
        self._kept: dict[int, _Kept] = {}
        self._written: dict[int, float | None] = {}
        self.last_number = last_number
        """Records of a new outbox are numbered from here: a PUBACK of an older one must not meet them."""

    def load(self, chain: bytes, records: Iterable[RecordLoad]) -> None:
        """Take up what the disk has of one chain."""
        for found in records:
            record = GapRecord(found.number, chain, found.first, found.last, found.token)
            self._kept[found.number] = _Kept(record, found.hole, found.sent_at)
            self._written[found.number] = found.sent_at
            self.last_number = max(self.last_number, found.number)
        self._kept = dict(sorted(self._kept.items()))

    @property
    def unconfirmed(self) -> int:
        """Records that nobody has confirmed."""
        if self._keep_sent_s is None:
            return len(self._kept)
        return sum(kept.sent_at is None for kept in self._kept.values())

    @property
    def ages(self) -> bool:
        """Whether records will leave without any further event, when their time has come."""
        return self._keep_sent_s is not None and any(_waits(kept) for kept in self._kept.values())

    @property
    def crowded(self) -> bool:
        """Whether there are so many that they should become fewer."""
        return len(self._kept) >= CROWDED_RECORDS

    def orders(
        self, lost: Iterable[Lost], reason: str, nobody_needs: Callable[[bytes, int, int], bool]
    ) -> list[GapOrder]:
        """Records about rows that are being given up; at most one call may be under way.

        Those that adjoin each other, or a record of the same reason that was not sent yet, become one. When it is
        crowded those that were sent join, too, and so do gaps with nothing but rows between them that
        ``nobody_needs``: such a record says of a few delivered rows that they are given up, which harms nobody.
        """
        orders = []
        for (number, chain), ranges in groupby(sorted(lost, key=_place), key=lambda one: (one.number, one.chain)):
            pieces = [_Piece(one.first, one.last, lost=True) for one in ranges]
            pieces += self._joinable(chain, reason)
            for piece in _joined(pieces, partial(nobody_needs, chain) if self.crowded else _never):
                if piece.lost:
                    self.last_number += 1
                    whole = Lost(number, chain, piece.first, piece.last)
                    orders.append(GapOrder(self.last_number, whole, piece.prev, piece.hash, reason, piece.records))
        return orders

    def _joinable(self, chain: bytes, reason: str) -> Iterable[_Piece]:
        for number, kept in self._kept.items():
            hole = kept.hole
            if hole is None or kept.record.chain != chain or hole.reason != reason:
                continue
            if kept.sent_at is None or self.crowded:
                yield _Piece(hole.first, hole.last, hole.prev, hole.hash, (number,))

    def replace(self, sealed: Iterable[Sealed]) -> None:
        """These records are on disk now, and those that they replace are not any more."""
        for one in sealed:
            order, hole = one.order, one.hole
            for number in order.replaces:
                self._kept.pop(number, None)
                self._written.pop(number, None)
            record = GapRecord(order.number, hole.chain, hole.first, hole.last, one.token)
            self._kept[order.number] = _Kept(record, hole)
            self._written[order.number] = None

    def all(self) -> list[GapRecord]:
        """Every record that is still here."""
        return [kept.record for kept in self._kept.values()]

    def to_send(self) -> list[GapRecord]:
        """Records that are neither confirmed nor waiting for it."""
        return [kept.record for kept in self._kept.values() if kept.sent_at is None]

    def sent(self, number: int, now: float) -> bool:
        """PUBACK. False for a record that is not here any more: it was confirmed, or is part of a larger one now."""
        kept = self._kept.get(number)
        if kept is not None:
            kept.sent_at = now
        return kept is not None

    def stored(self, chain: bytes, through: int, missing: list[tuple[int, int]]) -> int:
        """An ack that could be true: it ends the life of the records that it covers. Returns how many."""

        def covered(record: GapRecord) -> bool:
            inside = record.chain == chain and record.last <= through
            return inside and not any(first <= record.last and last >= record.first for first, last in missing)

        ended = [number for number, kept in self._kept.items() if covered(kept.record)]
        for number in ended:
            del self._kept[number]
        return len(ended)

    def release(self) -> int:
        """The connection ended: what waits for an ack is sent again over the next one. Returns how many."""
        return self.requeue(float("inf"), 0.0)

    def requeue(self, now: float, older_than_s: float) -> int:
        """Records sent at least this long ago and not confirmed are to be sent again. Returns how many."""
        if self._keep_sent_s is not None:
            return 0
        return self._again(kept for kept in self._kept.values() if _waits(kept) and now - _at(kept) >= older_than_s)

    def resend(self, chain: bytes, first: int, last: int) -> int:
        """Somebody misses these rows: the records about any of them are to be sent again. Returns how many."""
        return self._again(
            kept
            for kept in self._kept.values()
            if kept.record.chain == chain and kept.record.first <= last and kept.record.last >= first and _waits(kept)
        )

    def _again(self, records: Iterable[_Kept]) -> int:
        again = list(records)
        for kept in again:
            kept.sent_at = None
        return len(again)

    def plan(self, now: float) -> RecordsPlan | None:
        """What to write; None if the disk knows everything."""
        if (keep := self._keep_sent_s) is not None:
            over = [number for number, kept in self._kept.items() if _waits(kept) and now - _at(kept) >= keep]
            for number in over:
                del self._kept[number]
        sent_at = {number: kept.sent_at for number, kept in self._kept.items() if self._written[number] != kept.sent_at}
        deleted = tuple(number for number in self._written if number not in self._kept)
        return RecordsPlan(sent_at, deleted) if sent_at or deleted else None

    def applied(self, plan: RecordsPlan) -> None:
        """The disk knows this plan now."""
        self._written.update(plan.sent_at)
        for number in plan.deleted:
            self._written.pop(number, None)


def _place(lost: Lost) -> tuple[int, bytes, int]:
    return lost.number, lost.chain, lost.first


def _never(_first: int, _last: int) -> bool:
    return False


def _joined(pieces: list[_Piece], bridges: Callable[[int, int], bool]) -> list[_Piece]:
    """Pieces that adjoin, overlap or have a bridge between them, as one."""
    whole: list[_Piece] = []
    for piece in sorted(pieces, key=lambda one: one.first):
        if not whole or not (piece.first <= whole[-1].last + 1 or bridges(whole[-1].last + 1, piece.first - 1)):
            whole.append(piece)
            continue
        joined = whole[-1]
        joined.records += piece.records
        joined.lost |= piece.lost
        if piece.last > joined.last:
            joined.last, joined.hash = piece.last, piece.hash
    return whole


def _waits(kept: _Kept) -> bool:
    return kept.sent_at is not None


def _at(kept: _Kept) -> float:
    return 0.0 if kept.sent_at is None else kept.sent_at

"""Which card is at a reader that only says numbers: once, or again and again while the card stays. Pure.

A number is told of once for each stay. A stay ends when its number was not heard for ``gone_after_s`` seconds.
"""

from dataclasses import dataclass

from edge_agent.readers.base import RawUid

GONE_AFTER_S = 1.0
"""Longer than the pause between two repetitions of any reader that repeats (RDM6300: 65 ms)."""
LIMIT = 8


@dataclass(slots=True)
class _Stay:
    heard_at: float
    told: bool = False


class Stays:
    """Takes what is heard and says who is new; at most ``LIMIT`` cards at a time."""

    def __init__(self, *, gone_after_s: float = GONE_AFTER_S) -> None:
        self._gone_after_s = gone_after_s
        self._stays: dict[RawUid, _Stay] = {}

    def hear(self, uid: RawUid, now: float) -> bool:
        """Take a number heard at ``now``; False when too many are waiting and it was not kept."""
        self._forget_gone(now)
        if (stay := self._stays.get(uid)) is not None:
            stay.heard_at = now
            return True
        if len(self._stays) >= LIMIT:
            told = [known for known, stay in self._stays.items() if stay.told]
            if not told:
                return False
            del self._stays[told[0]]
        self._stays[uid] = _Stay(now)
        return True

    @property
    def waiting(self) -> bool:
        """Whether somebody has not been told of yet."""
        return any(not stay.told for stay in self._stays.values())

    def next(self) -> RawUid | None:
        """Return the one who waits longest; None where nobody does."""
        for uid, stay in self._stays.items():
            if not stay.told:
                stay.told = True
                return uid
        return None

    def there(self, uid: RawUid, now: float) -> bool:
        """Whether this card may keep the reader: it is still heard, and nobody else waits."""
        stay = self._stays.get(uid)
        return stay is not None and now - stay.heard_at < self._gone_after_s and not self.waiting

    def forget(self, uid: RawUid) -> None:
        """Tell of this card again when it is heard again: what was begun with it came to nothing."""
        self._stays.pop(uid, None)

    def _forget_gone(self, now: float) -> None:
        gone = [uid for uid, stay in self._stays.items() if stay.told and now - stay.heard_at >= self._gone_after_s]
        for uid in gone:
            del self._stays[uid]

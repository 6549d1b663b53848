"""What to do when the broker answers a PUBLISH with a reason code of failure (MQTT 5, section 3.4.2.1). Pure.

A row that the broker will never take must not block the others, and a broker that takes nothing at the moment must
not cost a single row: only a refusal that is about the row itself parks it.
"""

from collections import OrderedDict
from enum import StrEnum

FIRST_FAILURE_CODE = 0x80
MAX_REFUSALS = 5
FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0
# Several times as many as may wait for another try at once.
MAX_REMEMBERED = 1024


class Remedy(StrEnum):
    """What a refusal calls for."""

    PARK = "park"
    """The row itself is refused: out of the way."""
    RETRY = "retry"
    """Nobody knows: try this row again after a delay; after MAX_REFUSALS it is the row's fault if others pass."""
    HOLD = "hold"
    """Not the row's fault: send nothing for a while, then try again, as often as it takes."""


_REMEDIES = {
    0x80: Remedy.RETRY,  # unspecified error
    0x83: Remedy.RETRY,  # implementation specific error
    0x87: Remedy.HOLD,  # not authorised: the broker's access rules are wrong for this terminal, and may be repaired
    0x90: Remedy.HOLD,  # topic name invalid: the same for all rows, a matter of fleet and broker configuration
    0x91: Remedy.RETRY,  # packet identifier in use
    0x97: Remedy.HOLD,  # quota exceeded
    0x99: Remedy.PARK,  # payload format invalid
}


def remedy_for(code: int, refusals: int, *, others_pass: bool) -> Remedy:
    """What to do with a row that was refused with ``code``, for the ``refusals``-th time (from 1).

    ``others_pass``: the broker took something else since it refused this row the last time.
    """
    remedy = _REMEDIES.get(code, Remedy.RETRY)
    if remedy is not Remedy.RETRY or refusals < MAX_REFUSALS:
        return remedy
    return Remedy.PARK if others_pass else Remedy.HOLD


def delay_s(refusals: int) -> float:
    """Seconds to wait after the ``refusals``-th refusal (from 1): doubles from 1 s to 60 s."""
    return min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(refusals - 1, 16))


class RowRefusals:
    """How often each row was refused, for as many rows as it makes sense to remember."""

    def __init__(self) -> None:
        self._rows: OrderedDict[tuple[bytes, int], tuple[int, int]] = (
            OrderedDict()
        )  # how often, and _taken at that time
        self._taken = 0

    def __len__(self) -> int:
        return len(self._rows)

    def again(self, chain: bytes, first: int) -> tuple[int, bool]:
        """One more refusal: the how-many-eth, and whether the broker took something else since the last one."""
        before, taken = self._rows.pop((chain, first), (0, self._taken))
        self._rows[chain, first] = (before + 1, self._taken)
        if len(self._rows) > MAX_REMEMBERED:
            self._rows.popitem(last=False)
        return before + 1, self._taken > taken

    def taken(self, chain: bytes, first: int, last: int) -> None:
        """The broker took these rows."""
        self._taken += 1
        if self._rows:
            for row in [row for row in self._rows if row[0] == chain and first <= row[1] <= last]:
                del self._rows[row]

    def forget(self, chain: bytes, first: int) -> None:
        """The row is parked."""
        self._rows.pop((chain, first), None)

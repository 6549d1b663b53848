"""What to do when the broker answers a PUBLISH with a reason code of failure (MQTT 5, section 3.4.2.1). Pure.

A row that the broker will never take must not block the others, and a broker that takes nothing at the moment must
not cost a single row: only a refusal that is about the row itself parks it.
"""

from enum import StrEnum

FIRST_FAILURE_CODE = 0x80
MAX_REFUSALS = 5
FIRST_DELAY_S = 1.0
MAX_DELAY_S = 60.0


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

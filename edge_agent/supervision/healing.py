"""What is done about a part that gives no sign of life: heal it, again, and at last restart the agent. Pure.

A part that only says that it is unwell (an unplugged reader, a broker that is away) is alive: nothing here is for it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

HEALS = 3
"""So many futile heals in a row, then only a new process may help."""
HEAL_EVERY_S = 4.0
"""A heal takes up to 2 s, a driver that comes back shows it within another 2 s."""
WELL_FOR_S = 60.0
"""A part that was well for so long has been healed; what comes later is a new failure."""


@dataclass(frozen=True, slots=True)
class Heal:
    """Start one part anew, for the ``attempt``-th time (from 1)."""

    name: str
    why: str
    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Healing the part was futile: restart the agent."""

    name: str
    why: str


@dataclass(slots=True)
class _Case:
    attempts: int = 0
    healed_at: float = float("-inf")
    well_since: float | None = None


class Healing:
    """One series of attempts for each part; all times are CLOCK_MONOTONIC seconds given by the caller."""

    def __init__(self) -> None:
        self._cases: dict[str, _Case] = {}

    def look(self, ill: Mapping[str, str], now: float, spared: Collection[str] = ()) -> list[Heal | GiveUp]:
        """Return what is to be done now; ``ill`` says of each part without a sign of life why it counts as such.

        For a part in ``spared``, which another one stands in for, the agent is not restarted.
        """
        self._notice_the_well(ill, now)
        todo = [self._treat(name, why, now) for name, why in ill.items()]
        return [do for do in todo if do is not None and not (isinstance(do, GiveUp) and do.name in spared)]

    def _notice_the_well(self, ill: Mapping[str, str], now: float) -> None:
        for name in [name for name in self._cases if name not in ill]:
            case = self._cases[name]
            if case.well_since is None:
                case.well_since = now
            elif now - case.well_since >= WELL_FOR_S:
                del self._cases[name]

    def _treat(self, name: str, why: str, now: float) -> Heal | GiveUp | None:
        case = self._cases.setdefault(name, _Case())
        case.well_since = None
        if now - case.healed_at < HEAL_EVERY_S:
            return None
        case.healed_at = now
        if case.attempts >= HEALS:
            return GiveUp(name, why)
        case.attempts += 1
        return Heal(name, why, case.attempts)

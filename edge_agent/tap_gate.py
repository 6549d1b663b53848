"""Asks the limits before each new tap, and does what follows: screens that rest, an alarm, a line of log.

It must never keep a tap waiting, and never say in words whose tap it was that is refused.
"""

from collections.abc import Callable

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import TapRefused
from edge_agent.limits import (
    Effect,
    Failed,
    FloodOver,
    Kept,
    Look,
    NewTap,
    Refusal,
    Refuse,
    Repeated,
    Rest,
    TapLimits,
    TellFlood,
)
from edge_agent.models import TapFacts
from edge_agent.outbox.base import Notice

log = structlog.get_logger(__name__)

FLOOD_ALARM = "tap_flood"


class TapGate:
    """The limits of one terminal at work; everything here runs on the event loop and returns at once.

    ``rest`` hears when a flood begins and ends, ``tell`` what a person must hear of.
    """

    def __init__(
        self,
        *,
        taps_per_minute: int,
        burst: int,
        cooldown_s: float,
        clock: Clock,
        rest: Callable[[bool], None],
        tell: Callable[[Notice], None],
    ) -> None:
        self._limits = TapLimits(taps_per_minute=taps_per_minute, burst=burst, cooldown_s=cooldown_s)
        self._taps_per_minute = taps_per_minute
        self._burst = burst
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._rest = rest
        self._tell = tell

    @property
    def flooded(self) -> bool:
        """Whether no tap is taken, because there were too many."""
        return self._limits.flooded

    @property
    def refused(self) -> dict[str, int]:
        """How many taps were refused since the start, by reason."""
        return {reason.value: count for reason, count in self._limits.refused.items()}

    def admit(self, facts: TapFacts) -> float:
        """Take a new tap and return when that was; ``kept`` or ``failed`` must follow. Raises TapRefused."""
        now = self._clock.monotonic()
        refused: Refusal | None = None
        for effect in self._limits.handle(NewTap(facts.nonce, facts.sub), now):
            if isinstance(effect, Refuse):
                refused = effect.reason
            else:
                self._do(effect)
        match refused:
            case Refusal.COOLING:
                raise TapRefused(
                    f"the same phone or card tapped less than {self._cooldown_s:g} s ago",
                    remedy="it may tap again after that (cooldown_s in [limits])",
                )
            case Refusal.FLOOD:
                raise TapRefused(
                    f"more taps than the terminal takes: {self._burst} at once, {self._taps_per_minute} a minute",
                    remedy="that ends by itself; in a busy place raise burst and taps_per_minute in [limits]",
                )
        return now

    def repeated(self, nonce: bytes, sub: bytes | None) -> None:
        """A phone was given its token again."""
        self._handle(Repeated(nonce, sub))

    def kept(self, at: float) -> None:
        """A tap that was admitted at ``at`` is on disk."""
        self._handle(Kept(at))

    def failed(self, facts: TapFacts, at: float) -> None:
        """A tap that was admitted at ``at`` is not on disk, and counts for nothing."""
        self._handle(Failed(facts.nonce, facts.sub, at))

    def look(self) -> None:
        """Once a second: ends a flood though nobody taps any more."""
        self._handle(Look())

    def _handle(self, event: Repeated | Kept | Failed | Look) -> None:
        for effect in self._limits.handle(event, self._clock.monotonic()):
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Rest(on=on):
                self._rest(on)
            case TellFlood(refused=refused, floods=floods):
                text = f"more than {self._taps_per_minute} taps a minute: the screens rest, further taps are refused"
                limits = {"burst": self._burst, "taps_per_minute": self._taps_per_minute}
                self._tell(Notice(FLOOD_ALARM, text, {"refused": refused, "floods": floods, **limits}))
            case FloodOver(refused=refused, lasted_s=lasted_s):
                log.info("tap_flood_over", refused=refused, lasted_s=round(lasted_s, 1))

"""``cmd/show``: what the cloud may have shown (contract, section 5), and how long a rest by command lasts. Pure.

The cloud may ask which screen this is, let it rest, and set its brightness. It may not show what only a tap can bring
about: a `thanks` without a tap, with an amount or not, would be a lie to whoever stands there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Self

from edge_agent.models import Cue
from edge_agent.strict_json import WireError, take_int, take_text

NAME = "show"
LOWEST_LEVEL = 5
HIGHEST_LEVEL = 100
LONGEST_S = 86_400
CUES = (Cue.IDENTIFY, Cue.RESTING)


@dataclass(frozen=True, slots=True)
class ShowArgs:
    """A cue of CUES, a ``level`` (5-100), or both; ``for_s`` (1-86400) with `resting` and with a level, else None."""

    cue: Cue | None = None
    level: int | None = None
    for_s: int | None = None

    def encode(self) -> dict[str, Any]:
        """``args`` of the command."""
        made = {"cue": None if self.cue is None else self.cue.value, "level": self.level, "for_s": self.for_s}
        return {name: value for name, value in made.items() if value is not None}

    @classmethod
    def decode(cls, args: Mapping[str, Any]) -> Self:
        """Raises WireError with the reason; unknown members are ignored."""
        for name in ("text", "amount"):
            if name in args:
                raise WireError(f"{name} is not shown by command: only a result says what a tap brought")
        cue = _cue(args) if "cue" in args else None
        level = take_int(args, "level", lowest=LOWEST_LEVEL, highest=HIGHEST_LEVEL) if "level" in args else None
        if cue is None and level is None:
            raise WireError("there is neither a cue nor a level")
        if cue is Cue.RESTING or level is not None:
            return cls(cue, level, take_int(args, "for_s", lowest=1, highest=LONGEST_S))
        if "for_s" in args:
            raise WireError("for_s is for resting and for a level: identify has a time of its own")
        return cls(cue)


def _cue(args: Mapping[str, Any]) -> Cue:
    word = take_text(args, "cue", longest=32)
    if word not in CUES:
        raise WireError(f"cue is not {' or '.join(CUES)}: the others say what happened at the terminal")
    return Cue(word)


def told(args: ShowArgs) -> str:
    """``detail`` of the answer: what is shown now, and for how long."""
    parts = [] if args.cue is None else [f"resting for {args.for_s} s" if args.cue is Cue.RESTING else args.cue.value]
    if args.level is not None:
        parts.append(f"level {args.level} for {args.for_s} s")
    return ", ".join(parts)


class RestByCommand:
    """Whether the screens rest because the cloud said so; every ``now`` is in CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        self._until = -inf

    def begin(self, for_s: float, now: float) -> None:
        """Rest for so long from now on, whatever was said before: one second ends a long rest."""
        self._until = now + for_s

    def holds(self, now: float) -> bool:
        """Whether they rest now."""
        return now < self._until

    def due(self, now: float) -> float:
        """When ``holds`` will answer otherwise; infinity where it never will."""
        return self._until if self.holds(now) else inf

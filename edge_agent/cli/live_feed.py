"""Follows the steps of the running agent over its control socket, and gathers them by phone. Blocks for a while."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from edge_agent.cli.status_view import Answer, tables_in

Ask = Callable[[dict[str, object]], dict[str, object]]
"""Asks the agent; raises ControlError."""

VISITS_KEPT = 32
SETTLED_S = 5.0
"""A tap that was not stored so long after its phone was served is told as it is."""

_NO_TAP = frozenset({"ignored", "not_read"})


PAUSE_S = 0.25
"""An agent that lets no more clients wait answers at once; nobody may ask it without an end."""


class Feed:
    """The steps behind ``after`` of this ``run`` of the agent, by default from now on; survives its restarts."""

    def __init__(self, ask: Ask, *, after: object = None, run: object = None) -> None:
        self._ask = ask
        self._run = run
        self._next = after
        self.missed = 0
        """Steps that came faster than they were asked for."""
        self.restarts = 0

    def news(self, wait_s: float) -> list[Answer]:
        """Return what is new, after ``wait_s`` seconds (0 to 4) at most; raises ControlError."""
        request: dict[str, object] = {"op": "steps", "wait_s": wait_s}
        if self._next is not None:
            request["after"] = self._next
        if self._run is not None:
            request["run"] = self._run
        begun = time.monotonic()
        answer = self._ask(request)
        if self._run not in (None, answer.get("run")):
            self.restarts += 1
        self._run, self._next = answer.get("run"), answer.get("next")
        missed = answer.get("missed")
        self.missed += missed if isinstance(missed, int) else 0
        steps = tables_in(answer, "steps")
        if not steps:
            time.sleep(max(0.0, min(wait_s, PAUSE_S) - (time.monotonic() - begun)))
        return steps


@dataclass(slots=True)
class Visit:
    """One phone at one reader or tag: what was told of it, ``at`` in the clock of whoever asks."""

    where: str
    at: float
    ms: dict[str, float] = field(default_factory=dict)
    """When each step first happened, after the phone was seen; cues as ``cue reading``."""
    facts: dict[str, Any] = field(default_factory=dict)
    ended_at: float | None = None
    told: bool = False

    @property
    def outcome(self) -> str:
        """How it ended; "" while the phone is being served."""
        return str(self.facts.get("outcome", ""))

    @property
    def is_test(self) -> bool:
        """Whether no phone was there."""
        return self.facts.get("technology") == "simulated"

    def settled(self, now: float, last_step: str) -> bool:
        """Whether nothing more is to be expected."""
        if self.ended_at is None:
            return False
        return "token" not in self.ms or last_step in self.ms or now - self.ended_at >= SETTLED_S


class Visits:
    """The phones of the last steps, oldest first."""

    def __init__(self) -> None:
        self._visits: OrderedDict[tuple[int, int], Visit] = OrderedDict()

    def take(self, steps: list[Answer], now: float, run: int = 0) -> None:
        """Gather; steps of a phone whose beginning is not known are left out. ``run`` counts the agent's restarts."""
        for step in steps:
            number, name = step.get("visit"), str(step.get("step"))
            age_s, at_ms = step.get("age_s"), step.get("at_ms")
            if type(number) is not int or not isinstance(age_s, int | float) or not isinstance(at_ms, int | float):
                continue
            if name == "seen":
                self._visits[run, number] = Visit(str(step.get("where")), now - age_s)
            visit = self._visits.get((run, number))
            if visit is None:
                continue
            visit.ms.setdefault(f"cue {step.get('cue')}" if name == "cue" else name, float(at_ms))
            visit.facts.update({key: value for key, value in step.items() if key not in {"n", "visit", "where", "cue"}})
            if name == "ended":
                visit.ended_at = now - age_s
        while len(self._visits) > VISITS_KEPT:
            self._visits.popitem(last=False)

    def newest(self) -> Iterator[Visit]:
        """Newest first, without what nobody would call a tap."""
        return (visit for visit in reversed(self._visits.values()) if visit.outcome not in _NO_TAP)

    def settled(self, now: float, last_step: str) -> list[Visit]:
        """Those that are over, each once; ``last_step`` is `stored`, or `sent` where nobody confirms more."""
        found = [visit for visit in self._visits.values() if not visit.told and visit.settled(now, last_step)]
        for visit in found:
            visit.told = True
        return [visit for visit in found if visit.outcome not in _NO_TAP]


_WORDS = {
    "unconfirmed": "kept, but not taken by the phone",
    "late": "kept too late for the phone",
    "card_late": "kept too late",
    "lost": "phone gone too early",
    "timeout": "phone too slow",
    "locked": "phone locked",
    "no_app": "no app",
    "foreign": "another app answers",
    "malformed": "its app says nonsense",
    "refused": "refused",
}


def arrows(visit: Visit) -> tuple[str, str]:
    """Return what happened to one phone, as ``cue 0.4 → kept 37 → sent 38 → stored 41 ms``, and its colour."""
    ms = visit.ms
    named = (("cue", "cue reading"), ("read", "read"), ("kept", "token"), ("sent", "sent"), ("stored", "stored"))
    parts = [f"{word} {_ms(ms[name])}" for word, name in named if name in ms]
    text = " → ".join(parts) + (" ms" if parts else "")
    if visit.outcome in {"", "accepted"}:
        kind = "good" if "stored" in ms or "sent" in ms else "warn"
        return (text + ("" if visit.outcome else " …")).strip(), kind
    text = " → ".join([text] * bool(text) + [_WORDS.get(visit.outcome, visit.outcome)])
    return text, "warn" if "token" in ms else "bad"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"

"""Which parts of the agent are alive and well: check-ins with deadlines become one Health snapshot. Pure.

Two questions are kept apart. *Alive*: did the part's loop come by in time? Only this feeds the watchdog; an unplugged
reader is reported by a loop that is very much alive. *Well*: what the part says of itself; that is for people.
"""

from dataclasses import dataclass, replace

from edge_agent.models import ComponentHealth, ComponentState

# The worst state of the parts is the state of the agent.
_SEVERITY = {
    ComponentState.STOPPED: 0,
    ComponentState.OK: 1,
    ComponentState.STARTING: 2,
    ComponentState.DEGRADED: 3,
    ComponentState.FAILED: 4,
}


@dataclass(frozen=True, slots=True)
class Health:
    """All parts at one moment (CLOCK_MONOTONIC seconds); ``late`` are the critical ones that missed their deadline."""

    state: ComponentState
    components: tuple[ComponentHealth, ...]
    late: tuple[str, ...]
    at: float

    @property
    def alive(self) -> bool:
        """Whether the watchdog may be fed."""
        return not self.late

    def as_dict(self) -> dict[str, object]:
        """Return what `status` prints: plain values, ages in seconds."""
        return {
            "state": self.state.value,
            "late": list(self.late),
            "components": [
                {
                    "name": part.name,
                    "state": part.state.value,
                    "detail": part.detail,
                    "restarts": part.restarts,
                    "since_s": round(max(0.0, self.at - part.since), 1),
                }
                for part in self.components
            ],
        }


@dataclass(frozen=True, slots=True)
class _Part:
    seen: ComponentHealth
    critical: bool
    deadline_s: float | None
    group: str
    checked_in: float
    watched: bool = True


class HealthBoard:
    """Collects check-ins. Every method takes ``now``, CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}

    def register(
        self, name: str, now: float, *, deadline_s: float | None = None, critical: bool = True, group: str = ""
    ) -> None:
        """Add a part, STARTING. It must check in every ``deadline_s`` (None: it has no loop to watch).

        Parts of one ``group`` stand in for each other: while one of them works, the failure of another degrades.
        """
        seen = ComponentHealth(name, ComponentState.STARTING, since=now)
        self._parts[name] = _Part(seen, critical, deadline_s, group, checked_in=now)

    def check_in(self, name: str, now: float) -> None:
        """The part's loop came by; what it says of itself stays as it is."""
        part = self._parts[name]
        self._parts[name] = replace(part, checked_in=now, watched=True)

    def report(
        self, name: str, state: ComponentState, now: float, detail: str = "", *, sign: float | None = None
    ) -> None:
        """The part says how it is; ``since`` moves only when the state changes.

        ``sign`` is when it last gave a sign of life, if somebody else speaks for it; its own word is a check-in.
        """
        part = self._parts[name]
        since = part.seen.since if part.seen.state == state else now
        seen = replace(part.seen, state=state, detail=detail, since=since)
        checked_in = now if sign is None else max(min(sign, now), part.checked_in)
        self._parts[name] = replace(part, seen=seen, checked_in=checked_in, watched=True)

    def crashed(self, name: str, now: float, error: str) -> None:
        """The part ended with an error and waits for its restart; until then it has no loop to watch."""
        self._ended(name, ComponentState.FAILED, now, error, restarts=1)

    def stopped(self, name: str, now: float) -> None:
        """The part ended because it was told to."""
        self._ended(name, ComponentState.STOPPED, now, "", restarts=0)

    def _ended(self, name: str, state: ComponentState, now: float, detail: str, *, restarts: int) -> None:
        part = self._parts[name]
        seen = replace(part.seen, state=state, detail=detail, since=now, restarts=part.seen.restarts + restarts)
        self._parts[name] = replace(part, seen=seen, watched=False)

    def restarted(self, name: str, now: float) -> None:
        """The part runs again: STARTING, with the last error still to be read, until it reports."""
        part = self._parts[name]
        seen = replace(part.seen, state=ComponentState.STARTING, since=now)
        self._parts[name] = replace(part, seen=seen, checked_in=now, watched=True)

    def snapshot(self, now: float) -> Health:
        """Return how all parts are. A part that is late counts as FAILED, whatever it said last."""
        components = []
        late = []
        for part in self._parts.values():
            seen = part.seen
            silent = now - part.checked_in
            if part.watched and part.deadline_s is not None and silent > part.deadline_s:
                seen = replace(
                    seen,
                    state=ComponentState.FAILED,
                    detail=f"no sign of life for {silent:.0f} s",
                    since=part.checked_in + part.deadline_s,
                )
                if part.critical:
                    late.append(seen.name)
            components.append(seen)
        # What is not critical, or has somebody who stands in for it, can make the agent no worse than degraded.
        working = {self._parts[seen.name].group for seen in components if seen.state is ComponentState.OK} - {""}
        states = [_at_worst_degraded(seen.state) if self._spared(seen, working) else seen.state for seen in components]
        state = max(states, key=_SEVERITY.__getitem__, default=ComponentState.STARTING)
        return Health(state, tuple(components), tuple(late), now)

    def _spared(self, seen: ComponentHealth, working: set[str]) -> bool:
        part = self._parts[seen.name]
        return not part.critical or part.group in working


def _at_worst_degraded(state: ComponentState) -> ComponentState:
    return ComponentState.DEGRADED if state == ComponentState.FAILED else state

"""The five lines of `edge-agent watch`: verdict, readers, screens, delivery, last taps. Pure; another version's answer
may lack things, which are left out.
"""

from collections.abc import Callable, Iterable

from edge_agent.cli.live_feed import Visit, arrows
from edge_agent.cli.live_screen import Segment
from edge_agent.cli.render import MAX_WIDTH, ago, counted
from edge_agent.cli.status_view import Answer, tables_in, text_of

HEIGHT = 5
_LABEL = 10
_GOOD = {"polling", "serving", "occupied", "showing", "up"}
_WARN = {"opening", "starting", "hidden"}
_VERDICTS = {
    "ok": ("good", "OK, takes taps"),
    "starting": ("warn", "STARTING"),
    "degraded": ("warn", "DEGRADED, takes taps, but not all is well"),
    "failed": ("bad", "FAILED"),
    "stopped": ("bad", "STOPPED"),
}


def waiting(why: str) -> list[list[Segment]]:
    """While nobody answers."""
    return [[("waiting for the agent …", "warn")], [(text_of(why, 200), "dim")]]


def lines(status: Answer, visits: Iterable[Visit], now: float) -> list[list[Segment]]:
    """The view of one moment; ``now`` is the clock of the visits."""
    return [
        _verdict(status),
        _label("readers") + _parts([*tables_in(status, "readers"), *tables_in(status, "tags")], _reader),
        _label("screens") + _parts(tables_in(status, "screens"), _screen),
        _label("delivery") + _delivery(status),
        _label("taps") + _taps(visits, now),
    ]


def state_of(status: Answer) -> str:
    """The word of the whole health."""
    health = status.get("health")
    return str(health.get("state")) if isinstance(health, dict) else "unknown"


def one_tap(visit: Visit, now: float) -> list[Segment]:
    """One phone: where, how long ago, what happened."""
    text, kind = arrows(visit)
    test = " test" if visit.is_test else ""
    return [(f"{text_of(visit.where, 24)}{test} {ago(max(0.0, now - visit.at))} ago  ", ""), (text, kind)]


def _label(text: str) -> list[Segment]:
    return [(f"{text:<{_LABEL}}", "dim")]


def _verdict(status: Answer) -> list[Segment]:
    kind, word = _VERDICTS.get(state_of(status), ("bad", "UNKNOWN"))
    line = [(f"{text_of(status.get('terminal', 'agent'), 64)}: {word}", kind)]
    health = status.get("health")
    parts = tables_in(health, "components") if isinstance(health, dict) else []
    wrong = [text_of(part.get("name"), 24) for part in parts if str(part.get("state")) in {"failed", "degraded"}]
    if wrong:
        line.append((f" · {', '.join(wrong)}", kind))
    elif isinstance(up := status.get("uptime_s"), int | float):
        line.append((f" · up {ago(up)}", ""))
    return line


def _parts(parts: list[Answer], told: Callable[[Answer], str]) -> list[Segment]:
    line: list[Segment] = []
    for part in parts:
        state = text_of(part.get("state"), 24)
        kind = "good" if state in _GOOD else "warn" if state in _WARN else "bad"
        line += [(" · " if line else "", ""), (f"{text_of(part.get('name'), 24)} {state}", kind)]
        line.append((told(part), ""))
    return line or [("none", "dim")]


def _reader(part: Answer) -> str:
    taps, lost = part.get("taps"), part.get("lost")
    told = f" {counted(taps, 'tap')}" if isinstance(taps, int) else ""
    return told + (f", {lost:,.0f} lost" if isinstance(lost, int | float) and lost else "")


def _screen(part: Answer) -> str:
    return f" shows {text_of(part['last_cue'], 24)}" if part.get("last_cue") else ""


def _delivery(status: Answer) -> list[Segment]:
    uplink, outbox = status.get("uplink"), status.get("outbox")
    line: list[Segment] = []
    if isinstance(uplink, dict):
        if uplink.get("up") is True:
            line.append(("connected", "good"))
        else:
            line.append((f"not connected ({text_of(uplink.get('reason', '?'), 40)})", "bad"))
    if isinstance(outbox, dict):
        waiting_rows = sum(count for name in ("pending", "leased") if isinstance(count := outbox.get(name), int))
        line.append((f" · {waiting_rows:,} waiting", "warn" if waiting_rows else ""))
        for name, words in (("sent", "not confirmed"), ("stored", "stored"), ("parked", "refused")):
            if isinstance(count := outbox.get(name), int) and count:
                line.append((f" · {count:,} {words}", "bad" if name == "parked" else ""))
        if outbox.get("fault"):
            line.append((f" · taps cannot be kept: {text_of(outbox['fault'], 24)}", "bad"))
    return line or [("not known", "dim")]


def _taps(visits: Iterable[Visit], now: float) -> list[Segment]:
    line: list[Segment] = []
    room = MAX_WIDTH - 1 - _LABEL
    for visit in visits:
        more = ([("  |  ", "dim")] if line else []) + one_tap(visit, now)
        room -= sum(len(text) for text, _ in more)
        if line and room < 0:
            break
        line += more
    return line or [("none yet", "dim")]

"""The agent runs, answers, and finds itself well."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.control_client import NotAllowed, NotRunning
from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.diag.site import AGENT, AGENT_DOWN, AGENT_SILENT, Site
from edge_agent.errors import ControlError
from edge_agent.sanitize import printable

DOWN = Kind(
    AGENT_DOWN,
    Severity.ERROR,
    "The agent does not run",
    "Start it, and see why it ended: the last lines of its log tell.",
    ("systemctl status edge-agent", "edge-agent logs -n 30", "sudo systemctl start edge-agent"),
)
SILENT = Kind(
    AGENT_SILENT,
    Severity.ERROR,
    "The agent does not answer",
    "It hangs, and systemd restarts it within half a minute; see afterwards what it said before.",
    ("systemctl status edge-agent", "edge-agent logs -n 50"),
)
UNWELL = Kind(
    "agent-unwell",
    Severity.WARNING,
    "The agent says that a part of it is not well",
    "If nothing else is found, wait a minute and look again: it may be healing itself.",
    ("edge-agent status", "edge-agent logs --level warning --since 15min"),
    symptom=True,
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask it over its control socket."""
    try:
        answer = site.answer
    except NotRunning as error:
        yield Finding(DOWN, error.text)
        return
    except NotAllowed as error:
        raise CannotLook(error.text, remedy=error.remedy) from None
    except ControlError as error:
        yield Finding(SILENT, error.text)
        return
    for part in _components(answer):
        if part.get("state") not in ("ok", "starting"):
            detail = printable(str(part.get("detail") or ""), limit=200)
            state = printable(str(part.get("state")), limit=20)
            yield Finding(UNWELL, f"{state}: {detail}" if detail else state, printable(str(part.get("name")), limit=40))
    yield Seen(f"version {printable(str(answer.get('version')))} answers at {site.socket}")


def _components(answer: Mapping[str, Any]) -> list[dict[str, object]]:
    """The parts of its health; none where the answer is not what we know."""
    health = answer.get("health")
    parts = health.get("components") if isinstance(health, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


CHECK = Check(AGENT, "the agent runs, answers and finds itself well", (DOWN, SILENT, UNWELL), look)

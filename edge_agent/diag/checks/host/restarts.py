"""The agent did not have to restart itself lately."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

LATELY_S = 3600

RESTARTED = Kind(
    "agent-restarted",
    Severity.WARNING,
    "The agent restarted itself within the last hour",
    "One of its parts could only be healed by a new process. If it happens again, change the part that is named, or "
    "its cable.",
    ("edge-agent status", "edge-agent logs --since 2h --level warning"),
    symptom=True,
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """What the agent says of the process before it."""
    status = site.status
    reason = printable(str(status.get("restarted_because") or ""), limit=200)
    if reason and float(status.get("uptime_s") or 0) < LATELY_S:
        yield Finding(RESTARTED, reason)
    else:
        yield Seen(f"restarted itself before it: {reason}" if reason else "it did not restart itself")


CHECK = Check("restarts", "the agent does not restart itself", (RESTARTED,), look)

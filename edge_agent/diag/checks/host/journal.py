"""Errors that the agent logged in the last hour, and whether its log outlives a power cut."""

from collections import Counter
from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.journal import command
from edge_agent.diag.log_lines import read_line
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

SINCE_S = 3600
MAX_LINES = 2000
SHOWN = 3

ERRORS = Kind(
    "journal-errors",
    Severity.WARNING,
    "The agent logged errors within the last hour",
    "Read them; if nothing else is found, it is over or comes and goes: look at cables and at the times.",
    ("edge-agent logs --level error --since 1h",),
    symptom=True,
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Count the events of its newest lines."""
    if not site.path("/run/systemd/system").is_dir():
        raise NotHere("this machine was not booted with systemd")
    words = command(lines=MAX_LINES, since=site.clock.read().unix - SINCE_S)
    said = site.run(words)
    if not said.out and ("permission" in said.err or "messages from other users" in said.err):
        raise CannotLook("no permission to read the journal", remedy="run it with sudo")
    lines = [line for text in said.out.splitlines() if (line := read_line(text)) is not None]
    events = Counter(line.event for line in lines if line.level in ("error", "critical") and not line.source)
    if not site.path("/var/log/journal").is_dir():
        yield Seen("the journal is kept in memory only: a power cut takes it along")
    if not events:
        yield Seen("no errors in the last hour")
        return
    told = [f"{printable(event, limit=60)} ({count:,} times)" for event, count in events.most_common(SHOWN)]
    more = f" and {len(events) - SHOWN} others" if len(events) > SHOWN else ""
    yield Finding(ERRORS, ", ".join(told) + more)


CHECK = Check("journal", "the agent logs no errors", (ERRORS,), look)

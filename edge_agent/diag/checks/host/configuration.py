"""The configuration can be read, and nothing in it is wrong."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.site import CONFIG_INVALID, Site
from edge_agent.errors import ConfigError

INVALID = Kind(
    CONFIG_INVALID,
    Severity.ERROR,
    "The configuration is wrong",
    "Correct the line that is named, then start the agent again. An agent that runs goes on with what it read at its "
    "start, but does not come back after a restart.",
    ("edge-agent config check",),
    hides=("agent-down", "service-failed", "service-restarting", "service-stopped"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Load it as the agent does: file, drop-ins, environment."""
    try:
        loaded = site.loaded
    except ConfigError as error:
        for problem in error.problems:
            yield Finding(INVALID, problem)
        return
    terminal = loaded.settings.terminal
    yield Seen(f"{loaded.path}: {terminal.id} of fleet {terminal.fleet}")


CHECK = Check("configuration", "the configuration is right", (INVALID,), look)

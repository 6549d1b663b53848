"""The agent runs, answers, and finds itself well."""

from collections.abc import Iterator

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
    yield Seen(f"version {printable(str(answer.get('version')))} answers at {site.socket}")


CHECK = Check(AGENT, "the agent runs and answers", (DOWN, SILENT), look)

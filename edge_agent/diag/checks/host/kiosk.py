"""The browser that shows the page, where this board has one of its own."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.checks.host.service import ending
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.diag.units import KIOSK_UNIT, command_fix, unit

DOWN = Kind(
    "kiosk-down",
    Severity.ERROR,
    "The browser of the page does not run",
    "The screen shows nothing of the agent, although taps are taken. See why it ended, and start it again.",
    ("systemctl status edge-kiosk", "journalctl -u edge-kiosk -n 30", "sudo systemctl restart edge-kiosk"),
    hides=("page-not-shown",),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Only where its unit is enabled: a player of adverts may show the page instead."""
    kiosk = unit(site, KIOSK_UNIT)
    if kiosk["UnitFileState"] not in ("enabled", "enabled-runtime"):
        raise NotHere("no kiosk is switched on here")
    if kiosk["ActiveState"] == "active":
        yield Seen("the kiosk runs")
        return
    if kiosk["ActiveState"] == "activating" and kiosk["SubState"] == "start-pre":
        yield Finding(DOWN, 'it waits for the page: does the agent serve one ([[screens]], driver = "web")?')
        return
    start = command_fix(site, "start the kiosk", "systemctl", "restart", KIOSK_UNIT)
    why = "stopped" if kiosk["ActiveState"] == "inactive" else ending(kiosk)
    yield Finding(DOWN, why, fix=start)


CHECK = Check("kiosk", "the browser shows the page", (DOWN,), look)

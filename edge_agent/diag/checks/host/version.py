"""The agent that runs is the installed one, with the configuration of now."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable
from edge_agent.version import VERSION

PENDING = Kind(
    "restart-pending",
    Severity.WARNING,
    "The agent has not been restarted since it was changed",
    "It goes on with what it was started with. Restart it; that takes a second, and no tap gets lost.",
    ("sudo systemctl restart edge-agent",),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Compare version and digest of the settings with what the agent says it runs."""
    status = site.status
    running = printable(str(status.get("version")), limit=40)
    if running != VERSION:
        yield Finding(PENDING, f"version {VERSION} is installed, {running} runs")
        return
    changed = _changed(site, str(status.get("config", "")), float(status.get("uptime_s") or 0))
    if changed is not None:
        yield Finding(PENDING, f"{changed} was changed after the agent had read it")
        return
    yield Seen(f"version {running}")


def _changed(site: Site, running: str, uptime_s: float) -> Path | None:
    """The newest file of the configuration, if it is younger than the agent and the settings are others.

    Both: variables of the service's environment, which are not ours, make other settings as well.
    """
    from edge_agent.config.plain import digest  # noqa: PLC0415 -- pydantic is slow to import
    from edge_agent.config.sources import drop_ins  # noqa: PLC0415 -- as above

    if not running or digest(site.settings) == running:
        return None
    files = [site.config_path, *drop_ins(site.config_path, [])]
    newest = max(files, key=lambda path: path.stat().st_mtime)
    return newest if newest.stat().st_mtime > site.clock.read().unix - uptime_s else None


CHECK = Check("version", "the running agent is the installed one", (PENDING,), look)

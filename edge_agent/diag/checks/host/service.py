"""The service of the agent: installed, started at boot, running, and not for the hundredth time."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.diag.units import AGENT_UNIT, Unit, command_fix, unit

MANY = 3
LATELY_S = 600
_STATUS = ("systemctl status edge-agent", "edge-agent logs -n 30")

# systemd.exec(5), "Process Exit Codes": what the service manager itself could not do.
_MANAGER = {
    200: "its working directory is missing",
    203: "its program is missing or cannot be run: is the package whole?",
    208: "its standard input cannot be set up",
    214: "its scheduling cannot be set up",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "its sandbox cannot be set up: does a folder that it names exist?",
    233: "its runtime directory cannot be made",
    238: "its state directory cannot be made",
    240: "its log directory cannot be made",
    241: "its configuration directory cannot be made",
    243: "a credential cannot be loaded",
}

FAILED = Kind(
    "service-failed",
    Severity.ERROR,
    "The service of the agent has failed and stays down",
    "Mend what its last lines name, then start it again.",
    (*_STATUS, "sudo systemctl reset-failed edge-agent", "sudo systemctl restart edge-agent"),
    hides=("agent-down", "service-restarting", "service-stopped"),
)
RESTARTING = Kind(
    "service-restarting",
    Severity.ERROR,
    "The agent ends and starts again and again",
    "Mend what the last lines before each end name; if they name nothing, make a bundle for its makers.",
    (*_STATUS, "edge-agent bundle"),
    hides=("agent-down", "agent-silent"),
)
STOPPED = Kind(
    "service-stopped",
    Severity.ERROR,
    "The service of the agent is stopped",
    "Somebody stopped it, or it was never started. Start it.",
    ("sudo systemctl start edge-agent",),
    hides=("agent-down",),
)
DISABLED = Kind(
    "service-disabled",
    Severity.WARNING,
    "The agent does not start at the next boot",
    "Its service is disabled or masked: enable it.",
    ("sudo systemctl unmask edge-agent", "sudo systemctl enable edge-agent"),
)
INVALID = Kind(
    "service-invalid",
    Severity.ERROR,
    "The unit file of the agent's service is wrong",
    "A drop-in has a line that systemd refuses: correct it or take it away.",
    ("systemd-analyze verify edge-agent.service", "systemctl cat edge-agent"),
    hides=("agent-down", "service-failed", "service-stopped"),
)
CHANGED = Kind(
    "service-changed",
    Severity.WARNING,
    "The unit file was changed and systemd has not read it",
    "What was changed counts only after systemd has read it and the service was started anew.",
    ("sudo systemctl daemon-reload", "sudo systemctl restart edge-agent"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """As systemctl tells it."""
    service = unit(site)
    if not service.installed:
        raise NotHere("the agent is not installed as a service")
    if service["LoadState"] in ("bad-setting", "error"):
        yield Finding(INVALID, f"systemd says {service['LoadState']}")
        return
    if service["UnitFileState"] in ("disabled", "masked", "masked-runtime", "enabled-runtime"):
        enable = command_fix(site, "let the agent start at each boot", "systemctl", "enable", AGENT_UNIT)
        masked = "masked" in service["UnitFileState"] or service["LoadState"] == "masked"
        yield Finding(DISABLED, f"it is {service['UnitFileState']}", fix=None if masked else enable)
    if service["NeedDaemonReload"] == "yes":
        yield Finding(CHANGED, "", fix=command_fix(site, "let systemd read it", "systemctl", "daemon-reload"))
    yield from _activity(site, service)


def _activity(site: Site, service: Unit) -> Iterator[Finding | Seen]:
    active, restarts = service["ActiveState"], service.number("NRestarts")
    up_s = _up_s(site, service)
    if active == "failed":
        yield Finding(FAILED, ending(service))
    elif service["SubState"] == "auto-restart":
        yield Finding(RESTARTING, f"{restarts:,} times so far; the last time {ending(service)}")
    elif active == "inactive":
        start = command_fix(site, "start the agent", "systemctl", "start", AGENT_UNIT)
        yield Finding(STOPPED, "systemd says inactive", fix=start)
    elif restarts >= MANY and up_s is not None and up_s < LATELY_S:
        yield Finding(RESTARTING, f"{restarts:,} times so far, the last time {up_s:.0f} s ago")
    else:
        times = f", started again {restarts:,} times" if restarts else ""
        yield Seen(f"{active} as {service['User'] or 'root'}{times}")


def ending(service: Unit) -> str:
    """Say how its last process ended, in words."""
    status, result = service.number("ExecMainStatus"), service["Result"]
    if status == 78 and result == "exit-code":
        return "exit status 78: its configuration or its key is wrong"
    if result == "exit-code":
        known = _MANAGER.get(status)
        return f"exit status {status}: {known}" if known else f"exit status {status}"
    words = {
        "watchdog": "it hung, and the watchdog ended it",
        "oom-kill": "the kernel killed it for lack of memory",
        "timeout": "it did not start or stop in time",
        "signal": f"it was killed by signal {status}",
        "core-dump": f"it crashed with signal {status}",
        "start-limit-hit": "it was started too often",
        "resources": "the machine had no resources to start it",
        "protocol": "it ended without saying that it was ready",
    }
    return words.get(result, f"it ended: {result}, status {status}")


def _up_s(site: Site, service: Unit) -> float | None:
    """Seconds since it became active, by the clock of the boot; None where that is not known."""
    since = service.number("ActiveEnterTimestampMonotonic")
    return site.clock.monotonic() - since / 1e6 if since else None


CHECK = Check(
    "service",
    "the service runs, stays up and starts at boot",
    (FAILED, RESTARTING, STOPPED, DISABLED, INVALID, CHANGED),
    look,
)

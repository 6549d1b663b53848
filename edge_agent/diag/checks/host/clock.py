"""The wall clock is right, something keeps it right, and the agent knows that."""

from collections.abc import Iterator
from datetime import UTC, datetime

from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.diag.units import command_fix, values
from edge_agent.errors import ConfigError
from edge_agent.holdover import EARLIEST_SANE_UNIX
from edge_agent.models import ClockTrust
from edge_agent.sanitize import printable

FOLLOWS = ("broker-certificate-not-yet-valid", "own-certificate-not-yet-valid", "clock-far-off", "clock-skewed")
"""Ids of what an unset clock makes look wrong."""

WRONG = Kind(
    "clock-wrong",
    Severity.ERROR,
    "The clock cannot be right",
    "It tells a date before this program was written. Give the board a network, or set the clock by hand; if it is "
    "wrong again after each power cut, its clock chip has no battery.",
    ("timedatectl", "sudo timedatectl set-ntp true"),
    hides=("clock-unset", "clock-unsynchronised", "clock-service-off", "clock-unheard", *FOLLOWS),
)
UNSET = Kind(
    "clock-unset",
    Severity.ERROR,
    "The clock is not trusted",
    "Since the boot nobody has told this board the time. Taps are taken, but the cloud cannot tell when they were. Let "
    "it reach a time server (UDP port 123).",
    ("timedatectl timesync-status", "timedatectl"),
    hides=FOLLOWS,
)
UNSYNCHRONISED = Kind(
    "clock-unsynchronised",
    Severity.WARNING,
    "The clock runs on without a time server",
    "It is right for now and drifts by some seconds a day. Let the board reach a time server (UDP port 123).",
    ("timedatectl timesync-status", "timedatectl"),
)
SERVICE_OFF = Kind(
    "clock-service-off",
    Severity.ERROR,
    "Nothing on this board keeps the clock right",
    "Switch time synchronisation on; where there is no such service, install one (systemd-timesyncd or chrony).",
    ("timedatectl", "sudo timedatectl set-ntp true"),
    hides=("clock-unset", "clock-unsynchronised", *FOLLOWS),
)
UNHEARD = Kind(
    "clock-unheard",
    Severity.ERROR,
    "The clock is right, but the agent is not told so",
    "The service that asks the kernel for the agent does not run or is not let.",
    ("systemctl status edge-agent-clock", "sudo systemctl restart edge-agent-clock"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """What the kernel says, what the agent makes of it, and who could put it right."""
    reading = site.clock.read()
    if reading.unix < EARLIEST_SANE_UNIX:
        yield Finding(WRONG, f"it says {_date(reading.unix)}")
        return
    if reading.trust is ClockTrust.SYNCED:
        if _agent_says(site) == ClockTrust.UNSET.name.lower():
            yield Finding(UNHEARD, "the kernel says that it is synchronised, the agent that nobody set it")
            return
        yield Seen(f"synchronised, {_date(reading.unix)}")
        return
    if _is_assumed(site):
        yield Seen(f"the configuration takes it for granted, {_date(reading.unix)}")
        return
    service = _service(site)
    if service == "no":
        fix = command_fix(site, "switch time synchronisation on", "timedatectl", "set-ntp", "true")
        yield Finding(SERVICE_OFF, "no time service is switched on", fix=fix)
    trust = _agent_says(site) or reading.trust.name.lower()
    if trust == ClockTrust.UNSET.name.lower():
        yield Finding(UNSET, f"it says {_date(reading.unix)}, which nobody confirmed since the boot")
    else:
        yield Finding(UNSYNCHRONISED, "the last time server is out of reach, or was never there")


def _agent_says(site: Site) -> str:
    """The trust in which the agent holds it; empty if no agent runs."""
    answer = site.running
    clock = answer.get("clock") if answer is not None else None
    return printable(str(clock.get("trust")), limit=20) if isinstance(clock, dict) else ""


def _is_assumed(site: Site) -> bool:
    try:
        return site.loaded.settings.clock.trust == "assume-synced"
    except ConfigError:
        return False


def _service(site: Site) -> str:
    """Whether timedated knows a time service that is switched on: yes, no, or empty if nobody can tell."""
    try:
        return values(site.run(["timedatectl", "show"]).out).get("NTP", "")
    except CannotLook:
        return ""


def _date(unix: int) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M} UTC"


CHECK = Check(
    "clock", "the clock is right and synchronised", (WRONG, UNSET, UNSYNCHRONISED, SERVICE_OFF, UNHEARD), look
)

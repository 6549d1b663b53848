"""The readers work steadily: they are not opened again and again, and few phones are lost in the midst of a tap."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import number, text, told_of
from edge_agent.diag.site import Site

UNSTEADY = Kind(
    "reader-unsteady",
    Severity.WARNING,
    "A reader has to be opened again and again",
    "It works in between. Look for a loose plug, a long or thin cable, a weak supply, a second device on the same "
    "line; try another USB socket.",
    ("edge-agent logs --level warning", "sudo dmesg | grep -i usb | tail"),
)
WEAK = Kind(
    "reader-loses-phones",
    Severity.WARNING,
    "Many phones are lost in the midst of a tap",
    "The field is weak, or people cannot tell where to hold the phone: look for metal near the antenna, a mark that is "
    "not over its middle, a thicker glass.",
    ("edge-agent doctor --interactive", "edge-agent reader read"),
)
REOPENS, REOPENS_PER_HOUR = 3, 1.0
LEAST_TAPS, LOST_SHARE = 20, 0.3


def look(site: Site) -> Iterator[Finding | Seen]:
    """From the agent's own counts since its start."""
    names = [reader.name for reader in site.settings.readers]
    if not names:
        raise NotHere("no reader is configured")
    status = site.status
    hours = max((number(status, "uptime_s") or 0.0) / 3600, 0.1)
    for name in names:
        told = told_of(status, "readers", name)
        taps, lost = number(told, "taps") or 0, number(told, "lost") or 0
        reopens = number(told, "reopens") or 0
        well = True
        if reopens >= REOPENS and reopens / hours >= REOPENS_PER_HOUR:
            last = text(told, "last_error")
            yield Finding(UNSTEADY, f"opened again {reopens:.0f} times in {hours:.1f} h; last: {last}", name)
            well = False
        if taps + lost >= LEAST_TAPS and lost / (taps + lost) >= LOST_SHARE:
            yield Finding(WEAK, f"{lost:.0f} of {taps + lost:.0f} phones left without their token", name)
            well = False
        if well and told:
            yield Seen(f"{taps:.0f} taps, {lost:.0f} lost, opened again {reopens:.0f} times", name)


CHECK = Check("reader-health", "the readers work steadily and lose few phones", (UNSTEADY, WEAK), look)

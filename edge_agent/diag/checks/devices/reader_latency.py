"""USB converters hand on what they have at once: one of FTDI waits for 16 ms where nobody told it not to."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import Finding, Fix, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import reader_lines, screen_lines
from edge_agent.diag.site import Site

SLOW = Kind(
    "reader-latency-timer",
    Severity.WARNING,
    "A USB converter holds each answer back",
    "Each step of a tap takes up to 16 ms longer. The udev rules of the package set the timer to 1 ms when the "
    "converter is plugged in: see whether they are there.",
    ("sudo udevadm trigger", "cat /sys/bus/usb-serial/devices/*/latency_timer"),
)
GOOD_MS = 2


def look(site: Site) -> Iterator[Finding | Seen]:
    """Only converters that have such a timer tell it."""
    found = False
    for line in (*reader_lines(site), *screen_lines(site)):
        name = f"/sys/bus/usb-serial/devices/{line.tty}/latency_timer" if line.path else ""
        waits_ms = whole(site.read(name)) if name else None
        if waits_ms is None:
            continue
        found = True
        if waits_ms <= GOOD_MS:
            yield Seen(f"{line.tty} waits {waits_ms} ms", line.user)
            continue

        def write(file: str = name) -> None:
            site.path(file).write_text("1\n", encoding="ascii")

        fix = Fix(f"set the latency timer of {line.tty} to 1 ms", write)
        yield Finding(SLOW, f"{line.tty} holds back what it hears for up to {waits_ms} ms", line.user, fix=fix)
    if not found:
        raise NotHere("no converter has a latency timer")


CHECK = Check("reader-latency", "USB converters hand on each answer at once", (SLOW,), look)

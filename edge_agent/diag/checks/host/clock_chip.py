"""The board's clock chip (RTC), which carries the time over a power cut, runs and agrees with the wall clock."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.models import ClockTrust

CHIP = "/sys/class/rtc/rtc0"
MAX_APART_S = 120

OFF = Kind(
    "clock-chip-off",
    Severity.WARNING,
    "The clock chip tells another time",
    "After the next power cut the board starts with a wrong time. If it is off again soon after it was set, its "
    "battery is empty.",
    ("sudo hwclock --show", "sudo hwclock --systohc"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Compare it with the wall clock, where that one can be trusted."""
    told = whole(site.read(f"{CHIP}/since_epoch"))
    if told is None:
        raise NotHere("this board has no clock chip: it has to ask a time server after each boot")
    reading = site.clock.read()
    if reading.trust is not ClockTrust.SYNCED:
        raise NotHere("there is no trusted time to compare it with")
    apart = told - reading.unix
    if abs(apart) > MAX_APART_S:
        yield Finding(OFF, f"it is {abs(apart):,} s {'ahead of' if apart > 0 else 'behind'} the wall clock")
    else:
        yield Seen(f"{CHIP.rpartition('/')[2]} agrees with the wall clock")


CHECK = Check("clock-chip", "the clock chip carries the time over a power cut", (OFF,), look)

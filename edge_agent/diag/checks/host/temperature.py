"""The processor is not so hot that it has to go slower."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.checks.host.power import throttled
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

HOT_C = 80
"""Where a Raspberry Pi begins to slow down; other boards do so later, and live shorter above it."""
# vcgencmd get_throttled: bit 1 "ARM frequency capped", bit 2 "currently throttled", bit 3 "soft temperature limit".
_SLOWED = 0b1110
_SLOWED_BY_POWER = 0b0001

HOT = Kind(
    "host-hot",
    Severity.WARNING,
    "The board is too hot",
    "It slows down and ages. Look for a blocked vent, a lamp or the screen's heat beside it, and for a program that "
    "keeps it busy.",
    ("grep . /sys/class/thermal/thermal_zone*/temp", "top -b -n 1 | head -n 15"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask every thermal zone."""
    zones = list(_zones(site))
    if not zones:
        raise NotHere("this board does not tell its temperature")
    name, hottest = max(zones, key=lambda zone: zone[1])
    word = throttled(site) or 0
    if hottest >= HOT_C:
        yield Finding(HOT, f"{name} has {hottest:.0f} °C")
    elif word & _SLOWED and not word & _SLOWED_BY_POWER:
        yield Finding(HOT, f"the board has slowed itself down, {name} has {hottest:.0f} °C")
    else:
        yield Seen(f"{hottest:.0f} °C")


def _zones(site: Site) -> Iterator[tuple[str, float]]:
    """Name and degrees Celsius; a zone that is switched off or absurd does not count."""
    for path in sorted(site.path("/sys/class/thermal").glob("thermal_zone*")):
        told = whole(site.read(f"/sys/class/thermal/{path.name}/temp"))
        if told is not None and -40_000 < told < 150_000:
            yield printable(site.read(f"/sys/class/thermal/{path.name}/type") or path.name, limit=30), told / 1000


CHECK = Check("temperature", "the board is not too hot", (HOT,), look)

"""How worn the flash is, where it tells: eMMC since 5.0 (JESD84-B50, EXT_CSD 267 to 269); SD cards say nothing."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

SECTOR = 512
LEAST_UPTIME_S = 900
"""Sooner after a boot nothing can be said of a day."""

WORN = Kind(
    "disk-worn",
    Severity.WARNING,
    "The flash of this board is nearly worn out",
    "Plan its replacement; what writes so much, the bytes a day tell. The outbox itself writes little "
    "(docs/reliability.md).",
    ("grep . /sys/block/mmcblk*/device/life_time", "edge-agent doctor -v --only wear"),
)
WORN_OUT = Kind(
    "disk-worn-out",
    Severity.ERROR,
    "The flash of this board is worn out",
    "It may turn read-only any day: replace it now. Let the terminal deliver what it holds first.",
    ("grep . /sys/block/mmcblk*/device/life_time", "edge-agent outbox stats"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Each flash chip that tells."""
    told = False
    for device in sorted(path.name for path in site.path("/sys/block").glob("mmcblk*") if path.name[6:].isdecimal()):
        life = site.read(f"/sys/block/{device}/device/life_time")
        if life is None:
            continue
        told = True
        reserve = site.read(f"/sys/block/{device}/device/pre_eol_info")
        yield judge(device, life, reserve or "0x00", _daily(site, device))
    if not told:
        raise NotHere("no flash here tells how worn it is")


def judge(device: str, life: str, reserve: str, daily: str = "") -> Finding | Seen:
    """Judge one device by its ``life_time`` (steps of 10 % for both kinds of cells) and ``pre_eol_info``.

    1 to 10 of ``life_time`` are 0-10 % to 90-100 % used, 11 is beyond; 1 to 3 of ``pre_eol_info`` are normal, 80 % and
    90 % of the reserve used; 0 is undefined.
    """
    used, left = max(_numbers(life), default=0), max(_numbers(reserve), default=0)
    text = f"{10 * (used - 1)} to {10 * used} % used" if 1 <= used <= 10 else "beyond its life" if used else "not told"
    text += f", reserve {('not told', 'normal', '80 % used', '90 % used')[left if left < 4 else 0]}"
    if used >= 11 or left == 3:
        return Finding(WORN_OUT, text, device)
    if used >= 10 or left == 2:
        return Finding(WORN, text, device)
    return Seen(text + daily, device)


def _daily(site: Site, device: str) -> str:
    """What was written a day since the boot; empty where that is not known."""
    fields = (site.read(f"/sys/block/{device}/stat") or "").split()
    uptime = (site.read("/proc/uptime") or "").partition(" ")[0]
    sectors, up_s = whole(fields[6] if len(fields) > 6 else None), whole(uptime.partition(".")[0])
    if sectors is None or up_s is None or up_s < LEAST_UPTIME_S:
        return ""
    return f", {sectors * SECTOR / (up_s / 86_400) / 1e9:.1f} GB written a day"


def _numbers(text: str) -> list[int]:
    words = printable(text, limit=40).split()
    return [found for word in words if (found := whole(word, base=16)) is not None]


CHECK = Check("wear", "the flash is not worn out", (WORN, WORN_OUT), look)

"""The supply holds its voltage, where the board tells: Raspberry Pi firmware and drivers."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site

# Raspberry Pi documentation, vcgencmd get_throttled: bit 0 "undervoltage detected", bit 16 "has occurred".
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
_LOW_NOW, _LOW_BEFORE = 1 << 0, 1 << 16

LOW = Kind(
    "power-low",
    Severity.ERROR,
    "The supply voltage is too low",
    "Readers reset themselves and cards get damaged. Take a stronger supply or a shorter, thicker cable, and nothing "
    "else from the same USB port.",
    ("sudo dmesg | grep -i voltage | tail", "vcgencmd get_throttled"),
    hides=("power-was-low",),
)
WAS_LOW = Kind(
    "power-was-low",
    Severity.WARNING,
    "The supply voltage was too low since the boot",
    "It holds now. If a reader or a screen had resets, that is why: take a stronger supply or a shorter cable.",
    ("sudo dmesg | grep -i voltage | tail", "vcgencmd get_throttled"),
)


def throttled(site: Site) -> int | None:
    """Return the word of the firmware, None where there is none."""
    return whole(site.read(THROTTLED), base=16)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask the firmware and the voltage driver."""
    word = throttled(site)
    names = [path.name for path in site.path("/sys/class/hwmon").glob("hwmon*")]
    drivers = [f"/sys/class/hwmon/{name}" for name in names if site.read(f"/sys/class/hwmon/{name}/name") == "rpi_volt"]
    alarms = [site.read(f"{driver}/in0_lcrit_alarm") for driver in drivers]
    if word is None and not alarms:
        raise NotHere("this board does not tell its supply voltage")
    if (word or 0) & _LOW_NOW or "1" in alarms:
        yield Finding(LOW, "the board reports undervoltage now")
    elif (word or 0) & _LOW_BEFORE:
        yield Finding(WAS_LOW, "the board reports undervoltage since its boot")
    else:
        yield Seen("the supply voltage was never too low since the boot")


CHECK = Check("power", "the supply holds its voltage", (LOW, WAS_LOW), look)

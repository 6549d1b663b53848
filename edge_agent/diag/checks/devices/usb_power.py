"""The USB devices of readers and screens are not put to sleep while nobody taps."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Fix, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import Line, reader_lines, screen_lines
from edge_agent.diag.site import Site

SLEEPS = Kind(
    "usb-autosuspend",
    Severity.WARNING,
    "A USB converter is put to sleep when it is idle",
    "Some do not wake up again, and the first tap after a quiet hour is lost. The udev rules of the package keep known "
    "ones awake: see whether they are there.",
    ("sudo udevadm trigger", "cat /sys/bus/usb/devices/*/power/control"),
)
_DEEP = 12


def look(site: Site) -> Iterator[Finding | Seen]:
    """By what the kernel says of the device behind each port."""
    found = False
    for line in (*reader_lines(site), *screen_lines(site)):
        control = _control(site, line) if line.path else None
        if control is None:
            continue
        found = True
        if control.read_text(encoding="ascii", errors="replace").strip() != "auto":
            yield Seen(f"{line.tty} stays awake", line.user)
            continue

        def write(file: Path = control) -> None:
            file.write_text("on\n", encoding="ascii")

        fix = Fix(f"keep the converter of {line.tty} awake", write)
        yield Finding(SLEEPS, f"{line.tty} may be suspended by the kernel", line.user, fix=fix)
    if not found:
        raise NotHere("no configured port is on USB")


def _control(site: Site, line: Line) -> Path | None:
    """power/control of the USB device behind the port; None where there is none."""
    device = site.path(f"/sys/class/tty/{line.tty}/device").resolve()
    for folder in [device, *device.parents][:_DEEP]:
        if (folder / "idVendor").exists():
            return folder / "power/control" if (folder / "power/control").exists() else None
    return None


CHECK = Check("usb-power", "USB converters are kept awake", (SLEEPS,), look)

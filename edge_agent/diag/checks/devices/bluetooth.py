"""Screens over Bluetooth have what they need of this machine: an adapter that is not blocked, and bluetoothd."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Fix, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

MISSING = Kind(
    "ble-adapter-missing",
    Severity.WARNING,
    "There is no Bluetooth adapter",
    "Plug it in, or switch the one of the board on; see whether its firmware was loaded.",
    ("ls /sys/class/bluetooth", "sudo dmesg | grep -i bluetooth | tail"),
    hides=("ble-blocked", "ble-service-down", "screen-dead"),
)
BLOCKED = Kind(
    "ble-blocked",
    Severity.WARNING,
    "The Bluetooth radio is switched off",
    "Somebody, or a saved state, blocked it: unblock it. A hard block is a switch on the machine.",
    ("rfkill list bluetooth", "sudo rfkill unblock bluetooth"),
    hides=("ble-service-down", "screen-dead"),
)
SERVICE = Kind(
    "ble-service-down",
    Severity.WARNING,
    "The service for Bluetooth does not run",
    "Install and start it: the agent asks it for the screens.",
    ("sudo apt install bluez", "sudo systemctl enable --now bluetooth"),
    hides=("screen-dead",),
)
_NAME = "org.bluez"


def look(site: Site) -> Iterator[Finding | Seen]:
    """The kernel's tree first, then the bus; one finding for each screen that cannot be reached."""
    wanted = [
        (f"ble{index}", screen.adapter or "")
        for index, screen in enumerate(site.settings.screens)
        if screen.driver == "ble"
    ]
    if not wanted:
        raise NotHere("no screen over Bluetooth is configured")
    adapters = sorted(path.name for path in site.path("/sys/class/bluetooth").glob("hci*") if ":" not in path.name)
    for name, adapter in wanted:
        if not adapters or (adapter and adapter not in adapters):
            found = f"there is {', '.join(adapters)}" if adapters else "there is none"
            yield Finding(MISSING, f"{adapter or 'an adapter'} is wanted, {found}", name)
            continue
        if (blocked := _blocked(site, adapter)) is not None:
            yield Finding(BLOCKED, blocked[0], name, fix=blocked[1])
            continue
        if not _has_service(site):
            yield Finding(SERVICE, f"nobody answers as {_NAME} on the system bus", name)
            continue
        yield Seen(f"{adapter or adapters[0]} is there and on, bluetoothd runs", name)


def _blocked(site: Site, adapter: str) -> tuple[str, Fix | None] | None:
    """How the radio is blocked, and what unblocks it; None if it is not (rfkill of the kernel, sysfs-class-rfkill)."""
    for switch in sorted(site.path("/sys/class/rfkill").glob("rfkill*")):
        if _line(switch / "type") != "bluetooth" or (adapter and _line(switch / "name") not in ("", adapter)):
            continue
        if _line(switch / "hard") == "1":
            return "by a switch of the machine (hard block)", None
        if _line(switch / "soft") == "1":

            def unblock(file: Path = switch / "soft") -> None:
                file.write_text("0\n", encoding="ascii")

            return "by software (soft block)", Fix("unblock Bluetooth", unblock)
    return None


def _has_service(site: Site) -> bool:
    said = site.run(
        [
            *("busctl", "--system", "--timeout=2", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus"),
            *("org.freedesktop.DBus", "NameHasOwner", "s", _NAME),
        ]
    )
    return said.status == 0 and said.out.split() == ["b", "true"]


def _line(path: Path) -> str:
    try:
        return printable(path.read_text(encoding="utf-8", errors="replace").strip(), limit=40)
    except OSError:
        return ""


CHECK = Check("bluetooth", "the radio for screens over Bluetooth works", (MISSING, BLOCKED, SERVICE), look)

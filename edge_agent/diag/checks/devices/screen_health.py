"""What the MCU of each screen says of itself: fault bits, temperature, tampering, restarts."""

from collections.abc import Iterator, Mapping
from typing import Any

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import number, told_of
from edge_agent.diag.site import Site

FAULTY = Kind(
    "screen-faulty",
    Severity.WARNING,
    "A screen reports faults of its own",
    "The bits are the maker's: look them up in his manual. Power-cycle the screen; if they come back, replace it.",
    ("edge-agent status",),
)
HOT = Kind(
    "screen-hot",
    Severity.WARNING,
    "A screen is too hot",
    "Displays are made for 70 degrees at most. Let air to it, take it out of the sun, lower its brightness.",
    ("edge-agent config explain brightness",),
)
TAMPERED = Kind(
    "screen-tampered",
    Severity.WARNING,
    "The tamper switch of a screen was opened",
    "Somebody opened the cabinet since the agent started. If it was not you: look at reader, cables and what may have "
    "been put between. It is forgotten with the agent's next start.",
    ("edge-agent logs --level warning",),
)
UNSTEADY = Kind(
    "screen-unsteady",
    Severity.WARNING,
    "A screen restarts or drops off again and again",
    "It works in between. Look for a loose plug and a weak supply: a backlight draws more than a USB port gives.",
    ("edge-agent logs --level warning", "sudo dmesg | grep -i usb | tail"),
)
HOT_C = 70
TIMES, PER_HOUR = 3, 1.0


def look(site: Site) -> Iterator[Finding | Seen]:
    """From what the agent was told; a page says nothing of itself."""
    wanted = [(f"{screen.driver}{index}", screen) for index, screen in enumerate(site.settings.screens)]
    names = [name for name, screen in wanted if screen.driver != "web"]
    if not names:
        raise NotHere("no screen with an MCU is configured")
    status = site.status
    hours = max((number(status, "uptime_s") or 0.0) / 3600, 0.1)
    for name in names:
        if told := told_of(status, "screens", name):
            yield from _look_at(told, name, hours)


def _look_at(told: Mapping[str, Any], name: str, hours: float) -> Iterator[Finding | Seen]:
    faults, temperature = number(told, "faults"), number(told, "temperature_c")
    if faults:
        yield Finding(FAULTY, f"fault bits {int(faults):#06x}", name)
    if temperature is not None and temperature >= HOT_C:
        yield Finding(HOT, f"it says that it has {temperature:.0f} degrees C", name)
    if tampers := number(told, "tampers"):
        yield Finding(TAMPERED, f"opened {tampers:.0f} times since the agent started", name)
    restarts = (number(told, "resets") or 0) + max((number(told, "opened") or 0) - 1, 0)
    if restarts >= TIMES and restarts / hours >= PER_HOUR:
        yield Finding(UNSTEADY, f"gone and back, or restarted, {restarts:.0f} times in {hours:.1f} h", name)
    warm = f"{temperature:.0f} degrees C, " if temperature is not None else ""
    yield Seen(f"{warm}{'no fault bits' if faults == 0 else 'tells nothing of itself' if faults is None else ''}", name)


CHECK = Check("screen-health", "no screen reports trouble of its own", (FAULTY, HOT, TAMPERED, UNSTEADY), look)

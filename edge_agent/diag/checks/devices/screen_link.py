"""Each screen answers, in our language: the running agent tells, and where none runs its MCU is asked itself."""

from collections.abc import Iterator

from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import holders, number, screen_lines, text, told_of
from edge_agent.diag.site import AGENT_DOWN, Site

DEAD = Kind(
    "screen-dead",
    Severity.WARNING,
    "A screen does not answer",
    "Is it lit? Power-cycle it; check TX to RX, ground, supply and `baud`. Taps are taken without it, but nobody sees "
    "that.",
    ("edge-agent status", "edge-agent logs --level warning"),
    hides=("screen-unsteady",),
)
NOISY = Kind(
    "screen-noisy",
    Severity.WARNING,
    "A screen answers with noise",
    "Bytes come that are no frames: another `baud` than the firmware's, a missing ground, a cable that is too long, or "
    "another device at this port.",
    ("edge-agent config explain screens",),
    hides=("screen-dead", "screen-unsteady"),
)
OLD = Kind(
    "screen-firmware-old",
    Severity.WARNING,
    "The firmware of a screen speaks another version",
    "Bring its firmware to the version of the screen link that this agent speaks: docs/screen-link.md.",
    ("edge-agent status",),
    hides=("screen-dead", "screen-noisy", "screen-unsteady"),
)
_TOLD_WITH = ("refused HELLO", "look at the firmware")
_NOISE = "look at the baud rate"
_CANNOT_OPEN = frozenset({"not_found", "no_permission", "busy"})


def look(site: Site) -> Iterator[Finding | Seen]:
    """Screens with an MCU; a page has a check of its own."""
    wanted = [(f"{screen.driver}{index}", screen) for index, screen in enumerate(site.settings.screens)]
    names = [name for name, screen in wanted if screen.driver in ("serial", "ble", "simulated")]
    if not names:
        raise NotHere("no screen with an MCU is configured")
    status = site.running
    if status is None:
        yield from _without_agent(site)
        return
    for name in names:
        told = told_of(status, "screens", name)
        if told.get("state") == "down":
            yield _finding(text(told, "detail", 300), name)
        elif told:
            yield Seen(_well(told), name)


def _well(told: dict[str, object] | object) -> str:
    table = told if isinstance(told, dict) else {}
    words = [text(table, "state"), text(table, "firmware"), f"shows {text(table, 'last_cue') or 'nothing yet'}"]
    if (rtt := number(table, "rtt_ms")) is not None:
        words.append(f"confirms in {rtt:.1f} ms")
    return ", ".join(word for word in words if word)


def _without_agent(site: Site) -> Iterator[Finding | Seen]:
    there = [line for line in screen_lines(site) if line.is_there]
    if not there:
        raise CannotLook("only the agent can ask these screens", because=AGENT_DOWN)
    lines = []
    for line in there:
        if others := ", ".join(str(holder) for holder in holders(site, line)):
            yield Seen(f"could not be asked: {line.path} is open in {others}", line.user)
        else:
            lines.append(line)
    from edge_agent.diag.screen_talk import greet_all  # noqa: PLC0415 -- only where no agent tells

    screens = greet_all([(line.path, line.baud) for line in lines])
    for line, screen in zip(lines, screens, strict=True):
        if screen.error is None:
            yield Seen(f"{screen.firmware or 'an MCU'} answers at {line.path}", line.user)
        elif screen.error.fault in _CANNOT_OPEN:
            yield Seen(f"could not be asked: {screen.error.text}", line.user)
        else:
            yield _finding(screen.error.text, line.user)


def _finding(why: str, name: str) -> Finding:
    if any(word in why for word in _TOLD_WITH):
        return Finding(OLD, why, name)
    return Finding(NOISY if _NOISE in why else DEAD, why, name)


CHECK = Check("screen-link", "each screen answers, and speaks our version", (DEAD, NOISY, OLD), look)

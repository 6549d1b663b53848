"""The port of each screen on a serial line is there, open to the agent's user, and nobody else's."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.access import READ, WRITE, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import Line, holders, port_of, screen_lines, text, told_of, unused_ports
from edge_agent.diag.site import Site

_CONSEQUENCES = ("screen-dead", "screen-noisy", "screen-firmware-old", "screen-unsteady")
MISSING = Kind(
    "screen-port-missing",
    Severity.WARNING,
    "The port of a screen is not there",
    "Plug the screen in, and look at its cable. Taps are taken without it, but nobody sees that.",
    ("ls -l /dev/serial/by-id", "sudo dmesg | grep -i tty | tail"),
    hides=(*_CONSEQUENCES, "screen-no-permission", "screen-port-busy"),
)
FORBIDDEN = Kind(
    "screen-no-permission",
    Severity.WARNING,
    "The agent may not open the port of a screen",
    "The group of the port must be one of the agent's user, dialout on Debian. The udev rules of the package see to "
    "that; then start the agent again.",
    ("sudo usermod -aG dialout edge-agent", "sudo udevadm trigger", "sudo systemctl restart edge-agent"),
    hides=_CONSEQUENCES,
)
BUSY = Kind(
    "screen-port-busy",
    Severity.WARNING,
    "Another program has the port of a screen",
    "It takes away what the screen answers. End it, and keep it from starting again: a getty, `firmware-bridge`, a "
    "terminal program that was left open, or ModemManager, which nobody needs unless a modem is the way out.",
    ("systemctl status ModemManager",),
    hides=_CONSEQUENCES,
)
_IN_USE = ("Resource temporarily unavailable", "Device or resource busy")


def look(site: Site) -> Iterator[Finding | Seen]:
    """By the kernel's tree alone; the ports are not opened."""
    lines = screen_lines(site)
    if not lines:
        raise NotHere("no screen on a serial port is configured")
    for line in lines:
        yield from _look_at(site, line)


def _look_at(site: Site, line: Line) -> Iterator[Finding | Seen]:
    if not line.path:
        ports = ", ".join(f"{port.path} ({port.text or 'USB'})" for port in unused_ports(site))
        yield Finding(MISSING, f"{line.why}{f'; there is also {ports}' if ports else ''}", line.user)
        return
    account, path = agent_account(site), Path(line.path)
    if barrier := account.keeps_out(path, READ | WRITE):
        why = f"{account.name} may not open {line.path}: {barrier} is {mode_of(barrier.stat())}"
        yield Finding(FORBIDDEN, why, line.user)
    told = told_of(site.running, "screens", line.user)
    down_as_used = told.get("state") == "down" and text(told, "detail").endswith(_IN_USE)
    others = [str(holder) for holder in holders(site, line)]
    if others or down_as_used:
        who = ", ".join(others) or "another process"
        commands = (*BUSY.commands, f"sudo fuser -v {line.path}")
        yield Finding(BUSY, f"{line.path} is open in {who}", line.user, commands=commands)
    port = port_of(site, line)
    yield Seen(f"{line.path}{f', {port.text}' if port is not None and port.text else ''}", line.user)


CHECK = Check("screen-port", "the port of each screen is there and the agent's alone", (MISSING, FORBIDDEN, BUSY), look)

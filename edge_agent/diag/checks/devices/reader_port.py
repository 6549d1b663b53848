"""The port of each serial reader is there, open to the agent's user, and nobody else's."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.access import READ, WRITE, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.lines import Line, holders, port_of, reader_lines, text, told_of, unused_ports
from edge_agent.diag.site import Site
from edge_agent.errors import ReaderFault

_CONSEQUENCES = ("reader-deaf", "reader-wrong-baud", "reader-port-wrong", "reader-field-off", "reader-unsteady")
MISSING = Kind(
    "reader-port-missing",
    Severity.ERROR,
    "The port of a reader is not there",
    "Plug the reader in, and look at its cable. If it is plugged in, the configuration names another port.",
    ("edge-agent reader list", "ls -l /dev/serial/by-id", "sudo dmesg | grep -i tty | tail"),
    hides=(*_CONSEQUENCES, "reader-no-permission", "reader-port-busy"),
)
FORBIDDEN = Kind(
    "reader-no-permission",
    Severity.ERROR,
    "The agent may not open the port of a reader",
    "The group of the port must be one of the agent's user, dialout on Debian. The udev rules of the package see to "
    "that; then start the agent again.",
    ("sudo usermod -aG dialout edge-agent", "sudo udevadm trigger", "sudo systemctl restart edge-agent"),
    hides=_CONSEQUENCES,
)
BUSY = Kind(
    "reader-port-busy",
    Severity.ERROR,
    "Another program has the port of a reader",
    "It takes bytes away from the agent. End it, and keep it from starting again: a getty, a terminal program that "
    "was left open, or ModemManager, which nobody needs unless a modem is the terminal's way out.",
    ("sudo fuser -v /dev/ttyUSB0", "systemctl status ModemManager"),
    hides=_CONSEQUENCES,
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """By the kernel's tree alone; the ports are not opened."""
    lines = reader_lines(site)
    if not lines:
        raise NotHere("no reader on a serial port is configured")
    for line in lines:
        yield from _look_at(site, line)


def _look_at(site: Site, line: Line) -> Iterator[Finding | Seen]:
    if not line.path:
        others = [f"{port.path} ({port.text or 'USB'})" for port in unused_ports(site)]
        also = f"; there is also {', '.join(others)}" if others else ""
        yield Finding(MISSING, f"{line.why}{also}", line.user)
        return
    told = told_of(site.running, "readers", line.user)
    if why := _keeps_out(site, line):
        yield Finding(FORBIDDEN, why, line.user)
    elif told.get("fault") == ReaderFault.NO_PERMISSION:
        yield Finding(FORBIDDEN, text(told, "last_error"), line.user)
    others = [str(holder) for holder in holders(site, line)]
    if others or told.get("fault") == ReaderFault.TAKEN:
        commands = (f"sudo fuser -v {line.path}", *BUSY.commands[1:])
        who = ", ".join(others) or "another process"
        yield Finding(BUSY, f"{line.path} is open in {who}", line.user, commands=commands)
    port = port_of(site, line)
    about = f", {port.text}" if port is not None and port.text else ""
    where = f"{line.device} is {line.path}" if line.device != line.path else line.path
    yield Seen(f"{where}{about}", line.user)


def _keeps_out(site: Site, line: Line) -> str:
    account = agent_account(site)
    path = Path(line.path)
    barrier = account.keeps_out(path, READ | WRITE)
    return f"{account.name} may not open {line.path}: {barrier} is {mode_of(barrier.stat())}" if barrier else ""


CHECK = Check("reader-port", "the port of each reader is there and the agent's alone", (MISSING, FORBIDDEN, BUSY), look)

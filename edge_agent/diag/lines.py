"""The serial lines of the configuration: where each is now, who has it open, what the kernel knows of it.

Nothing here opens a port: what hangs on it, and who works with it, must not notice.
"""

import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.diag.site import Site
from edge_agent.errors import ReaderError
from edge_agent.readers.ports import SerialPort, list_ports, resolve
from edge_agent.sanitize import printable

_PEER = struct.Struct("3i")  # struct ucred, unix(7)


@dataclass(frozen=True, slots=True)
class Line:
    """One serial line; ``user`` is the reader or screen behind it, ``path`` where it is now, "" if it is nowhere."""

    user: str
    driver: str
    device: str
    """As the configuration has it."""
    baud: int
    profile: str = ""
    path: str = ""
    why: str = ""
    """Why it is nowhere."""

    @property
    def tty(self) -> str:
        """The kernel's name of the port: ``ttyUSB0``."""
        return Path(self.path).resolve().name

    @property
    def is_there(self) -> bool:
        """Whether a character device is at the path."""
        try:
            return bool(self.path) and stat.S_ISCHR(Path(self.path).stat().st_mode)
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a port open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def reader_lines(site: Site) -> list[Line]:
    """Return the readers on serial ports; raises CannotLook while the configuration is wrong."""
    return [
        _line(site, reader.name, reader.driver, reader.device, reader.baud, getattr(reader, "profile", ""))
        for reader in site.settings.readers
        if reader.driver in ("pn532", "serial")
    ]


def screen_lines(site: Site) -> list[Line]:
    """Return the screens on serial ports, by the agent's names for them; raises CannotLook as ``reader_lines``."""
    return [
        _line(site, f"{screen.driver}{index}", screen.driver, str(screen.device), screen.baud)
        for index, screen in enumerate(site.settings.screens)
        if screen.driver == "serial"
    ]


def _line(site: Site, user: str, driver: str, device: str, baud: int, profile: str = "") -> Line:
    try:
        path = resolve(device, site.root)
    except ReaderError as error:
        return Line(user, driver, device, baud, profile, why=error.text)
    if not Path(path).exists():
        gone = "leads nowhere" if Path(path).is_symlink() else "is not there"
        return Line(user, driver, device, baud, profile, why=f"{path} {gone}")
    return Line(user, driver, device, baud, profile, path)


def port_of(site: Site, line: Line) -> SerialPort | None:
    """What the kernel says of the port, None where it does not list it."""
    return next((port for port in list_ports(site.root) if Path(port.path).name == line.tty), None)


def unused_ports(site: Site) -> list[SerialPort]:
    """The ports on USB that no line of the configuration leads to: where the missing one may be."""
    used = {line.tty for line in (*reader_lines(site), *screen_lines(site)) if line.path}
    return [port for port in list_ports(site.root) if port.on_usb and Path(port.path).name not in used]


def holders(site: Site, line: Line) -> Iterator[Holder]:
    """Who has the port open beside the agent and ourselves, as far as we may see: root sees all."""
    node = Path(line.path).resolve()
    spared = {os.getpid(), agent_pid(site)}
    for process in sorted(site.path("/proc").glob("[0-9]*")):
        if not process.name.isdecimal() or int(process.name) in spared:
            continue
        try:
            opened = any(fd.readlink() == node for fd in (process / "fd").iterdir())
        except OSError:
            continue  # it has ended, or it is another user's
        if opened:
            name = site.read(f"/proc/{process.name}/comm") or "a program"
            yield Holder(int(process.name), printable(name, limit=40))


def agent_pid(site: Site) -> int:
    """The process behind the control socket; 0 while nobody listens there."""
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(site.socket))
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError:
            return 0
    pid: int = _PEER.unpack(peer)[0]
    return pid


def told_of(status: Mapping[str, Any] | None, kind: str, name: str) -> Mapping[str, Any]:
    """What the agent's status says of one of its ``readers``, ``tags`` or ``screens``; empty where it says nothing."""
    found = status.get(kind) if status is not None else None
    tables = found if isinstance(found, list) else []
    return next((table for table in tables if isinstance(table, dict) and table.get("name") == name), {})


def text(table: Mapping[str, Any], name: str, limit: int = 200) -> str:
    """One text of such a table, safe for a terminal; "" where there is none."""
    value = table.get(name)
    return printable(value, limit=limit) if isinstance(value, str) else ""


def number(table: Mapping[str, Any], name: str) -> float | None:
    """One number of such a table; None where there is none."""
    value = table.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None

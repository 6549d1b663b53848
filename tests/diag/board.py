"""A board of a test's own for single checks: healthy files of /proc and /sys, recorded programs, a configuration."""

from collections.abc import Iterable
from pathlib import Path

from edge_agent.clock import FakeClock
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Seen
from edge_agent.diag.site import Site
from tests.diag.faults.healthy_root import make_root, put, recorded, service

RECORDED = Path(__file__).parent / "recorded"
CONFIG = """\
[terminal]
id = "sh-000123-a"
fleet = "sh"

[keys]
path = "{folder}/state/tap.key"

[outbox]
path = "{folder}/state/outbox.db"
min_free_mb = 1

[uplink]
host = "127.0.0.1"

[control]
socket = "{folder}/control.sock"
"""


class Board:
    """Everything is well until a test changes it."""

    def __init__(self, folder: Path, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.state = folder / "state"
        self.config = folder / "edge-agent.toml"
        self.clock = clock or FakeClock()
        self.state.mkdir()
        self.config.write_text(CONFIG.format(folder=folder), encoding="utf-8")
        make_root(self.root)
        self.systemctl(service())

    def systemctl(self, text: str) -> None:
        """Let `systemctl` print this, whatever it is asked."""
        self.program("systemctl", text)

    def program(self, name: str, text: str) -> None:
        """Let a program print this."""
        recorded(self.folder / "bin", name, {"": text})

    def called(self, name: str) -> str:
        """With what words a program was called, one call a line."""
        calls = self.folder / "bin" / f"{name}.calls"
        return calls.read_text(encoding="utf-8") if calls.exists() else ""

    def put(self, name: str, text: str) -> None:
        """Write a file of /proc, /sys, /run or /etc."""
        put(self.root, name, text)

    def add(self, text: str) -> None:
        """Add lines to the configuration."""
        self.config.write_text(self.config.read_text(encoding="utf-8") + text, encoding="utf-8")

    @property
    def site(self) -> Site:
        """A new one: what it was told before is forgotten."""
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        return Site(self.config, root=self.root, env={"PATH": path}, clock=self.clock)

    def look(self, check: Check) -> list[Finding | Seen]:
        """What a check yields here."""
        return list(check.look(self.site))

    def kinds(self, check: Check) -> list[str]:
        """Ids of what it finds here."""
        return found(self.look(check))


def found(told: Iterable[Finding | Seen]) -> list[str]:
    """Ids of the findings among this."""
    return [one.kind.id for one in told if isinstance(one, Finding)]


def recording(name: str) -> str:
    """What a real program once said."""
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")

"""Units of systemd as `systemctl show` tells them, and commands that repair something. No D-Bus of our own."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.diag.figures import whole
from edge_agent.diag.finding import CannotLook, Fix, NotHere
from edge_agent.diag.site import Site
from edge_agent.sanitize import printable

AGENT_UNIT = "edge-agent.service"
KIOSK_UNIT = "edge-kiosk.service"
CLOCK_UNIT = "edge-agent-clock.service"

_ASKED = (
    "LoadState,ActiveState,SubState,Result,UnitFileState,NRestarts,ExecMainStatus,ExecMainCode,MainPID,User,Group,"
    "SupplementaryGroups,ControlGroup,NeedDaemonReload,ActiveEnterTimestampMonotonic"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit; the words are those of systemctl(1) and systemd's D-Bus interface."""

    name: str
    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return a property, empty where this systemd does not know it; made safe for a terminal."""
        return printable(self.values.get(name, ""), limit=200)

    def number(self, name: str) -> int:
        """Return a property that counts; 0 where there is none."""
        return whole(self.values.get(name)) or 0

    @property
    def installed(self) -> bool:
        """Whether systemd knows it at all."""
        return self["LoadState"] not in ("", "not-found")


def unit(site: Site, name: str = AGENT_UNIT) -> Unit:
    """Ask systemd; raises NotHere on a machine that was not booted with it, CannotLook if it does not answer."""
    if not site.path("/run/systemd/system").is_dir():  # sd_booted(3)
        raise NotHere("this machine was not booted with systemd")
    said = site.run(["systemctl", "show", f"--property={_ASKED}", name])
    if said.status != 0:
        raise CannotLook(f"systemctl: {printable(said.err.strip(), limit=200)}", remedy="run it with sudo")
    return Unit(name, values(said.out))


def values(text: str) -> dict[str, str]:
    """Read NAME=VALUE lines, as `show` of systemctl and timedatectl prints them."""
    return {name: value for name, equals, value in (line.partition("=") for line in text.splitlines()) if equals}


def command_fix(site: Site, title: str, *command: str) -> Fix:
    """Return a repair that is one command of the system."""

    def run() -> None:
        said = site.run(command, timeout_s=15.0)
        if said.status != 0:
            raise CannotLook(printable(said.err.strip() or f"status {said.status}", limit=200))

    return Fix(title, run)

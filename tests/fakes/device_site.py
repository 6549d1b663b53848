"""A terminal as the checks of the devices see it: a configuration, a tree of the kernel, and what its agent says."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from edge_agent.control_client import NotRunning
from edge_agent.diag.finding import Finding, Seen
from edge_agent.diag.site import Site

CONFIG = """\
[terminal]
id = "sh-000123-a"
fleet = "sh"

[uplink]
host = "broker.example"

[tickets]
host = "t.example.net"

"""


class DeviceSite(Site):
    """``status`` is the running agent's answer; without one no agent runs. systemd is not there: we are the agent."""

    def __init__(self, folder: Path, tables: str, status: Mapping[str, object] | None = None, **env: str) -> None:
        config = folder / "edge-agent.toml"
        config.write_text(CONFIG + tables, encoding="utf-8")
        self._status = status
        super().__init__(config, root=folder / "root", socket=folder / "control.sock", env={"PATH": "", **env})

    def ask(self, request: dict[str, object], timeout_s: float = 0.0) -> dict[str, object]:
        if self._status is None:
            raise NotRunning("nobody listens")
        return dict(self._status)


Look = Callable[[Site], Iterable[Finding | Seen]]


def found(look: Look, site: Site) -> list[tuple[str, str, str]]:
    """Id, subject and text of each finding."""
    return [(one.kind.id, one.subject, one.text) for one in look(site) if isinstance(one, Finding)]


def ids(look: Look, site: Site) -> list[str]:
    """The ids of the findings alone."""
    return [name for name, _, _ in found(look, site)]


def put(site: Site, name: str, text: str) -> Path:
    """Write a file of its system, e.g. ``/sys/class/rfkill/rfkill0/soft``."""
    path = site.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

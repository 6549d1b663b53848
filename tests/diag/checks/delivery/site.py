"""A terminal for single checks of the delivery: a configuration, a root of its own, an agent that answers or none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Seen
from edge_agent.diag.site import Lookup, Site
from tests.fakes.control_stub import serving

CONFIG = """\
[terminal]
id = "sh-000777-b"
fleet = "sh"

[keys]
path = "{folder}/tap.key"

[outbox]
path = "{folder}/outbox.db"

[control]
socket = "{folder}/control.sock"

[uplink]
"""
CONNECTED: dict[str, Any] = {
    "up": True,
    "reason": "",
    "text": "",
    "code": 0,
    "refusal": None,
    "puback_ms": 3.0,
    "ack_ms": 9.0,
    "ahead_s": [-1, 1],
}
"""What an agent answers to `round-trip` when all is well."""
STATUS: dict[str, Any] = {
    "kid": "0011223344556677",
    "uplink": {"up": True, "since_s": 500.0, "identity": "", "identity_code": "", "ack_s": 12.0, "acked": 5},
    "outbox": {"sent": 0},
}


class Place:
    """``uplink`` are lines of that section."""

    def __init__(self, folder: Path, *uplink: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.config = folder / "edge-agent.toml"
        self.lookup: Lookup | None = None
        self.config.write_text(CONFIG.format(folder=folder) + "\n".join(uplink) + "\n", encoding="utf-8")

    def put(self, name: str, text: str) -> None:
        """Write a file of /proc, /sys or /etc."""
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def look(self, check: Check) -> list[Finding | Seen]:
        """What the check yields here, by a site that knows nothing yet."""
        site = Site(self.config, root=self.root, env={})
        site.lookup = self.lookup or site.lookup
        return list(check.look(site))

    def kinds(self, check: Check) -> list[str]:
        """Ids of what it finds."""
        return [one.kind.id for one in self.look(check) if isinstance(one, Finding)]

    @contextmanager
    def agent(self, *, status: dict[str, Any] | None = None, **answers: dict[str, Any]) -> Iterator[None]:
        """An agent that answers; ``answers`` by the op's name with "_" for "-" and "." alike."""
        ops = {"status": STATUS if status is None else status, "round-trip": answers.pop("round_trip", CONNECTED)}
        ops |= {name.replace("_", "."): answer for name, answer in answers.items()}

        def op(answer: dict[str, Any]) -> Any:
            async def serve(_request: dict[str, object]) -> dict[str, object]:
                return answer

            return serve

        with serving(self.folder / "control.sock", {name: op(answer) for name, answer in ops.items()}):
            yield

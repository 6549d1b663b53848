"""A terminal in a container, with its cloud beside it: the installed package, a broker, a receiver and its ledger."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.nspawn.container import Container

ID, FLEET = "sh-000123-a", "sh"
AGENT = "edge-agent.service"
CLOUD = "/root/cloud"
DROP_IN = "/etc/edge-agent/edge-agent.toml.d/50-site.toml"
# Sooner, and every second phone comes while the one before is not gone yet: it waits three seconds for nothing.
TAPS_EVERY_S = 1.0

SITE = f"""
[terminal]
id = "{ID}"
fleet = "{FLEET}"

[[readers]]
name = "sim0"
driver = "simulated"
tap_every_s = {TAPS_EVERY_S}

[[screens]]
driver = "web"

[uplink]
host = "127.0.0.1"
backoff_base_s = 0.2
backoff_cap_s = 0.5
resend_after_s = 5

[limits]
taps_per_minute = 6000

# The machine of the test need not know the time.
[clock]
trust = "assume-synced"
"""
WRONG_SITE = SITE.replace(f"tap_every_s = {TAPS_EVERY_S}", 'tap_every_s = "often"')
"""The same with a mistake in line 9."""
AS_AGENT = ("setpriv", "--reuid=edge-agent", "--regid=edge-agent", "--init-groups")
_SEQS = """
import json, sqlite3
db = sqlite3.connect("file:/root/cloud/ledger.db?mode=ro", uri=True)
print(json.dumps(db.execute("SELECT stream, seq FROM tap ORDER BY stream, seq").fetchall()))
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The terminal in a container that is running."""

    container: Container

    def install(self, package: Path) -> str:
        """Install, upgrade or downgrade as an operator does, from a folder that the container sees; what dpkg says."""
        return self.container.run("dpkg", "--install", str(package), check=True)

    def configure(self, more: str = "", *, key: bool = True) -> None:
        """Write the site's settings, and make the signing key."""
        self.container.write(DROP_IN, SITE + more)
        if key:
            self.container.run(*AS_AGENT, "edge-agent", "keys", "init", "--if-missing")

    def start(self) -> None:
        """Start the service; returns when it has said READY=1."""
        self.container.run("systemctl", "start", AGENT)

    def until_healthy(self) -> None:
        """Wait for `edge-agent status` to have nothing to complain of."""
        self.container.until(lambda: self.container.status("edge-agent", "status") == 0, "a healthy agent")

    def service(self, settings: str) -> None:
        """Change settings of the service as `systemctl edit` does."""
        self.container.write(f"/etc/systemd/system/{AGENT}.d/test.conf", f"[Service]\n{settings}\n")
        self.container.run("systemctl", "daemon-reload")

    def open_cloud(self) -> None:
        """Start the receiver beside the broker, which runs already."""
        registration = json.loads(self.container.run(*AS_AGENT, "edge-agent", "keys", "show", "--json"))
        here = {"fleet": FLEET, "terminal": ID, "valid_from": 0, "valid_to": None, "revoked_at": None}
        self.container.write(f"{CLOUD}/keys.json", json.dumps({"version": 1, "keys": [registration | here]}))
        self.container.run(
            *("systemd-run", "--quiet", "--unit=receiver", "/usr/bin/edge-agent", "receive", "--host=127.0.0.1"),
            *(f"--ledger={CLOUD}/ledger.db", f"--keys={CLOUD}/keys.json"),
        )

    def stored(self) -> list[tuple[int, int]]:
        """What the ledger has: the chain's number and the tap's, in order."""
        said = self.container.run("python3", "-c", _SEQS, check=False)
        return [(stream, seq) for stream, seq in json.loads(said)] if said.startswith("[[") else []

    def until_stored(self, count: int) -> None:
        """Wait for so many taps to be in the ledger."""
        self.container.until(lambda: len(self.stored()) >= count, f"{count} taps in the ledger")

    def outbox(self) -> dict[str, object]:
        """`edge-agent outbox stats`, whether the agent runs or not."""
        found: dict[str, object] = json.loads(self.container.run("edge-agent", "outbox", "stats", "--json"))
        return found

    def pid(self) -> int:
        """The agent's process, in the container; 0 while there is none."""
        return int(self.container.unit(AGENT, "MainPID")[0])

    def signal(self, name: str) -> None:
        """Send a signal to the agent."""
        self.container.run("systemctl", "kill", f"--signal={name}", "--kill-who=main", AGENT)

    def nail(self) -> None:
        """Stop the agent, and again whenever systemd lets it go on (SIGTERM comes with SIGCONT), until it is killed."""
        forever = f"while kill -STOP {self.pid()} 2>/dev/null; do :; done"
        # Before all others: in the moment that it is kept waiting the agent might come to its end.
        self.container.run("systemd-run", "--quiet", "--unit=nail", "--nice=-20", "/bin/sh", "-c", forever)
        self.container.until(lambda: self._process_state() == "T", "the agent to stand still")

    def _process_state(self) -> str:
        return self.container.run("cat", f"/proc/{self.pid()}/stat").rpartition(") ")[2][:1]

    def until_back(self, gone: int) -> None:
        """Wait for another agent than the process ``gone`` that has said READY=1."""

        def back() -> bool:
            state, pid = self.container.unit(AGENT, "ActiveState", "MainPID")
            return state == "active" and int(pid) not in (0, gone)

        self.container.until(back, "the agent to be back")

    def all_is_stored(self) -> int:
        """Stop people from tapping, wait for the rest; returns how many taps there were, each stored exactly once."""
        self.container.write(DROP_IN, SITE.replace(f"tap_every_s = {TAPS_EVERY_S}", "tap_every_s = 3600.0"))
        self.container.run("systemctl", "restart", AGENT)
        self.container.until(lambda: self.stored() == self._made(), "each tap in the ledger once, in one chain")
        return len(self._made())

    def _made(self) -> list[tuple[int, int]]:
        """What the ledger must have: all taps that the outbox ever numbered."""
        return [(1, seq) for seq in range(1, int(str(self.outbox()["next_seq"])))]

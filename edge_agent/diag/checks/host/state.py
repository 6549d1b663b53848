"""The folder of the outbox is there, and the agent's user may write in it and to what is in it."""

from collections.abc import Iterator

from edge_agent.diag.access import ENTER, READ, WRITE, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.site import Site

MISSING = Kind(
    "state-missing",
    Severity.ERROR,
    "There is no folder for the outbox",
    "The service makes its own, /var/lib/edge-agent. See whether its disk is mounted and [outbox] path is right.",
    ("edge-agent config explain outbox.path", "findmnt", "sudo systemctl restart edge-agent"),
    hides=("agent-down", "service-failed", "service-restarting", "service-stopped", "outbox-unusable"),
)
NOT_WRITABLE = Kind(
    "state-not-writable",
    Severity.ERROR,
    "The agent cannot write its outbox",
    "Taps are refused. Somebody, often a command run with sudo, left files of another user there: give them back to "
    "the agent's user.",
    ("sudo ls -la /var/lib/edge-agent",),
    hides=(
        "agent-down",
        "service-failed",
        "service-restarting",
        "service-stopped",
        "outbox-unusable",
        "outbox-read-only",
        "outbox-failing",
    ),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """By the modes of the folder and of the outbox's three files."""
    path = site.settings.outbox.path
    folder = path.parent
    if not folder.is_dir():
        yield Finding(MISSING, f"{folder} is {'not a folder' if folder.exists() else 'not there'}")
        return
    account = agent_account(site)
    chown = (f"sudo chown -R {account.name}: {folder}",)
    wanted = [(folder, READ | WRITE | ENTER)]
    wanted += [
        (there, READ | WRITE) for end in ("", "-wal", "-shm") if (there := path.with_name(path.name + end)).exists()
    ]
    for place, rights in wanted:
        if barrier := account.keeps_out(place, rights):
            why = f"{account.name} may not write {place}: {barrier} is {mode_of(barrier.stat())}"
            yield Finding(NOT_WRITABLE, why, commands=chown)
            return
    yield Seen(f"{folder} is {mode_of(folder.stat())}")


CHECK = Check("state", "the agent can write its outbox", (MISSING, NOT_WRITABLE), look)

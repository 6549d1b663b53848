"""Every file that the configuration names is there, and the agent's user may read it."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.credentials import credential_name
from edge_agent.diag.access import READ, Account, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.site import Site

UNREADABLE = Kind(
    "file-unreadable",
    Severity.ERROR,
    "The agent cannot read a file that it needs",
    "Put the file there, or let the agent's user read it: a secret with mode 0600 as its own, all else with 0644.",
    ("edge-agent config check",),
    hides=(
        "agent-down",
        "service-failed",
        "service-restarting",
        "service-stopped",
        "certificate-unusable",
        "password-unusable",
    ),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """The configuration itself with its drop-ins, certificates and the password."""
    from edge_agent.config.sources import drop_ins  # noqa: PLC0415 -- the configuration is slow to import

    uplink = site.settings.uplink
    account = agent_account(site)
    paths = [site.config_path, *drop_ins(site.config_path, [])]
    paths += [path for path in (uplink.ca, uplink.cert, uplink.key, uplink.password_file) if path is not None]
    problems = 0
    for path in paths:
        if credential_name(path) is None and (why := _unreadable(account, path)):
            problems += 1
            yield Finding(UNREADABLE, why, str(path), commands=(f"sudo ls -l {path}",))
    if not problems:
        yield Seen(f"{len(paths)} files, readable for {account.name}")


def _unreadable(account: Account, path: Path) -> str:
    """Why the agent cannot read it; empty if it can."""
    try:
        barrier = account.keeps_out(path, READ)
        if barrier is None:
            return "" if path.is_file() else f"{path} is not a file"
        return f"{account.name} may not read {path}: {barrier} is {mode_of(barrier.stat())}"
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no {path}"


CHECK = Check("files", "the agent can read the files that its configuration names", (UNREADABLE,), look)

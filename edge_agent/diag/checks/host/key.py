"""Nobody but the agent's user can read the signing key. Whether it is a good one, the check signing-key tells."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.credentials import credential_name
from edge_agent.diag.access import READ, Account, agent_account, mode_of
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Fix, Kind, NotHere, Seen, Severity
from edge_agent.diag.site import Site

_OTHERS = 0o077

PERMISSIONS = Kind(
    "key-permissions",
    Severity.ERROR,
    "The signing key is open to others, or not the agent's",
    "The agent refuses it. Make it its own, mode 0600; if anybody else uses this machine, the key must be replaced.",
    ("sudo ls -l /var/lib/edge-agent/keys",),
    hides=("signing-key-unusable", "agent-down", "service-failed", "service-restarting", "service-stopped"),
)


def look(site: Site) -> Iterator[Finding | Seen]:
    """By its mode and owner; a credential of systemd is guarded by its folder."""
    path = site.settings.keys.path
    if credential_name(path) is not None:
        raise NotHere(f"systemd guards it: {path}")
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotHere(f"there is none at {path}") from None
    account = agent_account(site)
    yield _judge(path, found, account)


def _judge(path: Path, found: os.stat_result, account: Account) -> Finding | Seen:
    if found.st_uid not in (0, account.uid):
        chown = f"sudo chown {account.name}: {path}"
        return Finding(PERMISSIONS, f"{path} is {mode_of(found)}, not {account.name}'s", commands=(chown,))
    if found.st_mode & _OTHERS:
        fix = Fix("close the signing key to others", lambda: path.chmod(0o600))
        return Finding(PERMISSIONS, f"{path} is {mode_of(found)}", fix=fix, commands=(f"sudo chmod 0600 {path}",))
    if barrier := account.keeps_out(path, READ):
        why = f"{account.name} may not read {path}: {barrier} is {mode_of(barrier.stat())}"
        return Finding(PERMISSIONS, why, commands=(f"sudo ls -ld {barrier}",))
    return Seen(f"{path} is {mode_of(found)}")


CHECK = Check("key", "the signing key is the agent's alone", (PERMISSIONS,), look)

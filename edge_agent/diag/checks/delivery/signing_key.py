"""The signing key of the tokens is there, is private, and is the one that the agent signs with."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.errors import ConfigError, KeyFileError
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

UNUSABLE = Kind(
    "signing-key-unusable",
    Severity.ERROR,
    "The signing key cannot be used",
    "Without it no tap is taken. Put it back from its copy. Only if there is none make a new one with "
    "`edge-agent keys init`: the cloud must be told of it before it takes its taps.",
    ("edge-agent keys show", "edge-agent enrol status"),
    hides=(*way.NO_START, *way.BACKLOG),
)
CHANGED = Kind(
    "signing-key-changed",
    Severity.ERROR,
    "The agent signs with another key than the one in the file",
    "The file was replaced while the agent ran. Make sure that the cloud knows the new key, then restart the agent.",
    ("edge-agent keys show", "sudo systemctl restart edge-agent"),
)


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Load it as the agent does, without ever telling anything of it but its thumbprint."""
    from edge_agent.credentials import credential_name, folder, located  # noqa: PLC0415 -- not for --list-checks
    from edge_agent.tokens.keyring import load_key_file  # noqa: PLC0415 -- the library of the keys is slow to import

    wanted = site.settings.keys.path
    running = site.running
    told = str(running.get("kid", "")) if running is not None else ""
    try:
        path = located(wanted, site.env)
    except ConfigError as error:
        if credential_name(wanted) is not None and not way.may_read(folder(site.env)):
            raise CannotLook(f"no permission for {wanted}", remedy="run it with sudo") from None
        if running is None:  # systemd hands a credential over for as long as the service runs
            raise CannotLook(error.problems[0], because="agent-down") from None
        yield Finding(UNUSABLE, error.problems[0], str(wanted))
        return
    if not way.may_read(path):
        if told:
            yield Seen(f"the agent signs with {printable(told, 40)}")
            return
        raise CannotLook(f"no permission for {path}", remedy="run it with sudo")
    try:
        kid = load_key_file(path, owner=_owner(path)).kid.hex()
    except KeyFileError as error:
        yield Finding(UNUSABLE, printable(str(error), 300), str(path))
        return
    if told and told != kid:
        yield Finding(CHANGED, f"the agent signs with {printable(told, 40)}, the file holds {kid}", str(path))
        return
    yield Seen(f"{kid} in {path}")


def _owner(path: Path) -> int:
    """Whose it should be: the agent's, whom the folder belongs to. Root, who may read all, asks in its place."""
    try:
        return path.parent.stat().st_uid
    except OSError:
        return os.geteuid()


CHECK = Check("signing-key", "the signing key can be used", (UNUSABLE, CHANGED), look)

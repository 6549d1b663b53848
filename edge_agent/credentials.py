"""Where a secret of the configuration is: in a file of its own, or among the credentials that systemd hands over.

`credential:NAME` means the credential edge-agent.NAME, or edge-agent.NAME.cred, which systemd has decrypted
(systemd.exec(5), LoadCredential=). Reads nothing; whoever reads it checks it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edge_agent.errors import ConfigError

PREFIX = "credential:"
# Commands run outside the service; root finds there what the running service was given.
OF_THE_SERVICE = Path("/run/credentials/edge-agent.service")


def credential_name(path: Path) -> str | None:
    """Return NAME of `credential:NAME`, None for any other path."""
    text = str(path)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def can_be_a_name(name: str) -> bool:
    """Whether systemd and a file name both can have it: 1 to 64 of A-Z, a-z, 0-9, _, . and -, no dot or dash first."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name) is not None


def folder(env: Mapping[str, str] = os.environ) -> Path:
    """Return where the credentials of this process are, or else those of the service."""
    return Path(env.get("CREDENTIALS_DIRECTORY") or OF_THE_SERVICE)


def located(path: Path, env: Mapping[str, str] = os.environ) -> Path:
    """Return the file that ``path`` means; an encrypted credential comes before a plain one of the same name.

    Raises ConfigError for a credential that this process was not given.
    """
    name = credential_name(path)
    if name is None:
        return path
    if not can_be_a_name(name):
        raise ConfigError([f"{path!s}: {name!r} cannot be the name of a credential"])
    candidates = [folder(env) / f"edge-agent.{name}{suffix}" for suffix in (".cred", "")]
    for candidate in candidates:
        if os.path.lexists(candidate):
            return candidate
    wrong = (
        f"{path}: not in {folder(env)}: put it into /etc/credstore/edge-agent.{name}, or encrypted"
        f" into /etc/credstore.encrypted/edge-agent.{name}.cred, and restart the service"
    )
    raise ConfigError([wrong])


def is_credential(path: Path, env: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd guards this file: its folder lets in the service and root only, whatever the mode."""
    return path.parent == folder(env)

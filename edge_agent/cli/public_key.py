"""What commands read beside their own input: a bounded file, and the public key that `keys show --json` printed."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import EdgeAgentError, ExitCode

if TYPE_CHECKING:
    from edge_agent.tokens.keys import PublicKey


class CannotLook(EdgeAgentError):
    """A file that is needed for the answer cannot be read."""

    code = "cannot_look"
    exit_code = ExitCode.COULD_NOT_LOOK


def read_limited(name: str, limit: int) -> bytes:
    """Return up to ``limit`` bytes of a file, of standard input for ``-``; raises CannotLook."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(limit)
        with Path(name).open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise CannotLook(f"{name} cannot be read: {error.strerror}") from None


def read_public_key(path: Path) -> "PublicKey":
    """Return the key in the output of `edge-agent keys show --json`; raises CannotLook."""
    from edge_agent.errors import TokenError  # noqa: PLC0415 -- beside the next line
    from edge_agent.tokens.keys import PublicKey  # noqa: PLC0415 -- cryptography is slow to import

    remedy = "make it with: edge-agent keys show --json"
    try:
        return PublicKey.from_cose(bytes.fromhex(json.loads(read_limited(str(path), 65_536))["public_cose_hex"]))
    except (ValueError, KeyError, TypeError, RecursionError, TokenError):
        raise CannotLook(f"{path} holds no public key", remedy=remedy) from None

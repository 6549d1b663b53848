"""Where the running agent is asked: the control socket of a configuration, read without the models that check it all.

Checking every setting takes five times as long as asking the agent. What is not plain is left to the whole reading.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from edge_agent.cli.commands import DEFAULT_SOCKET
from edge_agent.small_file import read_small

_VARIABLE = "EDGE_AGENT__CONTROL"
_MAX_BYTES = 256 * 1024
_MAX_FILES = 64


def plain_socket(config: Path, env: Mapping[str, str]) -> Path | None:
    """Return [control] socket as FILE, FILE.d/*.toml and the environment have it, each over the one before.

    None where a file cannot be read, or anything about the key is not as expected: then the whole configuration is to
    be asked, which says what is wrong. Other settings are not looked at.
    """
    named = [name for name in env if name.upper().startswith(_VARIABLE)]
    if named:
        value = env[named[0]]
        return Path(value) if named == [f"{_VARIABLE}__SOCKET"] and _is_path(value) else None
    found: object = str(DEFAULT_SOCKET)
    try:
        folder = config.with_name(f"{config.name}.d")
        more = sorted(file for file in folder.iterdir() if file.suffix == ".toml") if folder.is_dir() else []
        if len(more) > _MAX_FILES:
            return None
        for file in (config, *(file for file in more if not file.name.startswith("."))):
            data, _ = read_small(file, _MAX_BYTES)
            if len(data) > _MAX_BYTES:
                return None
            section = tomllib.loads(data.decode("utf-8")).get("control", {})
            found = section.get("socket", found) if isinstance(section, dict) else None
    except (OSError, ValueError, RecursionError):
        return None
    return Path(found) if isinstance(found, str) and _is_path(found) else None


def _is_path(value: str) -> bool:
    return value.startswith("/") and value.isprintable() and ".." not in value

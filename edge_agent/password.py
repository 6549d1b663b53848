"""Read the one secret of the configuration, the MQTT password; it lives in a file of its own and nowhere else."""

from collections.abc import Mapping
from pathlib import Path

from edge_agent.credentials import is_credential, located
from edge_agent.errors import ConfigError
from edge_agent.small_file import read_small

_MAX_BYTES = 1024


def read_password(path: Path, env: Mapping[str, str]) -> str:
    """Return the first line of ``path``; raises ConfigError, which never tells what is in the file.

    The file must be its owner's alone (0600 or 0400). A systemd credential (`credential:NAME`, or a file in
    $CREDENTIALS_DIRECTORY) is guarded by its directory instead.
    """
    path = located(path, env)
    try:
        data, mode = read_small(path, _MAX_BYTES)
    except OSError as error:
        raise ConfigError([f"{path}: [uplink.password_file] cannot be used: {error.strerror}"]) from None
    if mode & 0o077 and not is_credential(path, env):
        wrong = f"has mode {mode:04o}, expected 0600: chmod 600 {path}"
    elif len(data) > _MAX_BYTES or not (line := data.split(b"\n", 1)[0].rstrip(b"\r")):
        wrong = f"is empty or longer than {_MAX_BYTES} bytes, expected one line with the password"
    else:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            wrong = "is not UTF-8 text"
    raise ConfigError([f"{path}: [uplink.password_file] {wrong}"])

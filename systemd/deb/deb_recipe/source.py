"""The work tree that a package is built from: where, which version, of which time. Never writes into it."""

import os
import re
import subprocess
from pathlib import Path

from deb_recipe.target import BuildError

ROOT = Path(__file__).resolve().parents[3]
"""The project."""
VERSION_FILE = "edge_agent/version.py"
_VERSION = re.compile(r'(?m)^VERSION = "([^"]+)"$')


def version() -> str:
    """The version that the sources tell."""
    found = _VERSION.search((ROOT / VERSION_FILE).read_text(encoding="utf-8"))
    if found is None:
        raise BuildError(f"{VERSION_FILE} has no line VERSION = ...")
    return found[1]


def with_version(text: str, wanted: str) -> str:
    """The text of the version's module, telling ``wanted``."""
    return _VERSION.sub(f'VERSION = "{wanted}"', text)


def epoch() -> int:
    """The time of all files, seconds since 1970: SOURCE_DATE_EPOCH, or that of the last commit."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        if not told.isdecimal():
            raise BuildError(f"SOURCE_DATE_EPOCH={told} is no number of seconds")
        return int(told)
    try:
        return int(run("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))
    except BuildError as error:
        raise BuildError(f"no commit to take the time from; set SOURCE_DATE_EPOCH ({error})") from error


def run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """What a command prints; raises BuildError with its complaint where it fails or is not there."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | (environment or {}), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed: sudo apt-get install dpkg-dev") from error
    if done.returncode != 0:
        raise BuildError(f"`{' '.join(command)}` failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout

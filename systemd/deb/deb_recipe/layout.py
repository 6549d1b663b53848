"""Which file of the project lies where on a terminal: the whole list, so that nothing is there or missing by chance."""

import gzip
import shutil
from pathlib import Path

from deb_recipe.source import ROOT
from deb_recipe.target import BuildError

UNITS = "usr/lib/systemd/system"
DOC = "usr/share/doc/edge-agent"
CONFFILES = ("etc/edge-agent/edge-agent.toml",)
"""What dpkg asks about before it replaces it."""

FILES = {
    "config/edge-agent.toml": "etc/edge-agent/edge-agent.toml",
    "config/config.schema.json": f"{DOC}/config.schema.json",
    "systemd/edge-agent.service": f"{UNITS}/edge-agent.service",
    "systemd/edge-agent-clock.service": f"{UNITS}/edge-agent-clock.service",
    "systemd/edge-agent-update-good.service": f"{UNITS}/edge-agent-update-good.service",
    "systemd/edge-agent-update-good.sh": "usr/libexec/edge-agent/update-good",
    "systemd/edge-agent-renew.service": f"{UNITS}/edge-agent-renew.service",
    "systemd/edge-agent-renew.timer": f"{UNITS}/edge-agent-renew.timer",
    "systemd/edge-agent-renew.sh": "usr/libexec/edge-agent/renew",
    "systemd/edge-agent.sysusers": "usr/lib/sysusers.d/edge-agent.conf",
    "systemd/edge-agent.tmpfiles": "usr/lib/tmpfiles.d/edge-agent.conf",
    "systemd/edge-agent.udev.rules": "usr/lib/udev/rules.d/60-edge-agent.rules",
    "systemd/edge-agent.journald.conf": "usr/lib/systemd/journald.conf.d/50-edge-agent.conf",
    "systemd/edge-agent.modprobe.conf": "usr/lib/modprobe.d/edge-agent.conf",
    "systemd/edge-agent.polkit.rules": "usr/share/polkit-1/rules.d/50-edge-agent.rules",
    "systemd/edge-kiosk.service": f"{UNITS}/edge-kiosk.service",
    "systemd/edge-kiosk.sh": "usr/libexec/edge-agent/kiosk",
    "systemd/deb/edge-agent": "usr/bin/edge-agent",
    "systemd/deb/firmware-bridge": "usr/bin/firmware-bridge",
    "systemd/deb/lintian-overrides": "usr/share/lintian/overrides/edge-agent",
}
"""Path in the project -> path on a terminal. What ends in .gz there is compressed on the way."""
FOLDERS = ("etc/edge-agent/edge-agent.toml.d", "etc/edge-agent/update-good.d")
"""Folders that are empty at first."""
SCRIPTS = ("postinst", "prerm", "postrm")
"""systemd/deb/NAME -> the control archive."""
RECIPE = {"systemd/deb/control", *(f"systemd/deb/{name}" for name in SCRIPTS)}
"""Files of systemd/ that make the package and are not in it."""


def place(root: Path) -> None:
    """Copy every file of the list to its place below ``root``; raises BuildError."""
    for origin, goal in {**FILES, **pages(), **help_files()}.items():
        source, target = ROOT / origin, root / goal
        if not source.is_file():
            raise BuildError(f"{origin} is in the package's list and not in the project")
        target.parent.mkdir(parents=True, exist_ok=True)
        if goal.endswith(".gz"):
            target.write_bytes(compressed(source.read_bytes()))
        else:
            shutil.copyfile(source, target)
    for name in FOLDERS:
        (root / name).mkdir(parents=True)


def pages() -> dict[str, str]:
    """The documentation for people on a terminal: every page of docs/, without the pictures."""
    docs = ROOT / "docs"
    found = {f"docs/{path.relative_to(docs)}": f"{DOC}/{path.relative_to(docs)}" for path in docs.rglob("*.md")}
    return {"CHANGELOG.md": f"{DOC}/CHANGELOG.md.gz", **dict(sorted(found.items()))}


def help_files() -> dict[str, str]:
    """Manual pages and what the shells complete, as many as there are; raises BuildError for one of another kind."""
    found = {}
    for path in sorted((ROOT / "systemd" / "man").glob("*")):
        if path.suffix != ".1":
            raise BuildError(f"{path.name} is no manual page of section 1")
        found[f"systemd/man/{path.name}"] = f"usr/share/man/man1/{path.name}.gz"
    for path in sorted((ROOT / "systemd" / "completion").glob("*")):
        command = path.stem.removeprefix("_")
        if path.suffix == ".bash":
            goal = f"usr/share/bash-completion/completions/{command}"
        elif path.suffix == ".zsh" or path.name.startswith("_"):
            goal = f"usr/share/zsh/vendor-completions/_{command}"
        else:
            raise BuildError(f"{path.name} completes for neither bash (.bash) nor zsh (.zsh)")
        found[f"systemd/completion/{path.name}"] = goal
    return found


def compressed(content: bytes) -> bytes:
    """Gzip without name and time, the same bytes each time."""
    return gzip.compress(content, compresslevel=9, mtime=0)

"""The control archive of the package: fields, maintainer scripts, conffiles, checksums; and Debian's changelog."""

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from string import Template

from deb_recipe import layout
from deb_recipe.source import ROOT
from deb_recipe.target import Target

MAINTAINER = "Edge agent maintainers <edge-agent@example.invalid>"


def write(root: Path, target: Target, version: str, depends: list[str]) -> None:
    """Write DEBIAN/ for the finished tree ``root``."""
    folder = root / "DEBIAN"
    folder.mkdir()
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if folder not in path.parents]
    template = Template((ROOT / "systemd" / "deb" / "control").read_text(encoding="utf-8"))
    fields = template.substitute(
        version=target.version(version),
        architecture=target.arch,
        maintainer=MAINTAINER,
        size=installed_size(root),
        python=target.python,
        next_python=target.next_python,
        libraries=", ".join(depends),
    )
    (folder / "control").write_text(fields, encoding="utf-8")
    (folder / "conffiles").write_text("".join(f"/{name}\n" for name in layout.CONFFILES), encoding="utf-8")
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files]  # noqa: S324 -- what dpkg --verify reads
    (folder / "md5sums").write_text("".join(sums), encoding="utf-8")
    for name in layout.SCRIPTS:
        (folder / name).write_bytes((ROOT / "systemd" / "deb" / name).read_bytes())


def installed_size(root: Path) -> int:
    """What Debian calls Installed-Size: KiB, each file rounded up, one for everything else; policy 5.6.20."""
    paths = [path for path in root.rglob("*") if path.relative_to(root).parts[0] != "DEBIAN"]
    return sum(-(-path.stat().st_size // 1024) if path.is_file() and not path.is_symlink() else 1 for path in paths)


def changelog(target: Target, version: str, epoch: int) -> str:
    """One entry in Debian's form, of this build; the project's own changelog lies beside it."""
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    head = f"edge-agent ({target.version(version)}) stable; urgency=medium"
    return f"{head}\n\n  * Version {version}; see CHANGELOG.md.gz beside this file.\n\n -- {MAINTAINER}  {date}\n"

"""What the compiled libraries ask of the system: for which processor they are, and which packages of Debian they need.

dpkg-shlibdeps would need the other architecture's system; reading the files with readelf does not.
"""

import re
from pathlib import Path

from deb_recipe.source import run
from deb_recipe.target import ELF_MACHINE, GLIBC, BuildError, Target

_PACKAGE = {
    **dict.fromkeys(("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1"), "libc6"),
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
}
"""Soname -> the package of Debian that has it. One that is not here must be looked at by a person."""


def dependencies(root: Path, target: Target) -> list[str]:
    """The Depends entries of all compiled libraries below ``root``; raises BuildError for a foreign processor."""
    packages: set[str] = set()
    newest = (0, 0)
    for path in compiled(root):
        text = run("readelf", "--wide", "--file-header", "--dynamic", "--version-info", str(path))
        machine = re.search(r"(?m)^\s*Machine:\s*(.+?)\s*$", text)
        if machine is None or machine[1] != ELF_MACHINE[target.arch]:
            raise BuildError(f"{path.relative_to(root)} is for {machine[1] if machine else '?'}, not {target.arch}")
        for soname in re.findall(r"\(NEEDED\).*\[(.+)\]", text):
            if soname not in _PACKAGE:
                raise BuildError(f"{path.relative_to(root)} needs {soname}: name its package in deb_recipe/elf.py")
            packages.add(_PACKAGE[soname])
        asked = [(int(major), int(minor)) for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", text)]
        newest = max([newest, *asked])
    if newest > GLIBC[target.release]:
        raise BuildError(f"a library needs glibc {newest[0]}.{newest[1]}, Debian {target.release} has an older one")
    packages.discard("libc6")
    return [f"libc6 (>= {newest[0]}.{newest[1]})", *sorted(packages)]


def compiled(root: Path) -> list[Path]:
    """All files below ``root`` that begin as ELF files do."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path))


def _is_elf(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"

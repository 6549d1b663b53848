"""What a package is built for: a Debian release, whose Python it brings its libraries for, and an architecture."""

import re
from dataclasses import dataclass


class BuildError(Exception):
    """A package cannot be built; the text says why and what to do."""


PYTHON = {12: (3, 11), 13: (3, 13)}
"""Debian release -> its Python. A compiled library fits one minor version of Python only."""
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's name of an architecture -> the one of wheels and kernels."""
ELF_MACHINE = {"amd64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}
"""Debian's name of an architecture -> readelf's."""
GLIBC = {12: (2, 36), 13: (2, 41)}
"""Debian release -> its C library, the newest that a bundled library may ask for."""


@dataclass(frozen=True, slots=True)
class Target:
    """One package: which release of Debian, which architecture."""

    release: int
    arch: str

    def __post_init__(self) -> None:
        """Refuse what no recipe is known for."""
        if self.release not in PYTHON:
            raise BuildError(f"RELEASE={self.release} is not one of {', '.join(map(str, PYTHON))}")
        if self.arch not in MACHINE:
            raise BuildError(f"ARCH={self.arch} is not one of {', '.join(MACHINE)}")

    @property
    def python(self) -> str:
        """Its Python as `3.11`."""
        return ".".join(map(str, PYTHON[self.release]))

    @property
    def next_python(self) -> str:
        """The first minor version of Python that the package does not fit any more."""
        major, minor = PYTHON[self.release]
        return f"{major}.{minor + 1}"

    @property
    def platform(self) -> str:
        """Its platform as uv names it; 2.28 is older than the C library of either release."""
        return f"{MACHINE[self.arch]}-manylinux_2_28"

    def version(self, upstream: str) -> str:
        """Debian's form of a version: `0.2.0rc1` is `0.2.0~rc1+deb12`.

        A `~` sorts before the end, so a candidate is older than its release; `+deb13` after `+deb12`, so a terminal
        that goes from one release of Debian to the next moves up; and the number of the agent counts before both.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)*)(?:\.?((?:a|b|rc|dev)\d+))?", upstream)
        if found is None:
            raise BuildError(f"VERSION={upstream} is not of the form 1.2.3, 1.2.3rc1 or 1.2.3.dev1")
        before = found[2] or ""
        sign = {"": "", "d": "~~"}.get(before[:1], "~")  # a developer's build is older than any candidate
        return f"{found[1]}{sign}{before}+deb{self.release}"

    def file_name(self, upstream: str) -> str:
        """The package's file as Debian names it, without a folder."""
        return f"edge-agent_{self.version(upstream)}_{self.arch}.deb"

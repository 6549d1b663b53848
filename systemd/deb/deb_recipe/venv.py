"""The virtual environment of a terminal, for a Python and a processor that this machine need not have.

Every library is the file that uv.lock names, checked against its hash and kept as it is; the agent is built from the
work tree. Nothing of the target runs here.
"""

import shutil
import sys
from pathlib import Path

from deb_recipe import source
from deb_recipe.source import ROOT, run
from deb_recipe.target import BuildError, Target

HOME = "usr/lib/edge-agent"
"""Where the environment lies on a terminal."""
EXTRAS = ("ntag",)
"""What a terminal needs beside the agent's own libraries; `pcsc` comes from Debian, see SMARTCARD."""
SMARTCARD = "../../../../python3/dist-packages/smartcard"
"""pyscard has no wheel: the environment sees Debian's python3-pyscard where that is installed, and nothing else."""
_FROM_SOURCE = ("pydes",)
"""Libraries without a wheel, of Python only: built by the locked setuptools."""
# How it was installed here, which no terminal needs: it names folders, times and commands of this machine.
_TRACES = ("RECORD", "REQUESTED", "INSTALLER", "direct_url.json", "uv_build.json", "uv_cache.json")


def packages_of(root: Path, target: Target) -> Path:
    """Where the libraries are, below the root of a package."""
    return root / HOME / "lib" / f"python{target.python}" / "site-packages"


def lay_out(root: Path, target: Target, version: str, work: Path) -> None:
    """Fill ``root`` with the environment; raises BuildError."""
    packages = packages_of(root, target)
    packages.mkdir(parents=True)
    requirements = work / "requirements.txt"
    uv("export", *_export_arguments(), "--no-emit-project", "--output-file", str(requirements))
    _install(packages, target, "--require-hashes", "--requirements", str(requirements))
    _install(packages, target, str(_own_wheel(version, work)))
    _clean(packages)
    (packages / "smartcard").symlink_to(SMARTCARD)
    home = root / HOME
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n", encoding="utf-8"
    )
    (home / "bin").mkdir()
    (home / "bin" / "python3").symlink_to("../../../bin/python3")


def components() -> str:
    """What the lock names for a terminal, as uv's CycloneDX document."""
    return uv("export", *_export_arguments(), "--format", "cyclonedx1.5")


def uv(*arguments: str) -> str:
    """What uv prints; raises BuildError."""
    beside = Path(sys.executable).parent / "uv"
    return run(str(beside) if beside.exists() else "uv", *arguments, "--quiet", cwd=ROOT)


def _export_arguments() -> list[str]:
    return ["--frozen", "--no-dev", *(word for extra in EXTRAS for word in ("--extra", extra))]


def _install(packages: Path, target: Target, *what: str) -> None:
    named = [word for name in _FROM_SOURCE for word in ("--no-binary", name, "--no-build-isolation-package", name)]
    where = ["--target", str(packages), "--python-version", target.python, "--python-platform", target.platform]
    alone = ["--no-deps", "--link-mode", "copy", "--python", sys.executable]
    uv("pip", "install", *where, *alone, "--only-binary", ":all:", *named, *what)


def _own_wheel(version: str, work: Path) -> Path:
    """Build the agent's wheel from a copy of the work tree that tells ``version``."""
    tree, out = work / "source", work / "wheel"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tree / name)
    for folder in ("edge_agent", "firmware_bridge", "docs"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    told = tree / source.VERSION_FILE
    told.write_text(source.with_version(told.read_text(encoding="utf-8"), version), encoding="utf-8")
    run(
        sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out),
        cwd=tree, environment={"SOURCE_DATE_EPOCH": str(source.epoch())},
    )  # fmt: skip
    found = list(out.glob("*.whl"))
    if len(found) != 1:
        raise BuildError(f"hatchling built {len(found)} wheels instead of one")
    return found[0]


def _clean(packages: Path) -> None:
    """Take away commands, manual pages and traces of the installation."""
    for name in ("bin", "share"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for path in (packages / ".lock", *(path for name in _TRACES for path in packages.glob(f"*.dist-info/{name}"))):
        path.unlink(missing_ok=True)
    if foreign := sorted(path.name for path in packages.rglob("*.pth")):
        raise BuildError(f"a library would run code at each start of Python: {', '.join(foreign)}")

"""Builds one package: lays out the tree, then packs it with dpkg-deb. The work tree stays as it is."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deb_recipe import bundled, control, copyright, elf, layout, sbom, source, venv  # noqa: A004 -- Debian's name for it
from deb_recipe.target import Target


@dataclass(frozen=True, slots=True)
class Built:
    """What came out."""

    package: Path
    bill: Path
    """The CycloneDX document beside it."""


def build(target: Target, out: Path, *, version: str | None = None, quick: bool = False) -> Built:
    """Build the package of ``version`` (the sources' own by default) into ``out``; raises BuildError.

    ``quick`` hardly compresses, for tests that install several: three seconds instead of fifteen, and half as large
    again. Files in ``out`` appear whole or not at all.
    """
    wanted = version or source.version()
    epoch = source.epoch()
    name = target.file_name(wanted)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edge-agent-deb-") as folder:
        work = Path(folder)
        root = work / "root"
        root.mkdir()
        venv.lay_out(root, target, wanted, work)
        layout.place(root)
        libraries = bundled.libraries(venv.packages_of(root, target))
        doc = root / layout.DOC
        (doc / "copyright").write_text(copyright.text_of(libraries), encoding="utf-8")
        changelog = control.changelog(target, wanted, epoch)
        (doc / "changelog.gz").write_bytes(layout.compressed(changelog.encode()))
        control.write(root, target, wanted, elf.dependencies(root, target))
        _settle(root, epoch)
        bill = work / name.replace(".deb", ".cdx.json")
        bill.write_text(sbom.bill(venv.components(), libraries, target, wanted, epoch), encoding="utf-8")
        package = work / name
        _pack(root, package, epoch, quick=quick)
        return Built(_deliver(package, out), _deliver(bill, out))


def write_sums(out: Path) -> Path:
    """SHA256SUMS of all packages and bills in a folder, as `sha256sum --check` reads it."""
    files = sorted(path for path in out.iterdir() if path.name.endswith((".deb", ".cdx.json")))
    text = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    sums = out / "SHA256SUMS"
    sums.write_text(text, encoding="utf-8")
    return sums


def _settle(root: Path, epoch: int) -> None:
    """Give every file the same rights and time, whatever this machine's umask and clock are."""
    commands = {root / "usr" / "bin", root / "usr" / "libexec" / "edge-agent", root / "DEBIAN"}
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            runs = path.parent in commands and path.read_bytes().startswith(b"#!") if path.is_file() else True
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    root.chmod(0o755)
    os.utime(root, (epoch, epoch))


def _pack(root: Path, package: Path, epoch: int, *, quick: bool) -> None:
    # One thread: what xz writes with several depends on how many there are.
    how = ["-Zgzip", "-z1"] if quick else ["-Zxz", "-z6", "--threads-max=1"]
    source.run(
        "dpkg-deb", "--root-owner-group", *how, "--build", str(root), str(package),
        environment={"SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def _deliver(path: Path, out: Path) -> Path:
    """Put a finished file into its folder in one step."""
    beside = out / f".{path.name}.new"
    beside.write_bytes(path.read_bytes())
    return beside.replace(out / path.name)

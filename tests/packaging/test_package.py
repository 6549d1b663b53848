"""The package as it comes out: the same bytes twice, sound by Debian's rules, and fit for what it says it is for.

How it installs, upgrades and goes in a running system: tests/nspawn.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from deb_recipe import bundled, elf, layout, source, venv
from deb_recipe.build import Built, build, write_sums
from deb_recipe.target import PYTHON, BuildError, Target

from tests.conftest import require_system, skip_or_fail
from tests.fakes.debian_tree import make_debian

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SUITES = {12: "bookworm", 13: "trixie"}
TARGETS = [Target(release, arch) for arch in ("amd64", "arm64") for release in sorted(PYTHON)]
ids = {"ids": lambda target: f"debian{target.release}-{target.arch}"}
# What a terminal may need of compiled code, and what needs it: a wheel for another Python or processor fails here.
IMPORTS = (
    "edge_agent.app, edge_agent.config, bleak, dbus_fast.aio, dbus_fast.unpack, _cbor2, pydantic, pydantic_core, nfc,"
    " cryptography.hazmat.bindings._rust, gpiod, smbus2, segno, usb1, _cffi_backend, serial, paho.mqtt.client"
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A package and what is in it."""

    target: Target
    built: Built
    root: Path

    @property
    def packages(self) -> Path:
        return venv.packages_of(self.root, self.target)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[Target, Opened]:
    """Each package, uncompressed and taken apart."""
    for part in ("dpkg", "readelf"):
        require_system(part)
    folder = tmp_path_factory.mktemp("packages")

    def one(target: Target) -> Opened:
        built = build(target, folder / target.arch, quick=True)
        root = folder / f"root-{target.release}-{target.arch}"
        subprocess.run(["dpkg-deb", "--raw-extract", str(built.package), str(root)], check=True)
        return Opened(target, built, root)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(TARGETS, pool.map(one, TARGETS), strict=True))


def test_two_builds_in_different_folders_are_the_same_bytes(tmp_path: Path) -> None:
    require_system("readelf")

    def sums(name: str, mask: int, zone: str) -> str:
        tree = tmp_path / name
        tree.mkdir(parents=True)
        for folder in ("edge_agent", "firmware_bridge", "docs", "config", "systemd"):
            shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "CHANGELOG.md"):
            shutil.copy(ROOT / file, tree / file)
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1800000000", "PYTHONPATH": "systemd/deb", "TZ": zone}
        # What takes the time is the compression, so one of the two is enough for it.
        for more in (["--release=12"], ["--release=13", "--quick"]):
            command = [sys.executable, "-m", "deb_recipe", *more]
            subprocess.run(command, cwd=tree, env=environment, umask=mask, check=True, capture_output=True)
        return (tree / "dist" / "SHA256SUMS").read_text(encoding="utf-8")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(sums, ("here", "elsewhere/and/deeper"), (0o022, 0o077), ("UTC", "Asia/Tokyo"))
    assert first == second
    assert len(first.splitlines()) == 4


@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[-1]], **ids)
def test_lintian_finds_neither_error_nor_warning(opened: dict[Target, Opened], target: Target) -> None:
    lintian = require_system("lintian")
    command = [lintian, "--allow-root", str(opened[target].built.package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize("target", TARGETS, **ids)
def test_compiled_code_is_for_the_processor_and_the_python_of_the_package(
    opened: dict[Target, Opened], target: Target
) -> None:
    found = elf.compiled(opened[target].root)
    assert len(found) > 10
    elf.dependencies(opened[target].root, target)  # raises for another processor
    own = f".cpython-{target.python.replace('.', '')}-"
    other = [path.name for path in found if ".cpython-" in path.name and own not in path.name]
    assert other == []
    with pytest.raises(BuildError, match="is for"):
        elf.dependencies(opened[target].root, Target(target.release, "arm64" if target.arch == "amd64" else "amd64"))


@pytest.mark.parametrize("target", TARGETS, **ids)
def test_the_bill_lists_exactly_what_is_locked_and_installed(opened: dict[Target, Opened], target: Target) -> None:
    document = json.loads(opened[target].built.bill.read_text(encoding="utf-8"))
    told = {part["name"]: part["version"] for part in document["components"]}
    there = {one.name: one.version for one in bundled.libraries(opened[target].packages)}
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    locked = {bundled.normal(one["name"]): one["version"] for one in lock if "version" in one}
    assert told == there
    assert told.items() <= locked.items()
    # What the agent asks for by itself, and for a tag chip.
    wishes = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*wishes["dependencies"], *wishes["optional-dependencies"]["ntag"]]
    assert {bundled.normal(re.split(r"[<>=!~;\s]", one)[0]) for one in asked} <= set(told)
    hashes = {
        one["hash"].removeprefix("sha256:")
        for entry in lock
        for one in [*entry.get("wheels", []), entry.get("sdist")]
        if one
    }
    for part in document["components"]:
        assert [one["content"] in hashes for one in part["externalReferences"][0]["hashes"]] == [True], part["name"]


@pytest.mark.parametrize("target", TARGETS, **ids)
def test_nothing_of_this_machine_is_in_the_package(opened: dict[Target, Opened], target: Target) -> None:
    traces = [str(ROOT).encode(), str(Path(sys.prefix)).encode(), b"/tmp/edge-agent-deb-"]
    told = [
        path.relative_to(opened[target].root)
        for path in opened[target].root.rglob("*")
        if path.is_file() and not path.is_symlink() and any(trace in path.read_bytes() for trace in traces)
    ]
    assert told == []


def test_every_library_has_its_license_in_the_copyright_file(opened: dict[Target, Opened]) -> None:
    one = opened[TARGETS[0]]
    text = (one.root / layout.DOC / "copyright").read_text(encoding="utf-8")
    for library in bundled.libraries(one.packages):
        assert f"\n{library.name} {library.version}\n  License: {library.license}\n" in text
        assert library.license != "not told"


def test_the_sums_are_what_sha256sum_reads(opened: dict[Target, Opened]) -> None:
    folder = opened[TARGETS[0]].built.package.parent
    sums = write_sums(folder)
    done = subprocess.run(["sha256sum", "--check", sums.name], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert len(done.stdout.splitlines()) == 4
    first = opened[TARGETS[0]].built.package
    assert hashlib.sha256(first.read_bytes()).hexdigest() in sums.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def terminals(
    opened: dict[Target, Opened], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Target, "Future[list[str]]"]]:
    """Each target -> the words to run a program on a Debian of it that has the package's files; root only.

    Unpacked, not installed: for the other processor only one program can run, under qemu's emulation.
    """
    if os.geteuid() != 0:
        skip_or_fail("entering another Debian needs root; to run this test: sudo make proof")
    mmdebstrap, qemu = require_system("mmdebstrap"), require_system("qemu-aarch64")
    folder = tmp_path_factory.mktemp("terminals")

    def unpacked(target: Target) -> list[str]:
        root = folder / f"{target.release}-{target.arch}"
        options = ["--variant=extract", f"--architectures={target.arch}"]
        options += ["--include=base-files,python3,libusb-1.0-0,libgcc-s1"]
        make_debian(root, SUITES[target.release], *options, binary=mmdebstrap)
        subprocess.run(["dpkg-deb", "--extract", str(opened[target].built.package), str(root)], check=True)
        words = ["unshare", "--net", "chroot", str(root)]
        if target.arch != "amd64":
            shutil.copy(qemu, root / "qemu")
            # A Raspberry Pi 4; a newer processor signs return addresses, for which qemu takes ten times as long.
            words += ["/qemu", "-cpu", "cortex-a72"]
        return [*words, f"/{venv.HOME}/bin/python3", "-I"]

    with ThreadPoolExecutor(2) as pool:
        yield {target: pool.submit(unpacked, target) for target in TARGETS}
    shutil.rmtree(folder)


@pytest.fixture(params=TARGETS, **ids)
def terminal(request: pytest.FixtureRequest, terminals: dict[Target, "Future[list[str]]"]) -> tuple[Target, list[str]]:
    """A target, and the words to run its Python there."""
    return request.param, terminals[request.param].result()


def said(words: list[str], *more: str) -> str:
    done = subprocess.run([*words, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_it_runs_on_the_debian_and_the_processor_that_it_is_for(terminal: tuple[Target, list[str]]) -> None:
    target, words = terminal
    assert said(words, "/usr/bin/edge-agent", "--version") == f"edge-agent {source.version()}\n"
    asked = f"import {IMPORTS}; import platform, sys; print(platform.machine(), *sys.version_info[:2], sys.path)"
    machine, major, minor, path = said(words, "-c", asked).split(maxsplit=3)
    assert (machine, f"{major}.{minor}") == ({"amd64": "x86_64", "arm64": "aarch64"}[target.arch], target.python)
    assert "dist-packages" not in path  # of Debian's own libraries it sees none but pyscard
    assert "the configuration is right" in said(words, "/usr/bin/edge-agent", "config", "check")
    assert "usage: firmware-bridge" in said(words, "/usr/bin/firmware-bridge", "--help")


def test_it_signs_there(terminal: tuple[Target, list[str]]) -> None:
    _, words = terminal
    said(words, "/usr/bin/edge-agent", "keys", "init")
    assert re.search(r"[0-9a-f]{16}", said(words, "/usr/bin/edge-agent", "keys", "show", "--json"))

"""What the tests in containers share: a clean Debian 12 and 13, packages of the work tree, and both put together."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from deb_recipe.build import build
from deb_recipe.target import Target

from edge_agent.version import VERSION
from tests.conftest import require_system, skip_or_fail
from tests.nspawn.container import SUITES, booted, build_tree
from tests.nspawn.terminal import Terminal

# For developers: trees that are kept from run to run. They are only ever read.
KEPT_TREES = "EDGE_AGENT_TEST_TREES"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@dataclass(frozen=True, slots=True)
class Trees:
    """Of one release."""

    clean: Path
    image: Path


@pytest.fixture(scope="session")
def _machine() -> None:
    """What a container needs of this machine."""
    for part in ("systemd-nspawn", "mmdebstrap"):
        require_system(part)
    if os.geteuid() != 0:
        skip_or_fail("a container can be started by root only")


@pytest.fixture(scope="session", params=sorted(SUITES), ids=SUITES.get)
def release(request: pytest.FixtureRequest) -> int:
    """The Debian of a test."""
    return int(request.param)


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for trees, which are large: it goes at the end."""
    folder = tmp_path_factory.mktemp("nspawn")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def package_of(room: Path) -> Callable[..., Path]:
    """A function that builds the package for a release, of any version; each is built once."""

    @cache
    def of(release: int, version: str = VERSION) -> Path:
        return build(Target(release, ARCHITECTURE), room / "packages", version=version, quick=True).package

    return of


@pytest.fixture(scope="session")
def made(_machine: None, room: Path, package_of: Callable[..., Path]) -> Iterator[dict[int, "Future[Trees]"]]:
    """All trees of each release, both releases side by side."""

    def make(release: int) -> Trees:
        clean = Path(os.environ.get(KEPT_TREES, room)) / SUITES[release]
        if not clean.exists():
            build_tree(release, clean)
        return Trees(clean, make_image(clean, package_of(release), room / f"{SUITES[release]}-image"))

    with ThreadPoolExecutor() as pool:
        yield {release: pool.submit(make, release) for release in SUITES}


@pytest.fixture(scope="session")
def clean_tree(release: int, made: dict[int, "Future[Trees]"]) -> Path:
    """Debian as it comes, with what a terminal's site would install."""
    return made[release].result().clean


@pytest.fixture(scope="session")
def image(release: int, made: dict[int, "Future[Trees]"]) -> Path:
    """The tree with the package in it."""
    return made[release].result().image


def make_image(clean: Path, package: Path, tree: Path) -> Path:
    """Install the package where no systemd runs: how images of terminals are made."""
    subprocess.run(["cp", "--archive", "--reflink=auto", str(clean), str(tree)], check=True)
    copy = Path(shutil.copy(package, tree / "root"))
    inside = Path("/") / copy.relative_to(tree)
    install = 'mount -t proc proc "$0/proc" && exec chroot "$0" dpkg --install "$1"'
    subprocess.run(
        ["unshare", "--mount", "--propagation=private", "sh", "-euc", install, str(tree), str(inside)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    copy.unlink()
    return tree


@pytest.fixture
def terminal(image: Path) -> Iterator[Terminal]:
    """A terminal from that image, switched on: not configured, without a key."""
    with booted(image) as container:
        yield Terminal(container)

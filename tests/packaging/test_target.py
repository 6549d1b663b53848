"""Versions must sort as an operator expects: dpkg decides by them whether a file is an upgrade."""

import subprocess
from itertools import pairwise

import pytest
from deb_recipe.target import PYTHON, BuildError, Target

from tests.conftest import require_system

OLDEST_FIRST = [
    (12, "0.1.0"),
    (13, "0.1.0"),
    (12, "0.2.0.dev1"),
    (12, "0.2.0a1"),
    (12, "0.2.0rc1"),
    (13, "0.2.0rc1"),
    (12, "0.2.0rc2"),
    (12, "0.2.0"),
    (13, "0.2.0"),
    (12, "0.2.1"),
    (12, "0.10.0"),
]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(OLDEST_FIRST)))
def test_dpkg_sorts_versions_as_people_do(older: tuple[int, str], newer: tuple[int, str]) -> None:
    dpkg = require_system("dpkg")
    first, second = (Target(release, "amd64").version(number) for release, number in (older, newer))
    assert subprocess.run([dpkg, "--compare-versions", first, "lt", second], check=False).returncode == 0


@pytest.mark.parametrize("number", ["", "1.0-1", "1.0+local", "v1.0", "1.0; rm", "1.0/2", "1.0rc", "1.0 "])
def test_a_version_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(BuildError, match="VERSION="):
        Target(12, "amd64").version(number)


def test_a_release_or_a_processor_without_a_recipe_is_refused() -> None:
    with pytest.raises(BuildError, match="RELEASE=11 is not one of 12, 13"):
        Target(11, "amd64")
    with pytest.raises(BuildError, match="ARCH=riscv64 is not one of amd64, arm64"):
        Target(12, "riscv64")


def test_the_file_is_named_as_debian_names_it() -> None:
    assert Target(13, "arm64").file_name("0.2.0") == "edge-agent_0.2.0+deb13_arm64.deb"


@pytest.mark.parametrize("release", sorted(PYTHON))
def test_a_package_fits_the_python_of_its_release_and_no_other(release: int) -> None:
    target = Target(release, "amd64")
    ours, after = (tuple(map(int, text.split("."))) for text in (target.python, target.next_python))
    assert ours == PYTHON[release]
    assert after == (ours[0], ours[1] + 1)

"""Nothing of systemd/ is forgotten, and the maintainer scripts speak of what is there."""

import re
import subprocess
from pathlib import Path

import pytest
from deb_recipe import layout, venv

from tests.conftest import require_system

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "systemd" / "deb" / name for name in layout.SCRIPTS]


def packaged() -> dict[str, str]:
    return {**layout.FILES, **layout.pages(), **layout.help_files()}


def script(name: str) -> str:
    return (ROOT / "systemd" / "deb" / name).read_text(encoding="utf-8")


def units() -> dict[str, str]:
    """Name -> text of each packaged unit."""
    return {
        Path(goal).name: (ROOT / origin).read_text(encoding="utf-8")
        for origin, goal in packaged().items()
        if goal.startswith(layout.UNITS)
    }


def test_every_file_of_the_service_is_packaged_or_makes_the_package() -> None:
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "systemd").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert there - set(packaged()) - layout.RECIPE == set()


def test_every_file_of_the_list_exists_and_has_a_place_of_its_own() -> None:
    files = packaged()
    assert [origin for origin in files if not (ROOT / origin).is_file()] == []
    assert len(set(files.values())) == len(files)


def test_nothing_lies_where_only_the_administrator_writes() -> None:
    outside = [goal for goal in packaged().values() if not goal.startswith("usr/")]
    assert outside == list(layout.CONFFILES)


def test_commands_that_units_start_are_in_the_package() -> None:
    ours = {f"/{goal}" for goal in packaged().values()} | {f"/{venv.HOME}/bin/python3"}
    started = [
        command
        for text in units().values()
        for command in re.findall(r"(?m)^Exec\w+=[-@:+!]*(/\S+)", text)
        if "edge-agent" in command
    ]
    assert started
    assert set(started) - ours == set()


def test_users_that_units_run_as_are_made_by_the_package() -> None:
    made = set(re.findall(r"(?m)^u (\S+)", (ROOT / "systemd" / "edge-agent.sysusers").read_text(encoding="utf-8")))
    wanted = {user for text in units().values() for user in re.findall(r"(?m)^User=(\S+)", text)}
    assert wanted
    assert wanted <= made


@pytest.mark.parametrize("name", ["postinst", "postrm"])
def test_scripts_care_for_every_unit_that_can_be_enabled_and_for_no_other(name: str) -> None:
    installable = {unit for unit, text in units().items() if "[Install]" in text}
    told = set(re.findall(r"\bedge-[a-z-]+\.(?:service|timer)\b", script(name)))
    assert told == installable


def test_only_what_waits_for_nothing_is_enabled_by_itself() -> None:
    found = re.search(r"for unit in (.+); do", script("postinst"))
    assert found
    assert set(found[1].split()) == {"edge-agent.service", "edge-agent-update-good.service"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_its_first_mistake_and_is_sound(path: Path) -> None:
    assert "\nset -e\n" in path.read_text(encoding="utf-8")
    subprocess.run(["sh", "-n", str(path)], check=True)
    done = subprocess.run([require_system("shellcheck"), str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_purge_takes_configuration_taps_and_key_and_a_removal_none_of_them() -> None:
    removal, _, purge = script("postrm").partition('if [ "$1" = purge ]')
    for path in ("/var/lib/edge-agent", "/etc/edge-agent", "/var/log/edge-agent", "/etc/credstore/edge-agent."):
        assert path in purge
        assert path not in removal


@pytest.mark.parametrize("name", ["edge-agent", "firmware-bridge"])
def test_a_command_runs_isolated_in_the_environment_of_the_package(name: str) -> None:
    first = script(name).splitlines()[0]
    assert first == f"#!/{venv.HOME}/bin/python3 -I"
    assert len(first) < 127  # what the kernel reads of it


def test_the_overrides_of_lintian_have_a_reason_each() -> None:
    reasons = 0
    for line in script("lintian-overrides").splitlines():
        reasons += line.startswith("#")
        assert line.startswith(("#", "edge-agent: "))
        assert reasons

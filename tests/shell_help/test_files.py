"""What is committed under systemd/man and systemd/completion is what the parsers say now, and the tools take it."""

import subprocess
from collections.abc import Callable

import pytest
from shell_help.__main__ import ROOT, files

from edge_agent.cli.commands import COMMANDS

PAGES = ["man/edge-agent.1", "man/firmware-bridge.1"]


def test_the_committed_files_are_current() -> None:
    stale = [name for name, text in files().items() if (ROOT / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make contract`"


def test_nothing_else_lies_beside_them() -> None:
    there = {str(path.relative_to(ROOT)) for room in ("man", "completion") for path in (ROOT / room).iterdir()}
    assert there == set(files())


def test_they_are_the_same_on_every_day() -> None:
    assert files() == files()
    assert not any("Generated Python" in text for text in files().values())


def test_a_page_tells_every_command_with_its_options() -> None:
    page = files()["man/edge-agent.1"].replace("\\-", "-")
    for name in COMMANDS:
        assert f'.SS "edge-agent {name}"' in page
    for told in (
        ".SH EXIT STATUS",
        ".SH ENVIRONMENT",
        ".SH FILES",
        ".SH SEE ALSO",
        "\\fB--no-identify\\fR",
        "NO_COLOR",
    ):
        assert told in page


@pytest.mark.system
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_fault_that_mandoc_knows(name: str, require_system: Callable[[str], str]) -> None:
    done = subprocess.run(
        [require_system("mandoc"), "-Tlint", ROOT / name], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.system
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_in_80_columns_and_an_option_can_be_copied_off_it(
    name: str, require_system: Callable[[str], str]
) -> None:
    words = [require_system("mandoc"), "-Tutf8", "-Owidth=80", ROOT / name]
    out = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    plain = "".join(char for at, char in enumerate(out) if char != "\b" and out[at + 1 : at + 2] != "\b")
    assert max(map(len, plain.splitlines())) <= 80
    assert "--port" in plain
    assert not {"\u2010", "\u2212"} & set(plain), "a hyphen that no shell understands"

"""Every check and every finding, whatever they are: names, pages, rooms."""

import re
from pathlib import Path

import pytest

from edge_agent.diag.check import ROOMS, all_checks, all_kinds
from edge_agent.diag.finding import Kind
from edge_agent.diag.pages import page_of
from edge_agent.errors import EdgeAgentError

ROOT = Path(__file__).parents[2]
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
kinds = pytest.mark.parametrize("kind", all_kinds().values(), ids=lambda kind: kind.id)


def test_a_check_is_called_as_its_file_and_stands_in_a_room() -> None:
    for check in all_checks():
        path = ROOT / "edge_agent/diag/checks" / check.room / f"{check.id.replace('-', '_')}.py"
        assert path.is_file(), check.id
        assert check.room in ROOMS
        assert (ROOT / "tests/diag/checks" / check.room / f"test_{check.id.replace('-', '_')}.py").is_file(), check.id


def test_ids_are_words_and_unique() -> None:
    ids = [check.id for check in all_checks()]
    assert len(ids) == len(set(ids))
    of_kinds = [kind.id for check in all_checks() for kind in check.kinds]
    assert len(of_kinds) == len(set(of_kinds))
    for name in (*ids, *of_kinds):
        assert SLUG.fullmatch(name), name


@kinds
def test_a_finding_has_its_page_which_says_what_it_says(kind: Kind) -> None:
    page = page_of(kind.id)
    assert page.startswith(f"# {kind.id}: {kind.title}\n\nSeverity: {kind.severity.value}\n")
    for heading in ("## What to do", "## Gone when"):
        assert f"\n{heading}\n" in page
    assert max(map(len, page.splitlines())) <= 124


@kinds
def test_a_finding_is_told_in_words_that_fit(kind: Kind) -> None:
    assert len(kind.title) <= 72
    assert not kind.title.endswith(".")
    assert kind.remedy.endswith(".")
    assert set(kind.hides) <= set(all_kinds()) - {kind.id}
    for command in kind.commands:
        assert len(command) <= 72, command


def test_no_page_is_about_a_finding_that_does_not_exist() -> None:
    pages = {path.stem for path in (ROOT / "docs/findings").glob("*.md")} - {"README"}
    assert pages == set(all_kinds())


def test_a_page_that_is_not_there_is_an_error_and_no_crash() -> None:
    with pytest.raises(EdgeAgentError, match="not installed"):
        page_of("no-such-finding")

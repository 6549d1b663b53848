import json
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from tests.cli.test_report_page import checked, history
from tests.cli.test_watch_view import STATUS
from tests.fakes.control_stub import serving


async def status(_request: dict[str, object]) -> dict[str, object]:
    return STATUS


async def day(_request: dict[str, object]) -> dict[str, object]:
    found: dict[str, object] = history()
    return found


def report(folder: Path, *words: str) -> int:
    with serving(folder / "s", {"status": status, "history": day}):
        return main(["report", "--socket", str(folder / "s"), *words])


def test_it_writes_one_page_and_says_what_to_do_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "-o", str(tmp_path / "day.html")) == 0
    assert "Next: open it in a browser, and print it." in capsys.readouterr().out
    checked((tmp_path / "day.html").read_text(encoding="utf-8"))


def test_it_writes_to_standard_output_and_for_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "-o", "-") == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert report(tmp_path, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"status", "history"}


def test_a_place_that_takes_no_file_and_no_agent_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "-o", str(tmp_path / "none" / "day.html")) == 3
    assert "cannot write" in capsys.readouterr().err
    assert main(["report", "--socket", str(tmp_path / "gone")]) == 3

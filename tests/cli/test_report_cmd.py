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
    assert report(tmp_path, "-o", str(tmp_path / "day.html"), "--no-doctor") == 0
    assert "Next: open it in a browser, and print it." in capsys.readouterr().out
    text = (tmp_path / "day.html").read_text(encoding="utf-8")
    checked(text)
    assert "config-invalid" not in text


def test_it_brings_what_doctor_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "edge-agent.toml"
    broken.write_text("not toml")
    assert report(tmp_path, "-o", "-", "--config", str(broken)) == 0
    text = capsys.readouterr().out
    checked(text)
    assert "config-invalid" in text
    assert report(tmp_path, "--json", "--config", str(broken)) == 0
    assert "config-invalid" in {one["id"] for one in json.loads(capsys.readouterr().out)["findings"]}


def test_it_writes_to_standard_output_and_for_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "-o", "-", "--no-doctor") == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert report(tmp_path, "--json", "--no-doctor") == 0
    assert set(json.loads(capsys.readouterr().out)) == {"status", "history", "findings"}


def test_a_place_that_takes_no_file_and_no_agent_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(tmp_path, "-o", str(tmp_path / "none" / "day.html"), "--no-doctor") == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main(["report", "--socket", str(tmp_path / "gone")]) == 3


def test_yesterdays_page_is_not_written_over_without_being_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yesterday = tmp_path / "day.html"
    yesterday.write_text("yesterday")
    assert report(tmp_path, "-o", str(yesterday), "--no-doctor") == 1
    assert "is there already" in capsys.readouterr().err
    assert yesterday.read_text() == "yesterday"
    assert report(tmp_path, "-o", str(yesterday), "--no-doctor", "--force") == 0
    checked(yesterday.read_text(encoding="utf-8"))


def test_without_a_name_each_page_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert report(tmp_path, "--no-doctor") == 0
    (page,) = tmp_path.glob("edge-agent-report-*.html")
    assert page.stat().st_mode & 0o777 == 0o600

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.main import main
from edge_agent.cli.screen_cmd import CUES
from firmware_bridge.cues import CueName
from tests.fakes.control_stub import serving

UP = {"name": "serial0", "state": "up", "firmware": "LX-7 1.4", "last_cue": "invite"}
MCU = {"name": "serial0", "state": "up", "acknowledges": True, "sent": True, "confirmed": True, "ms": 12.1}
PAGE = {"name": "web1", "state": "up", "acknowledges": False, "sent": True, "confirmed": False, "ms": None}


@contextmanager
def agent(folder: Path, *answers: Mapping[str, Any], busy: int = 0) -> Iterator[list[object]]:
    """An agent with a display and a page; returns which cues it was asked for."""
    asked: list[object] = []
    screens = list(answers) or [MCU, PAGE]

    async def status(_request: dict[str, object]) -> dict[str, object]:
        return {"terminal": "sh-1", "screens": [UP, {**UP, "name": "web1"}]}

    async def test(request: dict[str, object]) -> dict[str, object]:
        asked.append(request["cue"])
        shown = request["cue"] is not None and len(asked) > busy
        return {"cue": request["cue"], "shown": shown, "screens": screens if shown else []}

    with serving(folder / "s", {"status": status, "screen-test": test}):
        yield asked


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks: no cue has to stand for as long as people need."""
    monkeypatch.setattr("edge_agent.cli.screen_cmd.LEAST_S", 0.01)
    monkeypatch.setattr("edge_agent.cli.screen_cmd._AGAIN_EVERY_S", 0.01)


def screen(folder: Path, *words: str) -> int:
    return main(["screen", *words, "--socket", str(folder / "s")])


def test_it_knows_all_cues() -> None:
    assert set(CUES) == set(CueName)
    assert len(CUES) == len(CueName)


def test_each_cue_is_shown_and_the_screens_are_left_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with agent(tmp_path) as asked:
        assert screen(tmp_path, "test", "--seconds", "0.01") == 0
    assert asked == [*CUES, None]
    out = capsys.readouterr().out
    assert "thanks serial0 confirmed in 12.1 ms, web1 was told, and confirms nothing" in " ".join(out.split())
    assert "all 9 cues went through" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"confirmed": False, "ms": None}, "does not answer"),
        ({"confirmed": False, "refused": True}, "refused it"),
        ({"state": "down", "detail": "unplugged\x1b[2J"}, "is down: unplugged"),
    ],
)
def test_a_display_that_does_not_confirm_is_status_1(
    tmp_path: Path,
    wrong: dict[str, object],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_agent.cli.screen_cmd.CUES", ("invite", "thanks"))
    with agent(tmp_path, {**MCU, **wrong}, PAGE):
        assert screen(tmp_path, "test", "--seconds", "0.01") == 1
        out = capsys.readouterr().out
        assert f"serial0 {words}" in out
        assert "\x1b[2J" not in out
        assert "2 cues of 2 did not go through: invite, thanks" in " ".join(out.split())
        assert screen(tmp_path, "test", "--seconds", "0.01", "--screen", "web1") == 0


def test_a_page_that_nobody_has_open_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.cli.screen_cmd.CUES", ("invite", "thanks"))
    with agent(tmp_path, {**PAGE, "sent": False}):
        assert screen(tmp_path, "test", "--seconds", "0.01", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [one["cue"] for one in told["cues"]] == ["invite", "thanks"]


def test_a_tap_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.cli.screen_cmd.CUES", ("invite", "thanks"))
    with agent(tmp_path, busy=1) as asked:
        assert screen(tmp_path, "test", "--seconds", "0.01") == 0
    assert asked[:2] == ["invite", "invite"]


def test_what_a_technician_does_not_see_did_not_go_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nwhat?\nn\n" + "y\n" * 7))
    with agent(tmp_path):
        assert screen(tmp_path, "test", "--confirm", "--json") == 1
        told = json.loads(capsys.readouterr().out)["cues"]
        assert [one["seen"] for one in told] == [True, False, *[True] * 7]
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert screen(tmp_path, "test", "--confirm") == 1


def test_the_screens_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with agent(tmp_path):
        assert screen(tmp_path, "list") == 0
        out = capsys.readouterr().out
        assert out.startswith("2 of 2 screens up\n")
        assert "serial0  up, LX-7 1.4, shows invite" in out
        assert screen(tmp_path, "list", "--json") == 0
        assert [one["name"] for one in json.loads(capsys.readouterr().out)["screens"]] == ["serial0", "web1"]


def test_without_an_agent_it_names_the_bench_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert screen(tmp_path, "test") == 3
    assert "firmware-bridge play --port" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--seconds", "9"], ["--seconds", "x"], ["--screen", "ble7"]])
def test_wrong_usage_is_status_2(tmp_path: Path, words: list[str]) -> None:
    with agent(tmp_path) as asked, pytest.raises(SystemExit) as ended:
        screen(tmp_path, "test", *words)
    assert ended.value.code == 2
    assert asked == []

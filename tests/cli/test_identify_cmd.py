import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.ops.identify import identify_ops
from tests.fakes.control_stub import serving


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[list[str]]:
    texts: list[str] = []
    with serving(tmp_path / "s", identify_ops(texts.append, "sh-000123-a")):
        yield texts


def identify(tmp_path: Path, *words: str) -> int:
    return main(["identify", "--socket", str(tmp_path / "s"), *words])


def test_the_screens_say_which_terminal_this_is(
    tmp_path: Path, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert identify(tmp_path) == 0
    assert shown == ["sh-000123-a"]
    assert capsys.readouterr().out == "sh-000123-a: on the screens for 30 s\n"


def test_the_id_of_a_report_stands_beside_it(
    tmp_path: Path, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert identify(tmp_path, "--report", "k7qf2m4d") == 0
    assert shown == ["sh-000123-a · K7QF-2M4D"]
    assert capsys.readouterr().out == "sh-000123-a and K7QF-2M4D: on the screens for 30 s\n"
    assert identify(tmp_path, "--report", "K7QF-2M4D", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"terminal": "sh-000123-a", "report": "K7QF-2M4D"}


def test_what_is_no_report_id_is_wrong_usage(
    tmp_path: Path, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        identify(tmp_path, "--report", "hello")
    assert caught.value.code == 2
    assert "such as K7QF-2M4D" in capsys.readouterr().err
    assert shown == []


def test_without_an_agent_there_is_nobody_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert identify(tmp_path) == 3
    assert "cannot reach the agent" in capsys.readouterr().err

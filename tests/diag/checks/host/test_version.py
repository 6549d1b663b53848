import os
from pathlib import Path

import pytest

from edge_agent.config.plain import digest
from edge_agent.diag.checks.host.version import CHECK
from edge_agent.diag.finding import CannotLook, Finding
from edge_agent.version import VERSION
from tests.diag.board import Board
from tests.fakes.control_stub import answering

NOW = 1_790_000_000


def told(board: Board, version: str = VERSION, config: str | None = None) -> list[str]:
    """What is said of an agent that has run for 100 s."""
    config = digest(board.site.settings) if config is None else config
    with answering(board.folder / "control.sock", {"version": version, "config": config, "uptime_s": 100.0}):
        return [one.text for one in board.look(CHECK) if isinstance(one, Finding)]


def test_the_installed_agent_with_the_configuration_of_now_is_well(tmp_path: Path) -> None:
    assert told(Board(tmp_path)) == []


def test_an_older_agent_than_the_installed_one_is_found(tmp_path: Path) -> None:
    assert told(Board(tmp_path), version="0.0.1\x1b") == [f"version {VERSION} is installed, 0.0.1\\x1b runs"]


@pytest.mark.parametrize(("age_s", "found"), [(50, True), (5000, False)])
def test_another_configuration_is_found_if_a_file_is_younger_than_the_agent(
    tmp_path: Path, age_s: int, found: bool
) -> None:
    """Else it is the service's own environment that differs from ours."""
    board = Board(tmp_path)
    os.utime(board.config, (NOW - age_s, NOW - age_s))
    expected = [f"{board.config} was changed after the agent had read it"] if found else []
    assert told(board, config="0123456789ab") == expected


def test_an_agent_of_before_this_field_is_not_accused(tmp_path: Path) -> None:
    assert told(Board(tmp_path), config="") == []


def test_without_an_agent_it_cannot_look(tmp_path: Path) -> None:
    with pytest.raises(CannotLook) as lost:
        Board(tmp_path).look(CHECK)
    assert lost.value.because == "agent-down"

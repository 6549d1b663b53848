import shutil
from pathlib import Path

import pytest

from edge_agent.diag.checks.host.power import THROTTLED
from edge_agent.diag.checks.host.temperature import CHECK
from edge_agent.diag.finding import NotHere, Seen
from tests.diag.board import Board

ZONE = "/sys/class/thermal/thermal_zone0/temp"


@pytest.mark.parametrize(("told", "kinds"), [("79999", []), ("80000", ["host-hot"]), ("-5000", [])])
def test_it_is_hot_from_80_degrees_on(tmp_path: Path, told: str, kinds: list[str]) -> None:
    board = Board(tmp_path)
    board.put(ZONE, told)
    assert board.kinds(CHECK) == kinds


def test_the_hottest_zone_counts_and_an_absurd_one_does_not(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/sys/class/thermal/thermal_zone1/temp", "-273000")
    board.put("/sys/class/thermal/thermal_zone2/temp", "61000")
    assert board.look(CHECK) == [Seen("61 °C")]


@pytest.mark.parametrize(("word", "kinds"), [("8", ["host-hot"]), ("5", []), ("80000", [])])
def test_a_board_that_has_slowed_itself_down_for_heat_is_hot(tmp_path: Path, word: str, kinds: list[str]) -> None:
    board = Board(tmp_path)
    board.put(THROTTLED, word)
    assert board.kinds(CHECK) == kinds


def test_without_a_sensor_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    board = Board(tmp_path)
    shutil.rmtree(board.root / "sys")
    with pytest.raises(NotHere):
        board.look(CHECK)

import shutil
from pathlib import Path

import pytest

from edge_agent.diag.checks.host.power import CHECK, THROTTLED
from edge_agent.diag.finding import NotHere
from tests.diag.board import Board

ALARM = "/sys/class/hwmon/hwmon1/in0_lcrit_alarm"


@pytest.mark.parametrize(
    ("word", "kinds"),
    [
        ("0", []),
        ("50005", ["power-low"]),
        ("50000", ["power-was-low"]),
        ("80008", []),  # it was hot, not hungry
        ("nonsense", []),
    ],
)
def test_the_word_of_the_firmware_is_read(tmp_path: Path, word: str, kinds: list[str]) -> None:
    board = Board(tmp_path)
    board.put(THROTTLED, f"{word}\n")
    assert board.kinds(CHECK) == kinds


def test_the_alarm_of_the_voltage_driver_is_enough(tmp_path: Path) -> None:
    board = Board(tmp_path)
    (board.root / THROTTLED.lstrip("/")).unlink()
    assert board.kinds(CHECK) == []
    board.put(ALARM, "1\n")
    assert board.kinds(CHECK) == ["power-low"]


def test_a_board_that_does_not_measure_it_has_nothing_to_look_at(tmp_path: Path) -> None:
    board = Board(tmp_path)
    shutil.rmtree(board.root / "sys")
    with pytest.raises(NotHere):
        board.look(CHECK)

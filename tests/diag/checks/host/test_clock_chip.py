from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.diag.checks.host.clock_chip import CHECK
from edge_agent.diag.finding import NotHere
from edge_agent.models import ClockTrust
from tests.diag.board import Board

NOW = 1_790_000_000
CHIP = "/sys/class/rtc/rtc0/since_epoch"


@pytest.mark.parametrize(
    ("told", "kinds"), [(NOW, []), (NOW - 100, []), (NOW - 86_400, ["clock-chip-off"]), (0, ["clock-chip-off"])]
)
def test_a_chip_that_is_minutes_off_is_found(tmp_path: Path, told: int, kinds: list[str]) -> None:
    board = Board(tmp_path, FakeClock(unix=NOW))
    board.put(CHIP, f"{told}\n")
    assert board.kinds(CHECK) == kinds


def test_without_a_chip_or_a_trusted_time_there_is_nothing_to_compare(tmp_path: Path) -> None:
    board = Board(tmp_path, FakeClock(unix=NOW, trust=ClockTrust.HOLDOVER))
    board.put(CHIP, "0\n")
    with pytest.raises(NotHere, match="no trusted time"):
        board.look(CHECK)
    (board.root / CHIP.lstrip("/")).unlink()
    with pytest.raises(NotHere, match="no clock chip"):
        board.look(CHECK)

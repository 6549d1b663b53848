from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.checks.host.wear import CHECK, judge
from edge_agent.diag.finding import Finding, NotHere, Seen
from tests.diag.board import Board
from tests.diag.faults.healthy_root import MMC


@pytest.mark.parametrize(
    ("life", "reserve", "kind", "text"),
    [
        ("0x01 0x01", "0x01", "", "0 to 10 % used, reserve normal"),
        ("0x02 0x09", "0x01", "", "80 to 90 % used, reserve normal"),
        ("0x02 0x0a", "0x01", "disk-worn", "90 to 100 % used, reserve normal"),
        ("0x01 0x01", "0x02", "disk-worn", "0 to 10 % used, reserve 80 % used"),
        ("0x0B 0x01", "0x01", "disk-worn-out", "beyond its life, reserve normal"),
        ("0x01 0x01", "0x03", "disk-worn-out", "0 to 10 % used, reserve 90 % used"),
        ("0x00 0x00", "0x00", "", "not told, reserve not told"),
    ],
)
def test_the_registers_of_the_chip_are_read_as_its_standard_says(life: str, reserve: str, kind: str, text: str) -> None:
    told = judge("mmcblk0", life, reserve)
    assert told.text == text
    assert (told.kind.id if isinstance(told, Finding) else "") == kind


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_chip_says_is_judged(life: str, reserve: str) -> None:
    judge("mmcblk0", life, reserve)


def test_what_is_written_a_day_is_told(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/sys/block/mmcblk0/stat", "1000 0 8000 500 2000 0 4000000 900 0 1000 1400 0 0 0 0 0 0\n")
    assert board.look(CHECK) == [Seen("0 to 10 % used, reserve normal, 2.0 GB written a day", "mmcblk0")]


def test_a_card_that_does_not_tell_is_nothing_to_look_at(tmp_path: Path) -> None:
    board = Board(tmp_path)
    (board.root / MMC.lstrip("/") / "life_time").unlink()
    with pytest.raises(NotHere):
        board.look(CHECK)

from pathlib import Path

import pytest

from edge_agent.diag.checks.host.state import CHECK
from edge_agent.diag.finding import Finding
from tests.diag.board import Board
from tests.diag.faults.healthy_root import service


def test_a_folder_of_ours_is_well(tmp_path: Path) -> None:
    board = Board(tmp_path)
    assert board.kinds(CHECK) == []
    (board.state / "outbox.db").write_text("")
    assert board.kinds(CHECK) == []


def test_no_folder_and_a_file_in_its_place_are_found(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.state.rmdir()
    assert board.kinds(CHECK) == ["state-missing"]
    board.state.write_text("")
    (found,) = board.look(CHECK)
    assert found.text == f"{board.state} is not a folder"


@pytest.mark.usefixtures("as_root")  # root alone can leave files that another user cannot write
def test_what_a_command_of_root_left_behind_is_found_with_the_command_that_gives_it_back(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(service(User="nobody"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.kind.id == "state-not-writable"
    assert found.commands == (f"sudo chown -R nobody: {board.state}",)

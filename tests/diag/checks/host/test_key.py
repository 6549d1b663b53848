import os
from pathlib import Path

import pytest

from edge_agent.diag.checks.host.key import CHECK
from edge_agent.diag.finding import Finding, NotHere
from edge_agent.tokens.keyring import create_key_file
from tests.diag.board import Board
from tests.diag.faults.healthy_root import service


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = Board(tmp_path)
    create_key_file(made.state / "tap.key")
    return made


def test_a_key_of_mode_0600_is_well(board: Board) -> None:
    assert board.kinds(CHECK) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_one_that_others_may_read_is_found_and_can_be_closed(board: Board, mode: int) -> None:
    key = board.state / "tap.key"
    key.chmod(mode)
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert found.kind.id == "key-permissions"
    assert f"{mode:04o}" in found.text
    assert found.fix is not None
    found.fix.run()
    assert key.stat().st_mode & 0o777 == 0o600
    assert board.kinds(CHECK) == []


@pytest.mark.usefixtures("as_root")  # only root may give files away
def test_one_of_somebody_else_or_behind_a_closed_folder_is_found(board: Board) -> None:
    board.systemctl(service(User="nobody"))
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert "nobody may not read" in found.text
    os.chown(board.state / "tap.key", 4711, 4711)
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert "0600 4711:4711, not nobody's" in found.text
    assert found.commands == (f"sudo chown nobody: {board.state}/tap.key",)


def test_no_key_and_a_credential_are_nothing_to_look_at(board: Board) -> None:
    (board.state / "tap.key").unlink()
    with pytest.raises(NotHere, match="there is none"):
        board.look(CHECK)
    text = board.config.read_text()
    board.config.write_text(text.replace(f"{board.state}/tap.key", "credential:tap-key"))
    with pytest.raises(NotHere, match="systemd guards it"):
        board.look(CHECK)

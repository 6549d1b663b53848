from pathlib import Path

import pytest

from edge_agent.diag.checks.host.files import CHECK
from edge_agent.diag.finding import Finding, Seen
from tests.diag.board import Board
from tests.diag.faults.healthy_root import service


@pytest.fixture
def board(tmp_path: Path) -> Board:
    made = Board(tmp_path)
    text = made.config.read_text()
    made.config.write_text(text.replace("[uplink]\n", f'[uplink]\ntls = true\nca = "{tmp_path}/ca.pem"\n'))
    (tmp_path / "ca.pem").write_text("x")
    return made


def test_what_is_there_and_readable_is_well(board: Board) -> None:
    (seen,) = board.look(CHECK)
    assert isinstance(seen, Seen)
    assert seen.text.startswith("2 files, readable for ")


def test_a_file_that_is_missing_or_none_is_found_by_its_name(board: Board, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").unlink()
    (found,) = board.look(CHECK)
    assert isinstance(found, Finding)
    assert (found.subject, found.text) == (f"{tmp_path}/ca.pem", f"there is no {tmp_path}/ca.pem")
    (tmp_path / "ca.pem").symlink_to(tmp_path / "ca.pem" / "below")
    with pytest.raises(OSError, match="symbolic links"):
        board.look(CHECK)
    (tmp_path / "ca.pem").unlink()
    (tmp_path / "ca.pem").mkdir()
    (found,) = board.look(CHECK)
    assert found.text == f"{tmp_path}/ca.pem is not a file"


@pytest.mark.usefixtures("as_root")  # root alone can make files that are not for another user
def test_what_the_agents_user_may_not_read_is_found_with_what_keeps_him_out(board: Board, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    board.systemctl(service(User="nobody"))
    closed = [one.text for one in board.look(CHECK)]
    assert len(closed) == 2
    assert all("nobody may not read" in text for text in closed)


def test_a_drop_in_is_looked_at(board: Board) -> None:
    folder = board.config.with_name("edge-agent.toml.d")
    folder.mkdir()
    (folder / "10-fleet.toml").write_text("")
    (seen,) = board.look(CHECK)
    assert seen.text.startswith("3 files")

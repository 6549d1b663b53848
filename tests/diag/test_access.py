import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.access import ENTER, READ, WRITE, Account, agent_account, mode_of
from edge_agent.diag.finding import CannotLook
from tests.diag.board import Board, recording
from tests.diag.faults.healthy_root import service

ANN = Account("ann", 1000, frozenset({1000, 20}))


def made(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "may"),
    [
        (0o600, 1000, 0, True),
        (0o600, 1001, 0, False),
        (0o660, 1001, 20, True),
        (0o606, 1001, 20, False),  # the group's bits count, although others may
        (0o066, 1000, 20, False),  # the owner's bits count, although the group may
        (0o666, 1001, 0, True),
    ],
)
def test_one_of_three_sets_of_bits_counts(mode: int, uid: int, gid: int, may: bool) -> None:
    assert ANN.may(READ | WRITE, made(mode, uid, gid)) is may


@given(st.integers(0, 0o777), st.integers(0, 3), st.integers(0, 3), st.sampled_from([READ, WRITE, ENTER, 7]))
def test_root_may_everything_and_less_is_never_more(mode: int, uid: int, gid: int, wanted: int) -> None:
    assert Account("root", 0, frozenset()).may(wanted, made(mode, uid, gid))
    user = Account("x", 1, frozenset({1}))
    if user.may(7, made(mode, uid, gid)):
        assert user.may(wanted, made(mode, uid, gid))


def test_a_closed_folder_above_keeps_out(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    (inner / "file").write_text("")
    (inner / "file").chmod(0o644)
    for folder in (inner, inner.parent):
        folder.chmod(0o755)
    other = Account("x", os.geteuid() + 1, frozenset())
    above = [folder for folder in tmp_path.parents if not other.may(ENTER, folder.stat())]
    if not above and other.may(ENTER, tmp_path.stat()):
        assert other.keeps_out(inner / "file", READ) is None
    inner.parent.chmod(0o700)
    barrier = other.keeps_out(inner / "file", READ)
    assert barrier is not None
    assert (inner / "file").is_relative_to(barrier)


def test_the_agents_user_is_the_one_of_its_service_with_its_groups(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-running"))
    account = agent_account(board.site)
    assert account.name == "nobody"
    assert len(account.gids) == 2  # its own, and dialout as a supplementary one
    board.systemctl(service(User=""))
    assert agent_account(board.site).uid == 0


def test_without_a_service_it_is_whoever_asks(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-missing"))
    assert agent_account(board.site).uid == os.geteuid()


def test_a_user_that_does_not_exist_cannot_be_asked_for(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.systemctl(recording("systemctl-nouser"))
    with pytest.raises(CannotLook, match="'nosuch'"):
        agent_account(board.site)


def test_a_mode_is_told_with_its_owner() -> None:
    assert mode_of(made(0o640, 0, 4711)) == "0640 root:4711"

from pathlib import Path

import pytest

from edge_agent.diag.checks.host.disk import CHECK, space
from edge_agent.diag.finding import Seen
from tests.diag.board import Board, found
from tests.fakes.small_disks import read_only, tmpfs

ROOT = "23 1 179:2 / / {options} shared:1 - {kind} /dev/mmcblk0p2 {options}\n"


def test_a_disk_with_room_is_well(tmp_path: Path) -> None:
    (seen,) = Board(tmp_path).look(CHECK)
    assert isinstance(seen, Seen)
    assert f"MiB are free at {tmp_path}/state, 1 MiB have to stay free" in seen.text


@pytest.mark.parametrize(("free", "kinds"), [(0, ["disk-full"]), (64, ["disk-full"]), (65, ["disk-low"]), (128, [])])
def test_space_is_judged_against_what_the_configuration_leaves_to_others(free: int, kinds: list[str]) -> None:
    assert found(space(Path("/x"), free, 64)) == kinds


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        (ROOT.format(options="ro,noatime", kind="ext4"), ["disk-read-only"]),
        (ROOT.format(options="rw", kind="tmpfs"), ["disk-volatile"]),
        (ROOT.format(options="rw", kind="overlay"), ["disk-volatile"]),
        (ROOT.format(options="rw", kind="btrfs"), []),
        ("nonsense\n\n1 2 3\n", []),
    ],
)
def test_how_it_is_mounted_is_told(tmp_path: Path, line: str, kinds: list[str]) -> None:
    board = Board(tmp_path)
    board.put("/proc/self/mountinfo", line)
    assert board.kinds(CHECK) == kinds


def test_errors_that_the_kernel_counted_are_found(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/sys/fs/ext4/mmcblk0p2/errors_count", "3\n")
    assert board.kinds(CHECK) == ["disk-errors"]


def test_a_folder_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.state.rmdir()
    assert board.kinds(CHECK) == []


def test_a_real_disk_that_is_full_out_of_inodes_or_read_only(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.state.rmdir()
    with tmpfs(board.state, "1m,nr_inodes=20"):
        assert board.kinds(CHECK) == ["disk-full", "disk-inodes"]
        read_only(board.state, on=True)
        assert "disk-read-only" in board.kinds(CHECK)

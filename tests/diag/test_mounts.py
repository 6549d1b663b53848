from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.diag.finding import CannotLook
from edge_agent.diag.mounts import _parse, mount_of
from tests.diag.board import Board

TABLE = """\
23 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root ro
30 23 179:3 / /var/lib rw,noatime shared:2 - ext4 /dev/mmcblk0p3 rw,errors=remount-ro
33 23 179:4 / /data rw,relatime - ext4 /dev/mmcblk0p4 rw,errors=remount-ro,emergency_ro
31 23 0:20 / /mnt/with\\040blank rw - tmpfs tmpfs rw,size=1m
32 23 0:21 / /mnt/with\\040blank rw - ext4 /dev/sda1 ro
"""


@pytest.mark.parametrize(
    ("path", "source", "kind", "read_only"),
    [
        ("/etc/x", "/dev/root", "ext4", True),
        ("/var/lib/edge-agent/outbox.db", "/dev/mmcblk0p3", "ext4", False),
        ("/var/library", "/dev/root", "ext4", True),
        ("/data/x", "/dev/mmcblk0p4", "ext4", True),  # as Linux 6.18 told it after an error
        ("/mnt/with blank/x", "/dev/sda1", "ext4", True),  # the later mount hides the first, and its disk is read-only
    ],
)
def test_the_nearest_mount_counts(tmp_path: Path, path: str, source: str, kind: str, read_only: bool) -> None:
    board = Board(tmp_path)
    board.put("/proc/self/mountinfo", TABLE)
    mount = mount_of(board.site, Path(path))
    assert (mount.source, mount.kind, mount.read_only) == (source, kind, read_only)


def test_without_proc_nobody_knows(tmp_path: Path) -> None:
    board = Board(tmp_path)
    board.put("/proc/self/mountinfo", "")
    with pytest.raises(CannotLook):
        mount_of(board.site, Path("/"))


@given(st.text())
def test_any_line_is_read(line: str) -> None:
    _parse(line)

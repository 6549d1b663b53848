"""A link to a pty takes the place of older ones, and of nothing else."""

import os
from pathlib import Path

import pytest

from firmware_bridge.pty_link import put_link, take_link


def test_a_link_that_a_killed_process_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "screen"
    put_link(path, "/dev/pts/4711")
    put_link(path, "/dev/pts/4712")
    assert path.readlink() == Path("/dev/pts/4712")


@pytest.mark.parametrize("leads_to", ["precious", "/dev/ttyUSB0", "nowhere"])
def test_any_other_link_stays(leads_to: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path = tmp_path / "screen"
    path.symlink_to(leads_to)
    with pytest.raises(FileExistsError):
        put_link(path, "/dev/pts/4711")
    assert path.readlink() == Path(leads_to)


def test_a_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "screen"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        put_link(path, "/dev/pts/4711")
    take_link(path, "/dev/pts/4711")
    assert path.read_text() == "precious"


def test_who_ends_leaves_the_link_of_who_came_after(tmp_path: Path) -> None:
    path = tmp_path / "screen"
    put_link(path, "/dev/pts/4711")
    put_link(path, "/dev/pts/4712")
    take_link(path, "/dev/pts/4711")
    assert path.readlink() == Path("/dev/pts/4712")
    take_link(path, "/dev/pts/4712")
    assert not os.path.lexists(path)
    take_link(path, "/dev/pts/4712")

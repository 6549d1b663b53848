import os
from pathlib import Path

import pytest

from edge_agent.small_file import NotAFile, read_small


def test_a_file_is_read_up_to_its_limit_and_one_byte_more(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    path.chmod(0o640)
    assert read_small(path, 100) == (b"x" * 100, 0o640)
    assert read_small(path, 10) == (b"x" * 11, 0o640)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, says in ((tmp_path, "directory"), (tmp_path / "fifo", "no regular file"), (Path("/dev/null"), "regular")):
        with pytest.raises(NotAFile) as caught:
            read_small(path, 10)
        assert says in (caught.value.strerror or "")
    with pytest.raises(OSError, match="not valid"):
        read_small(Path("a\0b"), 10)


def test_a_link_is_followed_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("f")
    assert read_small(tmp_path / "link", 10)[0] == b"x"
    with pytest.raises(NotAFile) as caught:
        read_small(tmp_path / "link", 10, follow=False)
    assert caught.value.strerror == "is a symbolic link"
    assert read_small(tmp_path / "f", 10, follow=False)[0] == b"x"

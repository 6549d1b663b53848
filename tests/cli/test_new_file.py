import errno
import os
from pathlib import Path

import pytest

from edge_agent.cli.new_file import NotWritten, appearing, give_to_who_asked


def test_it_appears_whole_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "report"
    with appearing(file, force=False) as out:
        out.write(b"whole")
        assert file.read_bytes() == b""
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"whole", 0o600)


def half(file: Path, *, force: bool) -> None:
    with appearing(file, force=force) as out:
        out.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("force", [False, True])
def test_a_full_medium_leaves_nothing_and_says_so(tmp_path: Path, force: bool) -> None:
    file = tmp_path / "report"
    if force:
        file.write_bytes(b"before")
    with pytest.raises(NotWritten, match="No space left") as caught:
        half(file, force=force)
    assert caught.value.remedy.startswith("make room")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == ([("report", b"before")] * force)


def test_what_is_there_stays_without_force(tmp_path: Path) -> None:
    (tmp_path / "report").write_bytes(b"before")
    with pytest.raises(NotWritten, match="is there already"), appearing(tmp_path / "report", force=False):
        pytest.fail("nothing may be gathered for a file that cannot be")
    assert (tmp_path / "report").read_bytes() == b"before"


def test_a_stick_that_knows_no_owners_takes_a_file_under_sudo_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fat(*_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1000")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", fat)
    with appearing(tmp_path / "report", force=False) as out:
        give_to_who_asked(out)
        out.write(b"whole")
    assert (tmp_path / "report").read_bytes() == b"whole"

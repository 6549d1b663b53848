import os
import stat
from pathlib import Path

import pytest

from edge_agent.durable import sync_directory


def test_it_is_the_folder_itself_that_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[os.stat_result] = []
    real = os.fsync

    def seen(descriptor: int) -> None:
        synced.append(os.fstat(descriptor))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, not paths
    sync_directory(tmp_path)
    assert [(stat.S_ISDIR(it.st_mode), it.st_ino) for it in synced] == [(True, tmp_path.stat().st_ino)]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(file)

"""File systems of a test's own, for root: a tmpfs that is soon full, an ext4 that turns read-only like a worn card."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import skip_or_fail


def _run(*command: str | Path) -> bool:
    return subprocess.run([str(part) for part in command], capture_output=True, check=False).returncode == 0


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of this size at ``folder``."""
    folder.mkdir()
    if os.geteuid() != 0 or not _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder):
        skip_or_fail("needs the right to mount a tmpfs: run it as root")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", folder)


def read_only(folder: Path, *, on: bool) -> None:
    """Turn a file system of the test's own read-only, or writable again."""
    assert _run("mount", "-o", f"remount,{'ro' if on else 'rw'}", folder)


class WornDisk:
    """An ext4 in a file; ``wear_out`` is an error of the medium: the kernel makes it read-only under open files."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def mount(self) -> bool:
        """Mount it, after the check that a boot makes."""
        _run("fsck.ext4", "-p", self._image)
        return _run("mount", "-o", "loop,errors=remount-ro", self._image, self.folder)

    def unmount(self) -> None:
        """Let it go, whoever has it open; the next mount is of a copy.

        A mount namespace that any program of this machine made meanwhile keeps the file system: mounted once more, the
        same image would be as worn as before.
        """
        self.release()
        copy = self._image.with_name(f"again-{self._image.name}")
        shutil.copyfile(self._image, copy)
        self._image = copy

    def release(self) -> None:
        """Let it go for good."""
        _run("umount", "--lazy", self.folder)

    @property
    def _switch(self) -> Path:
        shown = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(self.folder)], capture_output=True, text=True, check=True
        )
        return Path("/sys/fs/ext4") / Path(shown.stdout.strip()).name / "trigger_fs_error"

    def wear_out(self) -> None:
        """From now on every write fails with EROFS."""
        self._switch.write_text("1", encoding="ascii")

    def can_wear_out(self) -> bool:
        """Whether this kernel lets a test do that."""
        return os.access(self._switch, os.W_OK)


@contextmanager
def worn_disk(folder: Path) -> Iterator[WornDisk]:
    """A new one of 16 MB, mounted at ``folder``."""
    folder.mkdir()
    disk = WornDisk(folder.with_suffix(".img"), folder)
    with disk._image.open("wb") as image:
        image.truncate(16 * 1024 * 1024)
    if os.geteuid() != 0 or not _run("mkfs.ext4", "-q", "-F", disk._image) or not disk.mount():
        skip_or_fail("needs mkfs.ext4 and the right to mount a loop device: run it as root")
    try:
        if not disk.can_wear_out():
            skip_or_fail("needs /sys/fs/ext4/*/trigger_fs_error, writable")
        yield disk
    finally:
        disk.release()

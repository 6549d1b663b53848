"""Write files so that a power cut leaves the old one or the new one, and act as the user whose files they are."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.durable import sync_directory
from edge_agent.enrolment.checks import EnrolConfigError

PRIVATE, PUBLIC = 0o600, 0o644


def put_file(path: Path, content: bytes, mode: int) -> None:
    """Put ``content`` in place of ``path`` at once, durable when this returns; raises OSError.

    What a cut leaves behind is one hidden file of a fixed name, which the next call takes.
    """
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode)
    try:
        os.fchmod(descriptor, mode)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)  # noqa: PTH104 - beside the other calls of os, for the tests of power cuts
    sync_directory(path.parent)


def make_folder(folder: Path, mode: int) -> None:
    """Make missing folders one by one, of this mode whatever root's umask is, each entry durable; raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    masked = os.umask(0)
    try:
        os.mkdir(folder, mode)  # noqa: PTH102 - as above
    finally:
        os.umask(masked)
    sync_directory(folder.parent)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for one enrolment at a time; the kernel lets go with the process. Raises EnrolConfigError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EnrolConfigError(
                f"another enrolment works in {folder}",
                remedy="wait until it has ended, and see `edge-agent enrol status`",
            ) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def acting_as_owner_of(path: Path) -> Iterator[None]:
    """As root: become the owner of the nearest folder above ``path`` that exists, for the time of the block.

    So that what `sudo` makes among the agent's files is the agent's, and private to it. No thread may run meanwhile.
    """
    found = _owner(path)
    if os.geteuid() != 0 or found[0] == 0:
        yield
        return
    os.setegid(found[1])
    try:
        os.seteuid(found[0])
        try:
            yield
        finally:
            os.seteuid(0)
    finally:
        os.setegid(os.getgid())


def _owner(path: Path) -> tuple[int, int]:
    while True:
        try:
            status = path.stat()
        except OSError:
            path = path.parent
            continue
        return status.st_uid, status.st_gid

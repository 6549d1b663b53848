"""Read one small file whole, whatever stands at its name."""

import errno
import os
import stat
from pathlib import Path


class NotAFile(OSError):
    """A directory, FIFO, device, socket or link stands where a file is expected; ``strerror`` says which."""


def read_small(path: Path, limit: int, *, follow: bool = True) -> tuple[bytes, int]:
    """Return up to ``limit`` + 1 bytes and the permission bits (st_mode & 07777). Raises OSError, also for a bad name.

    Never waits: a FIFO without a writer is refused like any other special file. Without ``follow`` a symbolic link is.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise NotAFile(errno.ELOOP, "is a symbolic link") from error
        raise
    except ValueError as error:  # a NUL in the name
        raise OSError(0, "the name is not valid") from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise NotAFile(0, "is a directory" if stat.S_ISDIR(mode) else "is no regular file")
        data = b""
        while len(data) <= limit and (piece := os.read(fd, limit + 1 - len(data))):
            data += piece
        return data, stat.S_IMODE(mode)
    finally:
        os.close(fd)

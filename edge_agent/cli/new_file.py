"""A file that a command makes for a person to carry away: it appears whole or not at all, for its owner's eyes only."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge_agent.durable import sync_directory
from edge_agent.errors import EdgeAgentError

_REMEDIES = {
    errno.ENOENT: "that folder does not exist: is the stick mounted?",
    errno.ENOTDIR: "that folder does not exist: is the stick mounted?",
    errno.EACCES: "take a folder that you may write to, or run it with sudo",
    errno.EROFS: "the medium is read-only: unlock it, or take another one",
    errno.ENOSPC: "make room on it, or take another one",
    errno.EFBIG: "its file system takes no file of that size: format it with another one",
}


class NotWritten(EdgeAgentError):
    """The file cannot be written."""

    code = "export"


@contextmanager
def appearing(file: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A new file that takes its name when it is complete and on the medium; on an error nothing is left of it.

    ``force``: in the place of one that is there. Raises NotWritten.
    """
    part = file.with_name(f".{file.name}.{os.urandom(4).hex()}.part")
    reserved = False
    try:
        if not force:
            # The name is taken at once: nobody else can take it while the file is written.
            os.close(_new(file))
            reserved = True
        with os.fdopen(_new(part), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
        reserved = False
        sync_directory(file.parent)
    except FileExistsError:
        raise NotWritten(f"{file} is there already", remedy="take another name, or replace it with --force") from None
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "is the medium all right? take another one")
        raise NotWritten(f"{file} cannot be written: {error.strerror}", remedy=remedy) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if reserved:
            with suppress(OSError):
                file.unlink()


def give_to_who_asked(out: BinaryIO) -> None:
    """Under sudo the file belongs to who called it: it is they who carry it away, and its mode lets nobody else.

    A stick with FAT knows no owners and refuses; there everybody may read it as it is.
    """
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and user.isdecimal() and group.isdecimal():
        with suppress(PermissionError):
            os.fchown(out.fileno(), int(user), int(group))


def _new(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)

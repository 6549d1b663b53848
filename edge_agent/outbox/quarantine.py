"""Sets a damaged outbox aside under a name of its own, and lists what was set aside. It never deletes a thing unasked.

``outbox.db`` becomes ``outbox.db.broken-<UTC>``, its WAL ``outbox.db.broken-<UTC>-wal``. The database goes first: a
power cut then leaves a WAL without a database, which cannot be mistaken for a sound outbox; a database without its
WAL could be, and would use its newest numbers twice.
"""

import errno
import time
from pathlib import Path

import structlog

from edge_agent.durable import sync_directory
from edge_agent.errors import OutboxError, OutboxFault

log = structlog.get_logger(__name__)

_BROKEN = ".broken-"
PARTS = ("", "-wal", "-journal")
"""What belongs to one database, by the end of the file's name; in the order in which they are set aside and read."""


def set_aside(path: Path) -> Path:
    """Rename the database and what belongs to it, durably; raises OutboxError. Only for whoever holds the file alone.

    Returns its new name. What is open stays usable under the new name.
    """
    target = _free_name(path)
    try:
        for part in PARTS:
            source = _part(path, part)
            if source.exists():
                source.rename(_part(target, part))
                sync_directory(path.parent)
    except OSError as error:
        read_only = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        raise OutboxError(
            f"{path} is damaged and cannot be set aside: {error.strerror}",
            remedy=f"look into the kernel log, or rename it yourself to {target.name} with its -wal",
            fault=OutboxFault.READ_ONLY if read_only else OutboxFault.FAILING,
        ) from error
    log.error("outbox_set_aside", path=str(path), file=target.name)
    return target


def broken_files(path: Path) -> list[Path]:
    """Every damaged database that was set aside, oldest first; of some only the WAL may be left."""
    begin = path.name + _BROKEN
    names = set()
    try:
        for found in path.parent.iterdir():
            if found.name.startswith(begin):
                names.add(found.name.removesuffix(PARTS[1]).removesuffix(PARTS[2]))
    except OSError as error:
        log.warning("outbox_folder_unreadable", path=str(path.parent), error=str(error))
    return [path.with_name(name) for name in sorted(names)]


def parts(broken: Path) -> list[Path]:
    """The files of one damaged database that are there, the database first."""
    return [file for part in PARTS if (file := _part(broken, part)).is_file()]


def size(broken: Path) -> int:
    """Bytes of one damaged database with all that belongs to it."""
    return sum(file.stat().st_size for file in parts(broken))


def remove(broken: Path) -> None:
    """Delete one damaged database with all that belongs to it."""
    try:
        for file in parts(broken):
            file.unlink()
    except OSError as error:
        log.warning("outbox_broken_file_stays", file=broken.name, error=str(error))
    else:
        log.info("outbox_broken_file_removed", file=broken.name, why="its rows are in the outbox, newer ones are kept")


def _part(path: Path, part: str) -> Path:
    return path.with_name(path.name + part)


def _free_name(path: Path) -> Path:
    name = path.name + _BROKEN + time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    taken, number = {found.name for found in broken_files(path)}, 1
    while (name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return path.with_name(name if number == 1 else f"{name}-{number}")

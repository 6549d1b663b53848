"""The disk of the outbox: space, inodes, writable, without errors, and none that forgets at a power cut."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.check import Check
from edge_agent.diag.figures import whole
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.diag.mounts import VOLATILE, Mount, mount_of
from edge_agent.diag.site import Site

MIB = 1024 * 1024
LOW_FACTOR = 2
"""Below so many times [outbox] min_free_mb it will not be long."""
FEW_INODES = 100

# What the agent and its outbox say of such a disk.
_OF_THE_OUTBOX = ("outbox-full", "outbox-nearly-full", "outbox-read-only", "outbox-failing", "outbox-unusable")

FULL = Kind(
    "disk-full",
    Severity.ERROR,
    "The disk of the outbox is full",
    "New taps only take the place of delivered ones, and are refused if there is none. Make room; the outbox itself is "
    "bounded, so look for what else grows.",
    ("df -h", "sudo du -xh --max-depth=2 /var | sort -h | tail", "sudo journalctl --vacuum-size=64M"),
    hides=("disk-low", *_OF_THE_OUTBOX),
)
LOW = Kind(
    "disk-low",
    Severity.WARNING,
    "The disk of the outbox is nearly full",
    "Make room before taps are refused; the outbox itself is bounded, so look for what else grows.",
    ("df -h", "sudo du -xh --max-depth=2 /var | sort -h | tail", "sudo journalctl --vacuum-size=64M"),
)
INODES = Kind(
    "disk-inodes",
    Severity.ERROR,
    "The disk of the outbox takes no more files",
    "It has room, but no inodes: find the folder with very many small files, and empty it.",
    ("df -i", "sudo du -x --inodes --max-depth=2 /var | sort -n | tail"),
    hides=_OF_THE_OUTBOX,
)
READ_ONLY = Kind(
    "disk-read-only",
    Severity.ERROR,
    "The disk of the outbox is read-only",
    "If nobody made it so on purpose, the kernel did after an error: the disk or its file system is damaged. Read the "
    "kernel's messages, then replace the card.",
    ("sudo dmesg | grep -iE 'error|remount|mmc' | tail -n 20", "findmnt -T /var/lib/edge-agent"),
    hides=("disk-errors", "disk-full", "disk-low", "disk-inodes", *_OF_THE_OUTBOX),
)
ERRORS = Kind(
    "disk-errors",
    Severity.WARNING,
    "The file system of the outbox has had errors",
    "Restart the board, so that it is checked; if the errors come back, replace the card.",
    ("sudo dmesg | grep -iE 'ext4|mmc' | tail -n 20",),
)
VOLATILE_DISK = Kind(
    "disk-volatile",
    Severity.ERROR,
    "The outbox is on a disk that forgets",
    "At a power cut all undelivered taps are gone. Put [outbox] path on a disk that is kept, see docs/terminal.md "
    "about a read-only root.",
    ("findmnt -T /var/lib/edge-agent", "edge-agent config explain outbox.path"),
)
KINDS = (FULL, LOW, INODES, READ_ONLY, ERRORS, VOLATILE_DISK)


def look(site: Site) -> Iterator[Finding | Seen]:
    """Ask the file system of the nearest folder that is there."""
    wanted = site.settings.outbox
    folder = next(there for there in wanted.path.parents if there.is_dir())
    mount = _mount(site, folder)
    if mount is not None:
        yield from _of_mount(site, mount)
    found = os.statvfs(folder)
    if found.f_flag & os.ST_RDONLY and (mount is None or not mount.read_only):
        yield Finding(READ_ONLY, f"{folder} is mounted read-only")
    yield from space(folder, found.f_bavail * found.f_frsize // MIB, wanted.min_free_mb)
    if found.f_files and found.f_favail < FEW_INODES:
        yield Finding(INODES, f"{found.f_favail} of {found.f_files:,} inodes are free at {folder}")


def space(folder: Path, free_mb: int, min_free_mb: int) -> Iterator[Finding | Seen]:
    """Judge the free space, in MiB."""
    text = f"{free_mb:,} MiB are free at {folder}, {min_free_mb:,} MiB have to stay free"
    if free_mb <= min_free_mb:
        yield Finding(FULL, text)
    elif free_mb < LOW_FACTOR * min_free_mb:
        yield Finding(LOW, text)
    else:
        yield Seen(text)


def _mount(site: Site, folder: Path) -> Mount | None:
    try:
        return mount_of(site, folder)
    except CannotLook:
        return None


def _of_mount(site: Site, mount: Mount) -> Iterator[Finding | Seen]:
    if mount.read_only:
        yield Finding(READ_ONLY, f"{mount.source} at {mount.point} is mounted read-only")
    if mount.kind in VOLATILE:
        yield Finding(VOLATILE_DISK, f"{mount.point} is in memory: {mount.kind}")
    device = mount.source.rpartition("/")[2]
    if count := whole(site.read(f"/sys/fs/ext4/{device}/errors_count")):
        yield Finding(ERRORS, f"the kernel counted {count:,} errors of {mount.source}")


CHECK = Check("disk", "the disk of the outbox has room, can be written and is kept", KINDS, look)

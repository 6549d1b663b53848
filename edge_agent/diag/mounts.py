"""On which file system a path is: proc(5), /proc/self/mountinfo. Reads nothing but that file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge_agent.diag.finding import CannotLook
from edge_agent.diag.site import Site

VOLATILE = frozenset({"tmpfs", "ramfs", "overlay"})
"""File systems that forget at the next boot; an overlay does wherever its upper layer is one of them."""

# "ro", or what ext4 says since Linux 6.15 where it stopped itself after an error: statvfs(3) does not tell that.
_STOPPED = frozenset({"ro", "emergency_ro", "shutdown"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    point: Path
    kind: str
    """``ext4``, ``tmpfs``."""
    source: str
    """``/dev/mmcblk0p2``."""
    read_only: bool
    options: tuple[str, ...]


def mount_of(site: Site, path: Path) -> Mount:
    """Return the one that ``path`` is on; raises CannotLook without /proc."""
    text = site.read("/proc/self/mountinfo")
    mounts = [found for line in (text or "").splitlines() if (found := _parse(line)) is not None]
    real = Path(os.path.realpath(path))  # resolve() raises RuntimeError for a loop of links
    holding = [mount for mount in mounts if real.is_relative_to(mount.point)]
    if not holding:
        raise CannotLook("the mounted file systems are not known: no /proc/self/mountinfo")
    # Of two at one point the later one hides the other.
    return max(enumerate(holding), key=lambda one: (len(one[1].point.parts), one[0]))[1]


def _parse(line: str) -> Mount | None:
    """36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue."""
    before, dash, after = line.partition(" - ")
    words, rest = before.split(" "), after.split(" ")
    if not dash or len(words) < 6 or len(rest) < 3:
        return None
    point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), words[4])
    options = (*words[5].split(","), *rest[2].split(","))
    return Mount(Path(point), rest[0], rest[1], not _STOPPED.isdisjoint(options), options)

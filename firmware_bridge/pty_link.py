"""A link in the file system that leads to a pty. It must never take away what somebody else has put there."""

from pathlib import Path

_PTYS = "/dev/pts"


def put_link(path: Path, pty: str) -> None:
    """Make a link at ``path`` to this pty, in the place of a link to an older one; raises OSError for anything else."""
    if path.is_symlink() and path.readlink().is_relative_to(_PTYS):
        path.unlink()
    path.symlink_to(pty)


def take_link(path: Path, pty: str) -> None:
    """Take the link away if it still leads to this pty: another process may have put its own there."""
    if path.is_symlink() and path.readlink() == Path(pty):
        path.unlink(missing_ok=True)

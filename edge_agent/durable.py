"""Make the names in a folder durable: a renamed, new or removed file is on the disk only when its folder is, too."""

import os
from pathlib import Path


def sync_directory(folder: Path) -> None:
    """fsync(2) on the folder itself; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

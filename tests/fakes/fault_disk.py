"""A disk that fails without dying: fsync that returns EIO, writes that find no space; and its power can be cut, too.

After a failed fsync Linux takes the pages for clean: some of them never reach the medium, and no later fsync says so.
"""

import errno
import random
from pathlib import Path

from tests.fakes.power_cut_vfs import PowerCutDisk


class FaultDisk(PowerCutDisk):
    """Fails as often as it is told to; ``faults`` counts what SQLite was told."""

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        super().__init__(folder, rnd)
        self.sync_errors = 0.0
        """Share of the syncs that fail with EIO."""
        self.full = False
        """No file can grow."""
        self.faults = 0

    def sync(self, path: Path) -> None:
        """Half of the pages of a failed sync are lost without another word."""
        if not self.dead and self.rnd.random() < self.sync_errors:
            self.faults += 1
            content = self._names[path.name]
            content.pending = [change for change in content.pending if self.rnd.random() < 0.5]
            content.settle()
            raise OSError(errno.EIO, "the medium did not take it")
        super().sync(path)

    def write(self, path: Path, offset: int, data: bytes) -> None:
        """A full file system still takes what was allocated before."""
        if self.full and offset + len(data) > path.stat().st_size:
            self.faults += 1
            raise OSError(errno.ENOSPC, "no space left")
        super().write(path, offset, data)

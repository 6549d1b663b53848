"""One file in a folder that inotify(7) watches: what is in it, and whether there is news of it.

The only importer of inotify_simple. The folder is watched, not the file: a rename puts another file in its place.
"""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

from inotify_simple import INotify, flags

from edge_agent.small_file import read_small

_DONE = flags.CLOSE_WRITE | flags.MOVED_TO
_NEWS = _DONE | flags.MODIFY | flags.CREATE | flags.ATTRIB | flags.MOVED_FROM | flags.DELETE
_GONE = flags.DELETE_SELF | flags.MOVE_SELF
# What the kernel tells without being asked.
_GONE_BY_ITSELF = flags.IGNORED | flags.UNMOUNT


class Folder:
    """``open`` and ``read`` may wait for a disk and belong on a thread, everything else on the event loop."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._inotify: INotify | None = None
        self._closed = False
        self._identity = (0, 0)
        self._news = asyncio.Event()
        self._written = False
        self.gone = False
        """Whether the kernel says that the folder is not at its path any more."""

    def open(self) -> None:
        """Watch; raises OSError."""
        self._identity = self._look()  # before the watch: another folder at this place meanwhile is seen
        inotify = INotify(nonblocking=True)
        try:
            inotify.add_watch(self._path.parent, _NEWS | _GONE | flags.ONLYDIR)
        except OSError:
            inotify.close()
            raise
        self._inotify = inotify
        if self._closed:
            inotify.close()

    def listen(self) -> None:
        """Take the kernel's news from now on."""
        if self._inotify is not None:
            asyncio.get_running_loop().add_reader(self._inotify.fd, self._came)

    def close(self) -> None:
        """End the watch. Idempotent."""
        self._closed = True  # for an `open` that is still at it
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            asyncio.get_running_loop().remove_reader(inotify.fd)
            inotify.close()

    def read(self) -> bytes:
        """Return the file, up to its limit and one byte more.

        Raises NotADirectoryError where another folder stands at this path now, or none; OSError.
        """
        try:
            same = self._look() == self._identity
        except OSError:
            same = False
        if not same:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return read_small(self._path, self._limit, follow=False)[0]

    async def news(self, within_s: float) -> None:
        """Wait for news of the file or its folder, for so long at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()

    def take_news(self) -> bool:
        """Forget the news; whether somebody finished writing the file, or put one in its place."""
        self._news.clear()
        written, self._written = self._written, False
        return written

    def _came(self) -> None:
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.mask & (_GONE | _GONE_BY_ITSELF):
                self.gone = True
            elif event.name != self._path.name and not event.mask & flags.Q_OVERFLOW:
                continue
            self._written |= bool(event.mask & _DONE)
            self._news.set()

    def _look(self) -> tuple[int, int]:
        found = self._path.parent.stat()
        return found.st_dev, found.st_ino

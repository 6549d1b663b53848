"""A file that a player writes where it can do nothing else: the same JSON as `PUT /now-playing`, seen by inotify(7).

Read on a thread of its own, so that a disk that hangs stops nothing else; never repaired, never removed. A word that
makes no sense leaves the one before until its end.
"""

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from edge_agent.errors import PlayerError
from edge_agent.logs import Repeats
from edge_agent.models import ComponentState
from edge_agent.owner_thread import SoleThread
from edge_agent.sanitize import printable
from edge_agent.showing.base import LONGEST_S, Report, Source, Tell, Told
from edge_agent.showing.folder import Folder
from edge_agent.showing.request import MAX_BYTES, read_told
from edge_agent.small_file import NotAFile

T = TypeVar("T")

RETRY_S = 1.0
"""Between two looks for a folder that is not there."""
SETTLE_S = 0.5
"""What makes no sense for this long is told; until then a player may be in the middle of writing it."""
LOOK_AGAIN_S = 10.0
"""Without news the file is read all the same: inotify is silent about what another machine changes."""
HANGS_S = 5.0
_PAUSE_S = 0.01
_STOP_S = 0.5
_MAX_LINE = 300

log = structlog.get_logger(__name__)


class WatchedFile:
    """One path; ``wall`` is the unix time."""

    def __init__(self, path: Path, *, tell: Tell, report: Report, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._tell = tell
        self._report = report
        self._wall = wall
        self._thread = SoleThread("player-file", self._hangs)
        self._repeats = Repeats(log, "player_file_unusable", "player_file_usable")
        self._content: bytes | None = None
        """What was judged last; None where there is no file, or none that could be read."""
        self._holds = False
        """Whether a campaign was told and not taken back."""
        self._wrong: tuple[str, float] | None = None
        """What seems wrong with the file, and since when (time of the loop)."""

    async def serve(self) -> None:
        """Watch until cancelled; what cannot be watched is tried again."""
        try:
            while True:
                try:
                    await self._watch()
                except PlayerError as error:
                    self._fail(str(error))
                    await asyncio.sleep(RETRY_S)
        finally:
            await self._thread.end(_nothing, timeout_s=_STOP_S)

    async def _watch(self) -> None:
        """Until another folder is there, or none; raises PlayerError."""
        if not self._thread.runs:
            self._thread.begin()
        folder = Folder(self._path, MAX_BYTES)
        try:
            await self._on_thread(folder.open)
            folder.listen()
            await self._follow(folder)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                self._gone()
            raise self._cannot_watch(error) from error
        finally:
            folder.close()

    async def _follow(self, folder: Folder) -> None:
        first = True
        while not folder.gone:
            written = folder.take_news()
            try:
                content = await self._on_thread(folder.read)
            except NotADirectoryError:
                return
            except FileNotFoundError:
                self._gone()
                self._well(f"waits for {self._path}")
            except OSError as error:
                self._content = None
                self._suspect(_unreadable(error))
            else:
                self._take(content, written=written, first=first)
            first = False
            self._judge()
            await asyncio.sleep(_PAUSE_S)  # a player that never stops writing gets no more than a part of a core
            await folder.news(LOOK_AGAIN_S if self._wrong is None else SETTLE_S)

    async def _on_thread(self, job: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(HANGS_S):
                return await self._thread.call(job)
        except TimeoutError:
            await self._thread.end(_nothing, timeout_s=0)
            raise self._hangs() from None

    def _take(self, content: bytes, *, written: bool, first: bool) -> None:
        """``written``: somebody has just finished writing it, be it the same again."""
        if content == self._content and not written:
            return
        self._content = content
        try:
            told = read_told(content, now=self._wall(), source=Source.FILE)
        except PlayerError as error:
            if first and error.over:
                self._well(f"{self._path}, its word is over")  # of an advert before we came
            else:
                self._suspect(str(error))
            return
        self._well(str(self._path))
        self._holds = told.campaign is not None
        self._tell(told)

    def _gone(self) -> None:
        """The file is not there any more: so is its word."""
        self._content = None
        if self._holds:
            self._holds = False
            self._tell(Told(None, LONGEST_S, Source.FILE))

    def _well(self, detail: str) -> None:
        self._wrong = None
        self._repeats.recovered(path=str(self._path))
        self._report(ComponentState.OK, detail)

    def _suspect(self, text: str) -> None:
        if self._wrong is None or self._wrong[0] != text:
            self._wrong = (text, asyncio.get_running_loop().time())

    def _judge(self) -> None:
        """Tell what is wrong once it has lasted."""
        if self._wrong is not None and asyncio.get_running_loop().time() - self._wrong[1] >= SETTLE_S:
            self._fail(f"{self._path}: {self._wrong[0]}")
            self._wrong = None

    def _fail(self, text: str) -> None:
        self._repeats.failed(printable(text, _MAX_LINE))
        self._report(ComponentState.DEGRADED, printable(text, _MAX_LINE))

    def _hangs(self) -> PlayerError:
        return PlayerError(f"reading {self._path} hangs", remedy="look at the disk: dmesg")

    def _cannot_watch(self, error: OSError) -> PlayerError:
        folder = self._path.parent
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return PlayerError(f"{folder} is no folder", remedy="make it, or change where the player writes")
        if error.errno in {errno.EMFILE, errno.ENOSPC}:
            text = f"cannot watch {folder}: the kernel's limit of watches is reached"
            return PlayerError(text, remedy="raise fs.inotify.max_user_instances and max_user_watches by sysctl")
        return PlayerError(f"cannot watch {folder}: {error.strerror}", remedy="let the agent's user enter and read it")


def _unreadable(error: OSError) -> str:
    if isinstance(error, NotAFile):
        return f"it {error.strerror}; write a regular file, or rename one to this name"
    return f"cannot be read: {error.strerror}; let the agent's user read it"


def _nothing() -> None:
    """The last job of a thread that holds nothing."""

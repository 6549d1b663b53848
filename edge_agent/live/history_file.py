"""Keeps the history across a restart of the agent, in the runtime directory: in memory, so that no flash wears.

A boot begins anew. A file that cannot be read or written costs the history, never a tap.
"""

import contextlib
import os
from pathlib import Path

import structlog

from edge_agent.live.history import History
from edge_agent.models import ClockReading
from edge_agent.small_file import read_small

log = structlog.get_logger(__name__)

KEEP_EVERY_S = 300.0
_MAX_BYTES = 200_000


class HistoryFile:
    """One file; ``load`` once, ``save`` now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = False

    @classmethod
    def beside(cls, socket: Path) -> "HistoryFile":
        """The one of the agent that listens at ``socket``: two in one folder have one each."""
        return cls(socket.with_name(f"{socket.name}.history"))

    def load(self, now: ClockReading) -> History:
        """Return what an earlier process of this boot knew, or a new history."""
        found = None
        with contextlib.suppress(OSError):
            data, _mode = read_small(self._path, _MAX_BYTES)
            found = History.decode(data, now.boot, now.up)
        return found or History(now.boot, now.up)

    def save(self, history: History) -> None:
        """Replace the file as a whole; what fails is logged once."""
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(history.encode())
            new.replace(self._path)
            self._told = False
        except OSError as error:
            if not self._told:
                log.warning("history_not_kept", path=str(self._path), error=error.strerror)
            self._told = True

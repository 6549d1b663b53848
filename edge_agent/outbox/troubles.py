"""Why taps cannot be kept at the moment, and who has to hear of it: the log, and a person by way of a Notice.

A failing medium must not fill the log: the first failure of a kind is a warning, the others are counted at DEBUG, and
the success that ends them tells the count.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox.base import Notice

log = structlog.get_logger(__name__)

EVICTIONS_EVERY_S = 60.0


class Troubles:
    """The troubles of one outbox; called on the event loop."""

    def __init__(self, notice: Callable[[Notice], None]) -> None:
        self._notice = notice
        self._failures: Counter[str] = Counter()
        self._refused = 0
        self._evicted = 0
        self._evicted_in_all = 0
        self._eviction_timer: asyncio.TimerHandle | None = None
        self.fault = ""
        """The OutboxFault that refuses taps; empty: taps are kept."""

    def failed(self, what: str, error: OutboxError) -> None:
        """Some work on the disk failed and will be tried again."""
        self._failures[what] += 1
        level = log.warning if self._failures[what] == 1 else log.debug
        level("outbox_failed", what=what, error=str(error), count=self._failures[what])

    def worked(self, what: str) -> None:
        """It succeeded."""
        if failed := self._failures.pop(what, 0):
            log.info("outbox_works_again", what=what, failed=failed)

    def has(self, what: str) -> bool:
        """Whether this work failed when it was last tried."""
        return self._failures[what] > 0

    def tap_refused(self, error: OutboxError) -> None:
        """A tap was not kept."""
        self.failed("append", error)
        self._refused += 1
        if error.fault is not OutboxFault.REFUSED:  # else this tap could not be sealed, and the outbox is well
            self.down(error)

    def down(self, error: OutboxError) -> None:
        """Taps cannot be kept for now."""
        if not self.fault:
            code = f"outbox_{error.fault.value}"
            self._notice(Notice(code, f"taps cannot be kept: {error}", {"fault": error.fault.value}))
        self.fault = error.fault.value

    def tap_kept(self) -> None:
        """A tap was kept, or could have been."""
        self.worked("append")
        if self.fault:
            text = f"taps are kept again; {self._refused} were refused"
            self._notice(Notice("outbox_works_again", text, {"fault": self.fault, "refused": self._refused}))
        self.fault, self._refused = "", 0

    def evicted(self, rows: int, *, in_all: int) -> None:
        """Undelivered rows were given up; told at most once in a minute, with their sum."""
        self._evicted += rows
        self._evicted_in_all = in_all
        if self._eviction_timer is None and self._evicted:
            self._tell_evicted()

    def _tell_evicted(self) -> None:
        self._eviction_timer = None
        if rows := self._evicted:
            self._evicted = 0
            log.warning("outbox_evicted", rows=rows, in_all=self._evicted_in_all)
            text = f"{rows} undelivered taps were given up for want of room"
            self._notice(Notice("outbox_evicted", text, {"rows": rows, "in_all": self._evicted_in_all}))
            self._eviction_timer = asyncio.get_running_loop().call_later(EVICTIONS_EVERY_S, self._tell_evicted)

    def close(self) -> None:
        """Tell what was not told yet."""
        if self._eviction_timer is not None:
            self._eviction_timer.cancel()
        self._tell_evicted()
        if self._eviction_timer is not None:
            self._eviction_timer.cancel()
            self._eviction_timer = None

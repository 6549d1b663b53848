"""Lends a reader that is at work to a technician, for a minute at most: when, for how long, and how it comes back.

A loan is short and has to be renewed: who died, or was cut off, renews nothing. It never breaks into a tap.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault

LONGEST_S = 60.0
"""A terminal must not be without its reader for longer, whatever a technician's program asks."""

TellLent = Callable[[str, bool], None]
"""Takes the name of a reader, and whether it is lent now; must not block or raise."""


class Wanted(Exception):
    """Somebody wants to borrow the reader: let go of it."""


class Loan:
    """The loan of one reader. ``borrow``, ``renew`` and ``give_back`` are the borrower's, the rest is the lender's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lease_s = 0.0
        self._wanted = False
        self._began: float | None = None
        self._until = 0.0
        self.left_empty = False
        """Whether nothing was in the field when the reader was given back; else what lies there is no new tap."""
        self._scope: asyncio.Timeout | None = None
        self._begun = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def is_free(self) -> bool:
        """Whether nobody has borrowed the reader, or waits for it."""
        return not self._wanted

    @property
    def left_s(self) -> float:
        """Seconds until the reader is taken back; 0 while it is not lent."""
        return 0.0 if self._began is None else max(0.0, self._until - self._clock.monotonic())

    async def borrow(self, lease_s: float, within_s: float) -> None:
        """Return when the reader is closed and free for ``lease_s`` seconds.

        Raises ReaderError: TAKEN if somebody else has it, or if it is not free ``within_s`` seconds later.
        """
        if not self.is_free:
            raise ReaderError(ReaderFault.TAKEN, "the reader is lent already", remedy="wait until it is given back")
        self._wanted, self._lease_s = True, lease_s
        self._begun.clear()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(within_s):
                await self._begun.wait()
        except TimeoutError:
            raise ReaderError(ReaderFault.TAKEN, "the reader is not free", remedy="try again in a moment") from None
        finally:
            if self._began is None:  # whoever asked is gone, or the reader has ended
                self._wanted = False

    def renew(self, lease_s: float) -> float:
        """Keep it for ``lease_s`` seconds from now, LONGEST_S in all; returns how many seconds are left."""
        if self._began is not None:
            self._until = min(self._clock.monotonic() + lease_s, self._began + LONGEST_S)
            self._changed.set()
        return self.left_s

    def give_back(self, *, empty: bool = False) -> None:
        """The borrower is done; ``empty``: nothing was in the field. Idempotent."""
        self.left_empty = empty
        self._until = 0.0
        self._changed.set()

    @asynccontextmanager
    async def unless_wanted(self) -> AsyncIterator[None]:
        """What is waited for inside ends with Wanted as soon as somebody wants the reader."""
        if self._wanted:
            raise Wanted
        scope = self._scope = asyncio.timeout(None)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():  # also where whoever wanted it is gone since
                raise Wanted from None
            raise
        finally:
            self._scope = None

    def begin(self) -> None:
        """The reader is closed: from now on it is lent, if somebody still wants it."""
        self.left_empty = False
        if self._wanted:
            self._began = self._clock.monotonic()
            self._until = self._began + self._lease_s
            self._begun.set()

    async def wait(self) -> None:
        """Return when the loan is over, or was made longer or shorter."""
        self._changed.clear()
        try:
            async with asyncio.timeout(self.left_s):
                await self._changed.wait()
        except TimeoutError:
            pass  # its time is up

    def end(self) -> None:
        """The reader is taken back, or has ended. Idempotent."""
        self._wanted, self._began = False, None

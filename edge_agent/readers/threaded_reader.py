"""The Reader and Session ports over a blocking driver that lives on its own thread.

The loop paces the polls (a monotonic pause, so that no step of the wall clock stalls them), the thread does one bounded
job at a time. A driver's result never arrives in a session that is over.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from edge_agent.clock import Clock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.owner_thread import OwnerThread, SoleThread
from edge_agent.readers.base import ReaderInfo, Recovery, Step, Target, Tried
from edge_agent.readers.presence import GONE_AFTER_S, Presence

T = TypeVar("T")

POLL_INTERVAL_S = 0.075
_PRESENCE_EVERY_S = 0.1
_CLOSE_WITHIN_S = 2.0
_MARGIN_S = 0.02
_RECOVER_WITHIN_S = 4.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a poll found, and when (CLOCK_MONOTONIC seconds)."""

    target: Target
    seen_at: float


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A response APDU, its round trip in seconds, and the waiting-time extensions of the card so far."""

    response: bytes
    rtt_s: float
    wtx: int


class BlockingDriver(Protocol):
    """What the thread runs. Every method returns in bounded time; all but ``abort`` run on the thread."""

    def open(self) -> ReaderInfo:
        """Find and initialise the hardware; raises ReaderError."""

    def poll(self) -> Found | None:
        """Look once for something in the field; raises ReaderError."""

    def exchange(self, apdu: bytes, deadline: float) -> Exchanged:
        """Send an APDU to what the last poll found; be back by ``deadline``. Raises SessionLost, ReaderError."""

    def present(self) -> bool:
        """Whether what the last poll found is still there; raises ReaderError."""

    def abort(self) -> None:
        """Make a running exchange end soon; called from any thread."""

    def close(self) -> None:
        """Release the hardware. Idempotent, never raises."""


@runtime_checkable
class SoftReset(Protocol):
    """A BlockingDriver that can set its hardware up anew without closing the line."""

    def soft_reset(self) -> None:
        """Bring the hardware back to the state after ``open``, on the thread; raises ReaderError."""


@runtime_checkable
class TellsAts(Protocol):
    """A BlockingDriver that knows what the phone of the moment answered to RATS; b"" before."""

    ats: bytes


ResetUsb = Callable[[], str]
"""Resets the USB device behind a closed reader and returns its name; blocks, raises ReaderError."""


class Run(Protocol):
    """Runs a job on the owner thread."""

    async def __call__(self, job: Callable[[], T], /) -> T:
        """Return the job's result or raise its error; raises ReaderError when there is no thread to run it."""


class ThreadedSession:
    """One phone or card in the field of a ThreadedReader."""

    def __init__(self, found: Found, driver: BlockingDriver, run: Run, clock: Clock, gone_after_s: float) -> None:
        self.target = found.target
        self.seen_at = found.seen_at
        self.wtx = 0
        self.rtt_s = 0.0
        self.ats = b""
        self._driver = driver
        self._tells_ats = driver if isinstance(driver, TellsAts) else None
        self._run = run
        self._clock = clock
        self._gone_after_s = gone_after_s
        self._over = False

    async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
        """See ``base.Session``; what takes no APDUs is lost at the first one."""
        if self._over:
            raise SessionLost(LostReason.VANISHED, "the session is over")
        deadline = self._clock.monotonic() + timeout_s - min(_MARGIN_S, timeout_s / 10)
        try:
            # The driver keeps the deadline and knows more; this one holds even where its call does not return.
            async with asyncio.timeout(timeout_s):
                exchanged = await self._run(lambda: self._driver.exchange(apdu, deadline))
        except TimeoutError:
            raise SessionLost(LostReason.TIMEOUT, "cut off by the budget") from None
        finally:
            if self._tells_ats is not None and not self.ats:
                self.ats = self._tells_ats.ats
        self.wtx = exchanged.wtx
        self.rtt_s = exchanged.rtt_s
        return exchanged.response

    async def wait_removed(self) -> None:
        """See ``base.Session``; dropouts shorter than the reader's ``gone_after_s`` are not removals."""
        presence = Presence(gone_after_s=self._gone_after_s)
        while not self._over:
            there = await self._run(self._driver.present)
            if presence.observe(present=there, now=self._clock.monotonic()):
                return
            await asyncio.sleep(_PRESENCE_EVERY_S)

    async def close(self) -> None:
        """See ``base.Session``; the next poll switches the field off and on."""
        self._over = True


class ThreadedReader:
    """A Reader whose driver blocks: one thread ``reader-NAME`` while it is open, one session at a time."""

    def __init__(
        self,
        name: str,
        driver: BlockingDriver,
        *,
        clock: Clock,
        poll_interval_s: float = POLL_INTERVAL_S,
        gone_after_s: float = GONE_AFTER_S,
        reset_usb: ResetUsb | None = None,
        against_hanging: str = "power-cycle the reader",
    ) -> None:
        self.name = name
        self.last_poll = 0.0
        self._driver = driver
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._gone_after_s = gone_after_s
        self._reset_usb = reset_usb
        self._against_hanging = against_hanging
        self._usb_owner: OwnerThread | None = None
        self._thread = SoleThread(f"reader-{name}", self._hangs)
        self._session: ThreadedSession | None = None

    async def open(self) -> ReaderInfo:
        """See ``base.Reader``; an open reader is closed first.

        Refused while a thread of before still hangs in the driver: once its call returns it goes on using the line.
        """
        await self.close()
        self._thread.begin()
        opened = False
        try:
            info = await self._run(self._driver.open)
            opened = True
        finally:
            if not opened:
                await self.close()
        return info

    async def next_session(self) -> ThreadedSession:
        """See ``base.Reader``; ends the session before, whose link a new poll would break."""
        if self._session is not None:
            await self._session.close()
        found = None
        while found is None:
            found = await self._run(self._driver.poll)
            if found is None:
                await asyncio.sleep(self._poll_interval_s)
        self._session = ThreadedSession(found, self._driver, self._run, self._clock, self._gone_after_s)
        return self._session

    async def close(self) -> None:
        """See ``base.Reader``; takes one poll at most, and a thread that hangs is left behind."""
        if self._session is not None:
            await self._session.close()
        if self._thread.runs:
            self._driver.abort()
            await self._thread.end(self._driver.close, timeout_s=_CLOSE_WITHIN_S)

    async def recover(self, step: Step) -> Recovery:
        """See ``base.Recoverable``; a soft reset ends the session."""
        try:
            async with asyncio.timeout(_RECOVER_WITHIN_S):
                if step is Step.SOFT_RESET:
                    return await self._soft_reset()
                if step is Step.USB_RESET:
                    return await self._usb_reset()
        except TimeoutError:
            return Recovery(Tried.FAILED, f"not over after {_RECOVER_WITHIN_S:.0f} s")
        except ReaderError as error:
            forbidden = error.fault in (ReaderFault.NO_PERMISSION, ReaderFault.NOT_FOUND) and step is Step.USB_RESET
            return Recovery(Tried.IMPOSSIBLE if forbidden else Tried.FAILED, str(error))
        return Recovery(Tried.IMPOSSIBLE)

    async def _soft_reset(self) -> Recovery:
        driver = self._driver
        if not isinstance(driver, SoftReset) or not self._thread.runs:
            return Recovery(Tried.IMPOSSIBLE, "this driver has none")
        if self._session is not None:
            await self._session.close()
        await self._run(driver.soft_reset)
        return Recovery(Tried.DONE)

    async def _usb_reset(self) -> Recovery:
        if self._reset_usb is None:
            return Recovery(Tried.IMPOSSIBLE, "this driver has none")
        if self._usb_owner is not None and self._usb_owner.alive:
            return Recovery(Tried.FAILED, "the one of before is not over")
        # A thread of its own: that of the reader may hang in the very driver that is to be reset.
        owner = self._usb_owner = OwnerThread(f"usb-reset-{self.name}")
        try:
            return Recovery(Tried.DONE, await owner.call(self._reset_usb))
        finally:
            await owner.stop(_nothing, timeout_s=0.1)

    async def _run(self, job: Callable[[], T], /) -> T:
        if not self._thread.runs:
            raise ReaderError(ReaderFault.IO, "the reader is closed")
        try:
            result = await self._thread.call(job)
        except SessionLost:
            self.last_poll = self._clock.monotonic()
            raise
        self.last_poll = self._clock.monotonic()
        return result

    def _hangs(self) -> ReaderError:
        text = f"the thread reader-{self.name} hangs in the driver"
        return ReaderError(ReaderFault.HANGS, text, remedy=self._against_hanging)


def _nothing() -> None:
    """The last job of a thread that owns nothing."""

"""Keeps one surface at work: opens it, shows tickets, turns each read into a tap, opens a lost one again, for ever.

No phone, bus or unplugged board may end it; only an error in our own program does. The text of a ticket is a bearer
secret: it goes to the surface and nowhere else.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import structlog

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError, ReaderError, ReaderFault
from edge_agent.live.steps import StepName, Steps, Untold
from edge_agent.logs import Repeats
from edge_agent.models import ComponentState, Cue, StoredTap, TapFacts, TapMode
from edge_agent.readers.base import ReaderInfo
from edge_agent.sanitize import printable
from edge_agent.tags.base import FieldGone, FieldSeen, SurfaceEvent, TicketRead, TicketSurface
from edge_agent.tags.rotation import ClockLooked, Failed, Hidden, Hide, Read, Rotation, Show, Shown, WaitUntil
from edge_agent.tags.ticket import Ticket, link, seal

log = structlog.get_logger(__name__)

IssueTap = Callable[[TapFacts], Awaitable[StoredTap]]
"""Signs and commits a tap, durable when it returns; an EdgeAgentError refuses it."""
ShowCue = Callable[[Cue], None]
"""Puts a cue on the screens; must not block or raise."""

RECENT_TICKETS = 8
"""A read is told late at most: by the ticket after it, or after the surface was lost for a while."""
_THANKS_WITHIN_S = 3.0
_COMMIT_GRACE_S = 2.0
_ABSENT_CAP_S = 2.0
_CHEAP_TO_TRY = frozenset({ReaderFault.NOT_FOUND, ReaderFault.UNPLUGGED, ReaderFault.HANGS})


class SurfaceState(StrEnum):
    """What a surface is doing."""

    STOPPED = "stopped"
    OPENING = "opening"
    SHOWING = "showing"
    HIDDEN = "hidden"
    """It works, but shows no ticket: the clock is not known to be right."""
    LOST = "lost"


_CONDITION = {
    SurfaceState.STOPPED: ComponentState.STOPPED,
    SurfaceState.OPENING: ComponentState.STARTING,
    SurfaceState.SHOWING: ComponentState.OK,
    SurfaceState.HIDDEN: ComponentState.DEGRADED,
    SurfaceState.LOST: ComponentState.FAILED,
}


@dataclass(frozen=True, slots=True)
class Issuing:
    """What the tickets of one terminal are made of: host of the link, life in seconds, key id and its signature."""

    host: str
    ttl: int
    kid: bytes
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class SurfaceSnapshot:
    """One surface at one moment; ``taps`` are committed ones, ``reads`` what phones have read of our tickets.

    ``strays`` are reads of a ticket that is not among the last ones. ``last_sign`` is when anything showed that its
    work goes on (CLOCK_MONOTONIC seconds), ``hangs``: a call into the driver does not return. ``last_error`` is the
    surface's, ``last_refusal`` the issuer's; both stay after the cure and are "" without one.
    """

    name: str
    state: SurfaceState
    info: ReaderInfo | None
    taps: int
    reads: int
    strays: int
    rotations: int
    reopens: int
    last_sign: float
    hangs: bool
    last_error: str
    last_refusal: str

    @property
    def condition(self) -> ComponentState:
        """Translate the state for the health board."""
        return _CONDITION[self.state]

    @property
    def detail(self) -> str:
        """Why the condition is not OK."""
        if self.state is SurfaceState.HIDDEN:
            return "shows no ticket: the clock is not synchronised"
        return "" if self.condition is ComponentState.OK else self.last_error


class TagService:
    """One surface under supervision; ``every_s`` as in Rotation.

    ``show`` gets `reading` when a phone comes and `thanks` when its tap is on disk, `invite` when it left without a
    read, `resting` when the tap was refused, `fault` when the surface is lost, and `invite` once it is back.
    """

    def __init__(
        self,
        surface: TicketSurface,
        *,
        issuing: Issuing,
        issue: IssueTap,
        show: ShowCue,
        clock: Clock,
        every_s: float | None = None,
        backoff: Backoff | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._surface = surface
        self._issuing = issuing
        self._issue = issue
        self._show = show
        self._clock = clock
        self._backoff = backoff or Backoff(base=0.2, cap=30.0, stable_after=10.0)
        self._rotation = Rotation(ttl=issuing.ttl, entropy=entropy, every_s=every_s)
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._listening: asyncio.Future[SurfaceEvent] | None = None
        self._steps: Steps = Untold()
        self._visit: int | None = None
        """Of the phone that is at the surface, among the steps."""
        self._taps_under_way: set[asyncio.Task[None]] = set()
        self._state = SurfaceState.STOPPED
        self._info: ReaderInfo | None = None
        self._invites_back = False
        self._fault_shown = False
        self._taps = self._reads = self._strays = self._rotations = self._reopens = 0
        self._last_cti = b""
        self._hangs = False
        self._last_error = self._last_refusal = ""
        self._refused = Repeats(log, "tap_refused", "taps_taken_again")
        self._stray = Repeats(log, "unknown_ticket_read", "unknown_tickets_over")
        self._signed_until = clock.monotonic()

    def follow(self, steps: Steps) -> None:
        """Tell each step of each phone; before ``run``."""
        self._steps = steps

    def snapshot(self) -> SurfaceSnapshot:
        """Return the state of the surface now."""
        return SurfaceSnapshot(
            name=self._surface.name,
            state=self._state,
            info=self._info,
            taps=self._taps,
            reads=self._reads,
            strays=self._strays,
            rotations=self._rotations,
            reopens=self._reopens,
            last_sign=max(self._surface.last_sign, min(self._signed_until, self._clock.monotonic())),
            hangs=self._hangs,
            last_error=self._last_error,
            last_refusal=self._last_refusal,
        )

    async def run(self) -> None:
        """Serve until cancelled; then hide the ticket and let commits that have begun end (2 s at most)."""
        try:
            while True:
                try:
                    await self._open()
                    await self._serve()
                except ReaderError as error:
                    pause = self._failed(error)
                await self._surface.close()
                self._sign(pause)
                await asyncio.sleep(pause)
        finally:
            self._state = SurfaceState.STOPPED
            self._rotation.handle(Failed(), self._clock.monotonic())
            await self._surface.close()
            await self._drain()

    async def _open(self) -> None:
        if self._state is not SurfaceState.LOST:
            self._state = SurfaceState.OPENING
        self._sign()
        self._info = await self._surface.open()
        self._hangs = False
        self._backoff.succeeded(self._clock.monotonic())

    async def _serve(self) -> NoReturn:
        try:
            while True:
                await self._wait(await self._turn())
        finally:
            try:
                await self._take_what_was_heard()
            except ReaderError as error:  # it is being closed anyway, and must not hide why
                log.debug("surface_lost_at_the_end", surface=self._surface.name, error=str(error))

    async def _turn(self) -> float:
        """Do what the rotation wants; returns until when (CLOCK_MONOTONIC seconds) nothing is to be done."""
        while True:
            reading, now = self._clock.read(), self._clock.monotonic()
            for effect in self._rotation.handle(ClockLooked(reading.unix, reading.trust), now):
                match effect:
                    case Show():
                        await self._show_ticket(effect)
                    case Hide():
                        await self._hide()
                    case WaitUntil(at):
                        return at

    async def _show_ticket(self, wanted: Show) -> None:
        issuing = self._issuing
        text = seal(Ticket(issuing.kid, wanted.iat, issuing.ttl, wanted.nonce), issuing.sign)
        url = link(issuing.host, text)
        # Before it is shown: a surface that fails in the middle may show it all the same.
        self._recent[url] = wanted.nonce
        while len(self._recent) > RECENT_TICKETS:
            self._recent.popitem(last=False)
        await self._take_what_was_heard()
        read = await self._surface.show(url)
        self._rotation.handle(Shown(), self._clock.monotonic())
        self._rotations += 1
        if read is not None:
            self._take(read)
        self._works(SurfaceState.SHOWING)

    async def _hide(self) -> None:
        await self._take_what_was_heard()
        await self._surface.hide()
        self._rotation.handle(Hidden(), self._clock.monotonic())
        self._works(SurfaceState.HIDDEN)

    def _works(self, state: SurfaceState) -> None:
        """Only what has shown or hidden a ticket is back: a chip may answer `open` and refuse each write."""
        before, self._state = self._state, state
        info = self._info
        if before is SurfaceState.LOST:
            self._reopens += 1
            log.info("surface_back", surface=self._surface.name, attempts=self._backoff.failures)
        elif before is SurfaceState.OPENING and info is not None:
            log.info("surface_open", surface=self._surface.name, device=info.device, chip=info.chip)
        if self._fault_shown:
            self._fault_shown = False
            self._show(Cue.INVITE)

    async def _wait(self, until: float) -> None:
        """Until the surface tells something, a tap ends, or the time has come."""
        if self._listening is None:
            self._listening = asyncio.ensure_future(self._surface.next_event())
        pause = max(0.0, until - self._clock.monotonic())
        waiting: set[asyncio.Future[Any]] = {self._listening, *self._taps_under_way}
        await asyncio.wait(waiting, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        for tap in [tap for tap in self._taps_under_way if tap.done()]:
            self._taps_under_way.discard(tap)
            tap.result()
        if self._listening.done():
            heard, self._listening = self._listening, None
            self._take(heard.result())

    async def _take_what_was_heard(self) -> None:
        """Stop listening, for a show or for good; what was told in the last moment counts. Raises ReaderError."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.cancel()
        await asyncio.wait({listening})
        if not listening.cancelled():
            self._take(listening.result())

    def _take(self, event: SurfaceEvent) -> None:
        match event:
            case FieldSeen():
                self._visit = self._begin(self._clock.monotonic())
                if self._rotation.stands:  # else there is nothing to hold still for
                    self._invites_back = True
                    self._show(Cue.READING)
            case FieldGone(also_read=url):
                if url is not None and (nonce := self._recent.get(url)) is not None:
                    self._rotation.handle(Read(nonce), self._clock.monotonic())
                visit, self._visit = self._visit, None
                if visit is not None:
                    self._steps.tell(visit, StepName.ENDED, self._clock.monotonic(), outcome="not_read", why="")
                if self._invites_back:
                    self._invites_back = False
                    self._show(Cue.INVITE)
            case TicketRead():
                self._read(event)

    def _read(self, event: TicketRead) -> None:
        nonce = self._recent.get(event.url)
        if nonce is None:
            self._strays += 1
            self._stray.failed("a ticket that is not ours, or of long ago", surface=self._surface.name)
            return
        self._stray.recovered(surface=self._surface.name)
        self._reads += 1
        self._invites_back = False
        self._rotation.handle(Read(nonce), self._clock.monotonic())
        facts = TapFacts(mode=TapMode.TAG_READ, reader=self._surface.name, nonce=nonce, seen_at=event.field_at)
        visit, self._visit = self._visit, None
        if visit is None:
            visit = self._begin(event.field_at)
        self._steps.tell(visit, StepName.READ, event.at)
        # Beside the rotation: neither waits for the other, and nobody who cancels us cancels a commit.
        self._taps_under_way.add(
            asyncio.create_task(self._tap(facts, event.at, visit), name=f"tap at {self._surface.name}")
        )

    def _begin(self, at: float) -> int:
        return self._steps.begin(self._surface.name, at, technology="reads_us")

    async def _tap(self, facts: TapFacts, read_at: float, visit: int) -> None:
        try:
            stored = await self._issue(facts)
        except EdgeAgentError as error:
            self._last_refusal = str(error)
            self._refused.failed(type(error).__name__, surface=self._surface.name, error=str(error))
            self._show(Cue.RESTING)
            why = printable(error.text, 120)
            self._steps.tell(visit, StepName.ENDED, self._clock.monotonic(), outcome="refused", why=why)
            return
        self._refused.recovered(surface=self._surface.name)
        again = stored.cti == self._last_cti
        self._taps += not again
        self._last_cti = stored.cti
        now = self._clock.monotonic()
        took = now - read_at
        self._steps.token(visit, now, stored.chain, stored.seq, again=again)
        self._steps.tell(visit, StepName.ENDED, now, outcome="accepted", why="")
        if took <= _THANKS_WITHIN_S:
            self._show(Cue.THANKS)
            log.info("tag_read", surface=self._surface.name, seq=stored.seq)
        else:  # whoever read it has left long ago
            log.warning("commit_late", surface=self._surface.name, seq=stored.seq, after_s=round(took, 3))

    async def _drain(self) -> None:
        """Let the commits that have begun end; 2 s at most."""
        if not self._taps_under_way:
            return
        done, _ = await asyncio.wait(self._taps_under_way, timeout=_COMMIT_GRACE_S)
        for tap in done:
            if (error := tap.exception()) is not None:
                log.error("tap_failed_at_stop", surface=self._surface.name, exc_info=error)

    def _sign(self, pause_s: float = 0.0) -> None:
        """A sign of life, good for an announced pause, too."""
        self._signed_until = self._clock.monotonic() + pause_s

    def _failed(self, error: ReaderError) -> float:
        now = self._clock.monotonic()
        self._sign()
        self._rotation.handle(Failed(), now)
        self._hangs = error.fault is ReaderFault.HANGS
        self._state = SurfaceState.LOST
        self._invites_back = False
        self._last_error = str(error)
        pause = self._backoff.next_delay(now)
        if error.fault in _CHEAP_TO_TRY:
            pause = min(pause, _ABSENT_CAP_S)
        level = log.warning if self._backoff.failures == 1 else log.debug
        level(
            "surface_lost",
            surface=self._surface.name,
            fault=error.fault.value,
            error=error.text,
            remedy=error.remedy,
            failures=self._backoff.failures,
            next_attempt_s=round(pause, 3),
        )
        if not self._fault_shown:
            self._fault_shown = True
            self._show(Cue.FAULT)
        return pause

"""Shows one cue at a time on every screen link. ``show`` must never wait for a screen, nor fail because of one."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from firmware_bridge.cues import Advert, CueEvent, CueMachine, CueName, SetAdvert, SetLasting, SetLevel, Show, Tick, Try
from firmware_bridge.links.base import (
    Code,
    DrivesMcu,
    HasDevice,
    LinkError,
    LinkEvent,
    LinkFault,
    LinkFigures,
    LinkState,
    LinkStatus,
    ScreenLink,
    ShowsCodes,
)
from firmware_bridge.messages import AskStatus, Status
from firmware_bridge.printable import printable
from firmware_bridge.protocol import Ask, Refused, Shown, Told

log = structlog.get_logger(__name__)

MAX_TEXT = 120
MAX_AMOUNT = 24
RETRY_BASE_S = 0.2
RETRY_CAP_S = 5.0
# A link that stayed up this long starts its pauses from the beginning when it fails.
STABLE_S = 10.0
# Each MCU is asked for its STATUS when its link comes up and this often after.
STATUS_EVERY_S = 60.0

OnWire = Callable[[str, CueName, float], None]
OnEvent = Callable[[str, LinkEvent], None]


@dataclass(slots=True)
class _Supervised:
    link: ScreenLink
    status: LinkStatus
    failures: int = 0
    """In a row; the pauses grow with them."""
    crash: str = ""
    """What the last crash was, so that the log has each traceback once."""
    has_status: bool = True
    figures: LinkFigures = field(default_factory=LinkFigures)


class Bridge:
    """Drives the cue machine over all links. Everything here runs on one event loop.

    ``on_wire(link, cue, at)`` is told when the first byte of a cue was handed to the kernel, ``on_event(link, event)``
    what a display said (a confirmed cue, a refusal, its status, a button).
    """

    def __init__(
        self,
        links: Sequence[ScreenLink],
        *,
        terminal_id: str,
        clock: Callable[[], float] = time.monotonic,
        on_wire: OnWire | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        if len({link.name for link in links}) != len(links):
            raise ValueError("two screens have the same name")
        # Two names of one device are found out when the second is opened: the port is locked.
        devices = [link.device for link in links if isinstance(link, HasDevice)]
        if len(set(devices)) != len(devices):
            raise ValueError("two screens have the same device")
        self._terminal_id = terminal_id
        self._clock = clock
        self._on_wire = on_wire
        self._on_event = on_event
        self._machine = CueMachine()
        self._changed = asyncio.Event()
        now = clock()
        self._ask_at = now + STATUS_EVERY_S
        self._links = {
            link.name: _Supervised(link, LinkStatus(link.name, link.kind, LinkState.STARTING, since=now))
            for link in links
        }

    @property
    def current(self) -> CueName:
        """The cue that the screens are asked to show; while a technician tries one, what people were shown before."""
        return self._machine.base if self._machine.trying else self._machine.current.name

    def show(self, name: CueName | str, *, text: str = "", amount: str | int | None = None) -> None:
        """Show a cue for its hold time, then fall back. ``amount`` ready to show ("¥2.00").

        RESTING and FAULT shown this way answer one tap; use ``set_lasting`` for the state. IDENTIFY without a text
        shows the terminal id. Raises ValueError for a word that is no cue.
        """
        name = CueName(name)
        if name is CueName.IDENTIFY and not text:
            text = self._terminal_id
        shown = None if amount is None else printable(str(amount), MAX_AMOUNT)
        self._handle(Show(name, printable(text, MAX_TEXT), shown))

    def try_cue(self, name: CueName | str | None, *, text: str = "", seconds: float = 2.0) -> bool:
        """Show a cue to a technician, marked by ``text``; None ends it. False if a tap is shown, which has precedence.

        Raises ValueError for a word that is no cue, and for a time beyond cues.MAX_TRY_S.
        """
        may = self._machine.may_try(self._clock())
        self._handle(Try(None if name is None else CueName(name), printable(text, MAX_TEXT), seconds))
        return may

    def set_lasting(self, name: CueName | str, on: bool, *, text: str = "") -> None:  # noqa: FBT001 - on/off reads well
        """Raise or take back RESTING or FAULT; ``text`` is the reason. Raises ValueError for another cue."""
        self._handle(SetLasting(CueName(name), on, printable(text, MAX_TEXT)))

    def set_level(self, level: int) -> None:
        """Set the brightness of every screen, 0-100 (never below cues.MIN_LEVEL)."""
        self._handle(SetLevel(level))

    def set_advert(self, advert: Advert) -> None:
        """Tell the screens which advert is showing: its words, its colours, whether there is an invitation at all."""
        self._handle(SetAdvert(advert))

    def show_ticket(self, rows: Sequence[str] | None, ttl_ms: int) -> None:
        """Show a QR code beside the invitation for ``ttl_ms`` at most, where a display can; None takes it back.

        One text for each row of modules, "1" is dark, without the quiet zone. Raises ValueError for anything else.
        """
        code = None if rows is None else Code(tuple(rows), ttl_ms)
        for entry in self._links.values():
            if isinstance(entry.link, ShowsCodes):
                self._tell(entry, partial(entry.link.show_code, code))

    def snapshot(self) -> list[LinkStatus]:
        """Every link at this moment, in the order given."""
        return [self._look_at(entry) for entry in self._links.values()]

    async def run(self) -> None:
        """Serve all links and the clock of the cues until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name="screen-cues")
                for entry in self._links.values():
                    group.create_task(self._supervise(entry), name=f"screen-{entry.link.name}")
        finally:
            for entry in self._links.values():
                self._set_state(entry, LinkState.STOPPED)

    def _look_at(self, entry: _Supervised) -> LinkStatus:
        if isinstance(entry.link, DrivesMcu) and (heard_at := entry.link.heard_at) is not None:
            entry.figures = replace(entry.figures, heard_at=heard_at)
        return replace(entry.status, figures=entry.figures, detail=entry.status.detail or entry.link.detail)

    def _handle(self, event: CueEvent) -> None:
        for effect in self._machine.handle(event, self._clock()):
            for entry in self._links.values():
                self._tell(entry, partial(entry.link.show, effect.cue))
        self._changed.set()

    def _tell(self, entry: _Supervised, call: Callable[[], None]) -> None:
        """No fault of one link may reach the tap that this is for, nor the links after it."""
        try:
            call()
        except Exception as bug:  # noqa: BLE001 - counted, and logged with its traceback
            self._crashed(entry, bug)

    async def _keep_time(self) -> None:
        while True:
            self._changed.clear()
            self._handle(Tick())
            self._ask_all()
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, min(self._machine.due, self._ask_at) - self._clock())):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _ask_all(self) -> None:
        if self._clock() < self._ask_at:
            return
        self._ask_at = self._clock() + STATUS_EVERY_S
        for entry in self._links.values():
            if entry.status.state is LinkState.UP:
                self._ask_status(entry)

    def _ask_status(self, entry: _Supervised) -> None:
        if entry.has_status and isinstance(entry.link, DrivesMcu):
            self._tell(entry, partial(entry.link.ask, Ask(AskStatus())))

    async def _supervise(self, entry: _Supervised) -> None:
        """Serve one link for ever: what fails is opened again, what crashes is told and begun anew."""
        while True:
            try:
                await entry.link.serve(self)
                self._failed(entry, LinkError(LinkFault.IO, "it ended by itself"))
            except LinkError as error:
                self._failed(entry, error)
            except asyncio.CancelledError as cancelled:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                self._failed(entry, LinkError(LinkFault.IO, self._crashed(entry, cancelled)))
            except Exception as bug:  # noqa: BLE001 - counted, and logged with its traceback; the others go on
                self._failed(entry, LinkError(LinkFault.IO, self._crashed(entry, bug)))
            await asyncio.sleep(_pause(entry.failures))

    def _crashed(self, entry: _Supervised, bug: BaseException) -> str:
        text = printable(f"{type(bug).__name__}: {bug}", 120)
        new, entry.crash = text != entry.crash, text
        if new:
            log.error("screen_link_crashed", link=entry.link.name, error=text, exc_info=bug)
        entry.figures = replace(entry.figures, crashes=entry.figures.crashes + 1)
        return f"a fault of our own program: {text}"

    def _failed(self, entry: _Supervised, error: LinkError) -> None:
        was_stable = entry.status.state is LinkState.UP and self._clock() - entry.status.since >= STABLE_S
        entry.failures = 1 if was_stable else entry.failures + 1
        entry.figures = replace(entry.figures, failures=entry.figures.failures + 1)
        tell = log.warning if entry.failures == 1 else log.debug
        tell("screen_link_down", link=entry.link.name, fault=error.fault, reason=error.text, failures=entry.failures)
        if entry.status.state is LinkState.DOWN:
            entry.status = replace(entry.status, detail=error.text)
        else:
            self._set_state(entry, LinkState.DOWN, detail=error.text)

    def _set_state(self, entry: _Supervised, state: LinkState, *, firmware: str = "", detail: str = "") -> None:
        entry.status = replace(entry.status, state=state, firmware=firmware, detail=detail, since=self._clock())

    # LinkObserver

    def link_up(self, link: str, firmware: str) -> None:
        """Note that a display answers."""
        entry = self._links[link]
        if entry.status.state is not LinkState.UP:
            self._set_state(entry, LinkState.UP, firmware=firmware)
            entry.status = replace(entry.status, told=None)
            entry.figures = replace(entry.figures, opened=entry.figures.opened + 1)
            entry.has_status = True
            log.info("screen_link_up", link=link, firmware=firmware)
        self._ask_status(entry)

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """Note what a display was told last."""
        entry = self._links[link]
        entry.status = replace(entry.status, last_cue=cue)
        entry.figures = replace(entry.figures, sent=entry.figures.sent + 1)
        if self._on_wire:
            self._on_wire(link, cue, at)

    def link_event(self, link: str, event: LinkEvent) -> None:
        """Note what a display said, and pass it on."""
        entry = self._links[link]
        figures = entry.figures
        match event:
            case Shown(after_s=after_s):
                entry.figures = replace(entry.figures, confirmed=figures.confirmed + 1, rtt_ms=after_s * 1000)
            case Refused(message=message):
                entry.figures = replace(entry.figures, refused=figures.refused + 1)
                entry.has_status = entry.has_status and message != AskStatus.__name__
            case Told(message=Status() as status):
                entry.status = replace(entry.status, told=status)
            case Told():
                pass
        if self._on_event:
            self._on_event(link, event)


def _pause(failures: int) -> float:
    """Seconds before the next attempt: doubling up to the cap, half of it random, lest screens march in step."""
    longest = min(RETRY_CAP_S, RETRY_BASE_S * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret

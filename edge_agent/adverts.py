"""What the screens show by schedule, by the ad player's word and by command; a tap is told its campaign here.

Keeps the time of all three and opens the doors for the player. Nothing here waits for a screen, or for a player.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import structlog

from edge_agent.brightness import Brightness, Commanded, TimedLevel
from edge_agent.clock import Clock
from edge_agent.control import Op
from edge_agent.models import ClockTrust, Cue
from edge_agent.pace import Pace, left_out
from edge_agent.show_command import RestByCommand, ShowArgs, told
from edge_agent.showing.base import Report, Showing, Told
from edge_agent.showing.campaigns import Campaign
from edge_agent.showing.now_playing import NowPlaying, OnScreen
from edge_agent.showing.ops import now_playing_ops
from edge_agent.windows import LocalTime, Tick, parse
from firmware_bridge.cues import Advert, Words

if TYPE_CHECKING:
    from edge_agent.config import Settings
    from edge_agent.config.adverts import CampaignTable
    from edge_agent.screen import ScreenCues
    from edge_agent.uplink.wire import Command

log = structlog.get_logger(__name__)

LOG_EVERY_S = 10.0
"""A player that says another name all the time fills no log."""
PLAYER_HTTP, PLAYER_FILE = "player-http", "player-file"

Door = Callable[[], Awaitable[None]]
"""One way for the player to say what is showing, for as long as it runs."""


class Screens(Protocol):
    """What is needed of firmware_bridge's Bridge; no method waits for a screen."""

    def set_advert(self, advert: Advert) -> None:
        """Show another advert's words and colours."""

    def set_level(self, level: int) -> None:
        """Set the brightness, 0-100."""


class Adverts:
    """What is showing on one terminal; called on the event loop."""

    def __init__(self, settings: "Settings", screens: Screens, cues: "ScreenCues", clock: Clock) -> None:
        self._screens = screens
        self._cues = cues
        self._clock = clock
        self._playing = NowPlaying([_campaign(wanted) for wanted in settings.campaigns], settings.terminal.campaign)
        self._brightness = Brightness([TimedLevel(parse(item.window), item.level) for item in settings.brightness])
        self._rest = RestByCommand()
        self._player = settings.player
        self._on_screen: OnScreen | None = None
        self._level: int | None = None
        self._pace = Pace(LOG_EVERY_S)
        self._changed = asyncio.Event()

    def tell(self, told: Told) -> None:
        """Take a player's word: it holds at once."""
        now = self._clock.monotonic()
        self._show(self._playing.handle(told, now), now)
        self._changed.set()

    def show_by_command(self, command: "Command") -> str:
        """Carry `cmd/show` out; returns what is shown now. Raises WireError."""
        args, now = ShowArgs.decode(command.args), self._clock.monotonic()
        if args.cue is Cue.IDENTIFY:
            self._cues.identify()
        elif args.for_s is not None and args.cue is Cue.RESTING:
            self._rest.begin(args.for_s, now)
            self._cues.rest_by_command(on=True)
        if args.level is not None and args.for_s is not None:
            self._set_level(self._brightness.handle(Commanded(args.level, args.for_s), now))
        self._changed.set()
        return told(args)

    def showing(self) -> Showing:
        """What is on the screen now."""
        now = self._clock.monotonic()
        self._look(now)
        return self._playing.current.showing(now)

    def campaign_at(self, at: float) -> str | None:
        """Return the campaign that was on the screen at ``at`` (CLOCK_MONOTONIC seconds)."""
        return self._playing.campaign_at(at)

    def ops(self) -> dict[str, Op]:
        """What the control socket is asked about it."""
        return now_playing_ops(self.tell, self.showing)

    def doors(self, report: Callable[[str], Report]) -> dict[str, Door]:
        """The ways in that the player was given, by name; each runs until cancelled and reports how it is."""
        doors: dict[str, Door] = {}
        if self._player.port is not None:
            from edge_agent.showing.http_door import HttpDoor  # noqa: PLC0415 - most terminals have no such player

            door = HttpDoor(self._player.port, tell=self.tell, showing=self.showing, report=report(PLAYER_HTTP))
            doors[PLAYER_HTTP] = door.serve
        if self._player.file is not None:
            from edge_agent.showing.watched_file import WatchedFile  # noqa: PLC0415 - as above

            doors[PLAYER_FILE] = WatchedFile(self._player.file, tell=self.tell, report=report(PLAYER_FILE)).serve
        return doors

    async def run(self) -> None:
        """Keep the time of the schedules until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            self._look(now)
            due = min(self._playing.due, self._brightness.due, self._rest.due(now), self._pace.due)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - now)):
                    await self._changed.wait()

    def _look(self, now: float) -> None:
        tick = Tick(self._local())
        self._show(self._playing.handle(tick, now), now)
        self._set_level(self._brightness.handle(tick, now))
        self._cues.rest_by_command(on=self._rest.holds(now))
        self._pace.look(now)

    def _local(self) -> LocalTime | None:
        reading = self._clock.read()
        if reading.trust is ClockTrust.UNSET:
            return None
        return LocalTime.of(dt.datetime.fromtimestamp(reading.unix, tz=dt.UTC).astimezone())

    def _show(self, on_screen: OnScreen, now: float) -> None:
        before, self._on_screen = self._on_screen, on_screen
        if before is not None and (before.name, before.source) == (on_screen.name, on_screen.source):
            return
        named = {"campaign": on_screen.name, "source": on_screen.source}
        self._pace.say(lambda count: log.info("now_playing", **named, **left_out(count)), now)
        self._screens.set_advert(_advert(on_screen))

    def _set_level(self, level: int) -> None:
        if level != self._level:
            self._level = level
            self._screens.set_level(level)


def _campaign(wanted: "CampaignTable") -> Campaign:
    return Campaign(
        wanted.name,
        windows=tuple(parse(window) for window in wanted.windows),
        enabled=wanted.enabled,
        reward=wanted.reward,
        text_zh=wanted.text_zh,
        text_en=wanted.text_en,
        thanks_zh=wanted.thanks_zh,
        thanks_en=wanted.thanks_en,
        colours=wanted.colours,
    )


def _advert(on_screen: OnScreen) -> Advert:
    campaign = on_screen.campaign
    if campaign is None:
        return Advert()
    return Advert(
        invite=Words(campaign.text_zh, campaign.text_en),
        thanks=Words(campaign.thanks_zh, campaign.thanks_en),
        colours=campaign.colours,
        reward=on_screen.invites,
    )

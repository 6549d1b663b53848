"""What the screens show by schedule, word and command: told at once, ended in time, on a clock that the test turns."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.adverts import LOG_EVERY_S, PLAYER_FILE, PLAYER_HTTP, Adverts
from edge_agent.clock import FakeClock
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.models import ClockTrust
from edge_agent.screen import ScreenCues
from edge_agent.showing.base import Source, Told
from edge_agent.strict_json import WireError
from edge_agent.uplink.wire import Command
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Advert, CueName, Words
from tests.fakes.waiting import eventually

MONDAY_NOON = int(dt.datetime(2026, 11, 23, 12, 0).astimezone().timestamp())  # local, as people write windows

BASE = """
[terminal]
id = "t-1"
fleet = "f"
campaign = "house"
[uplink]
host = "localhost"
"""
TABLES = """
[[campaigns]]
name = "coffee"
windows = ["mon-fri 13:00-14:00"]
text_zh = "碰一碰 领咖啡券"
text_en = "Tap for a coffee"
thanks_en = "Enjoy your coffee"
colours = ["#ff5a36", "#ffb347"]
[[campaigns]]
name = "news"
reward = false
windows = ["mon 12:00-12:30"]
[[campaigns]]
name = "off"
enabled = false
[[brightness]]
window = "22:00-06:00"
level = 30
"""


class Screens:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.adverts: list[Advert] = []
        self.levels: list[int] = []

    def set_advert(self, advert: Advert) -> None:
        self.adverts.append(advert)

    def set_level(self, level: int) -> None:
        self.levels.append(level)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(unix=MONDAY_NOON - 60, trust=ClockTrust.SYNCED)


@pytest.fixture
def screens() -> Screens:
    return Screens()


@pytest.fixture
def bridge(clock: FakeClock) -> Bridge:
    return Bridge([], terminal_id="t-1", clock=clock.monotonic)


def made(folder: Path, clock: FakeClock, screens: Screens, bridge: Bridge, tables: str = TABLES) -> Adverts:
    path = folder / "agent.toml"
    path.write_text(BASE + tables, encoding="utf-8")
    return Adverts(checked(load(path, {})).settings, screens, ScreenCues(bridge, ()), clock)


@pytest.fixture
def adverts(tmp_path: Path, clock: FakeClock, screens: Screens, bridge: Bridge) -> Adverts:
    return made(tmp_path, clock, screens, bridge)


@asynccontextmanager
async def running(adverts: Adverts) -> AsyncIterator[None]:
    task = asyncio.create_task(adverts.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def told(name: str | None, life_s: float = 15.0) -> Told:
    return Told(name, life_s, Source.HTTP)


def test_a_word_holds_at_once_and_the_screens_get_what_its_table_says(adverts: Adverts, screens: Screens) -> None:
    adverts.tell(told("coffee"))
    assert adverts.campaign_at(adverts._clock.monotonic()) == "coffee"
    assert screens.adverts == [
        Advert(
            Words("碰一碰 领咖啡券", "Tap for a coffee"), Words("", "Enjoy your coffee"), ("#ff5a36", "#ffb347"), True
        )
    ]


@pytest.mark.parametrize("name", ["news", "off"])
def test_an_advert_without_a_reward_invites_nobody(adverts: Adverts, screens: Screens, name: str) -> None:
    adverts.tell(told(name))
    assert not screens.adverts[-1].reward
    adverts.tell(told("a stranger"))
    assert screens.adverts[-1] == Advert()


def test_a_word_that_is_renewed_tells_the_screens_nothing_new(adverts: Adverts, screens: Screens) -> None:
    for _ in range(3):
        adverts.tell(told("coffee"))
    assert len(screens.adverts) == 1


async def test_a_player_that_never_rests_fills_no_log_and_its_last_word_is_told(
    adverts: Adverts, clock: FakeClock
) -> None:
    with capture_logs() as logs:
        for number in range(1000):
            adverts.tell(told(f"c-{number}"))
            clock.advance(0.01)
        clock.advance(LOG_EVERY_S)
        adverts.showing()
    assert [(line["campaign"], line.get("left_out")) for line in logs] == [("c-0", None), ("c-999", 998)]


async def test_the_schedule_comes_and_goes_by_the_local_time(
    adverts: Adverts, screens: Screens, clock: FakeClock
) -> None:
    shown = [adverts.showing().campaign]
    for _ in range(4):
        clock.advance(30 * 60)
        shown.append(adverts.showing().campaign)
    assert shown == ["house", "news", "house", "coffee", "coffee"]
    assert [advert.reward for advert in screens.adverts] == [True, False, True, True]


async def test_a_word_ends_by_itself_and_the_tap_of_before_keeps_its_campaign(
    adverts: Adverts, clock: FakeClock
) -> None:
    adverts.tell(told("coffee", life_s=10))
    clock.advance(9.9)
    seen_at = clock.monotonic()
    clock.advance(0.2)
    assert adverts.showing().campaign == "house"
    assert (adverts.campaign_at(seen_at), adverts.campaign_at(clock.monotonic())) == ("coffee", "house")


async def test_a_clock_that_is_not_trusted_schedules_nothing(tmp_path: Path, screens: Screens, bridge: Bridge) -> None:
    clock = FakeClock(unix=MONDAY_NOON, trust=ClockTrust.UNSET)
    adverts = made(tmp_path, clock, screens, bridge)
    assert adverts.showing().campaign == "house"
    clock.trust = ClockTrust.SYNCED
    assert adverts.showing().campaign == "news"


async def test_the_night_is_dim_and_a_command_brighter_for_its_time(
    adverts: Adverts, screens: Screens, clock: FakeClock
) -> None:
    adverts.showing()
    clock.advance(11 * 3600)
    adverts.showing()
    assert screens.levels == [100, 30]
    detail = adverts.show_by_command(Command("show", "1", 1, {"level": 80, "for_s": 600}))
    assert (screens.levels[-1], detail) == (80, "level 80 for 600 s")
    clock.advance(601)
    adverts.showing()
    assert screens.levels[-1] == 30


async def test_a_command_rests_the_screens_for_its_time_and_identifies(
    adverts: Adverts, bridge: Bridge, clock: FakeClock
) -> None:
    adverts.show_by_command(Command("show", "1", 1, {"cue": "resting", "for_s": 60}))
    assert bridge.current is CueName.RESTING
    adverts.show_by_command(Command("show", "2", 1, {"cue": "identify"}))
    assert bridge.current is CueName.IDENTIFY
    clock.advance(61)
    adverts.showing()
    bridge.show(CueName.INVITE)
    assert bridge.current is CueName.INVITE


def test_a_command_that_would_lie_is_refused(adverts: Adverts, screens: Screens) -> None:
    with pytest.raises(WireError):
        adverts.show_by_command(Command("show", "1", 1, {"cue": "thanks", "amount": 100}))
    assert screens.levels == []


async def test_time_is_kept_without_anybody_asking_and_without_spinning(
    tmp_path: Path, screens: Screens, bridge: Bridge
) -> None:
    clock = FakeClock(unix=MONDAY_NOON + 10, trust=ClockTrust.SYNCED)
    adverts = made(tmp_path, clock, screens, bridge)
    async with running(adverts):
        assert (len(screens.adverts), screens.levels) == (1, [100])
        adverts.tell(told("coffee", life_s=30))
        clock.advance(31)
        adverts.tell(told(None))  # wakes the keeper of the time: a clock of the test wakes nobody
        await eventually(lambda: len(screens.adverts) == 3)
        looks = 0
        read = clock.read

        def counted() -> object:
            nonlocal looks
            looks += 1
            return read()

        vars(clock)["read"] = counted
        await asyncio.sleep(0.05)
        assert looks <= 1


def test_the_player_gets_the_doors_of_the_settings(
    tmp_path: Path, clock: FakeClock, screens: Screens, bridge: Bridge
) -> None:
    silent = made(tmp_path, clock, screens, bridge).doors(lambda _name: lambda _state, _text: None)
    player = f'[player]\nport = 0\nfile = "{tmp_path}/now.json"\n'
    both = made(tmp_path, clock, screens, bridge, player).doors(lambda _name: lambda _state, _text: None)
    assert (list(silent), list(both)) == ([], [PLAYER_HTTP, PLAYER_FILE])

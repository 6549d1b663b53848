"""What displays say becomes alarms, figures and lines of the log; a stuck switch floods none of them."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from edge_agent.clock import FakeClock
from edge_agent.outbox.base import Notice
from edge_agent.screen_events import (
    FAULT_ALARM,
    RESET_ALARM,
    TAMPER_ALARM,
    TELL_EVERY_S,
    ScreenEvents,
    ScreenFacts,
)
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkEvent
from firmware_bridge.messages import EventCode, McuEvent, NakReason, Status
from firmware_bridge.protocol import Refused, Shown, Told


class World:
    """The events of a terminal's displays, with what came of them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[Notice] = []
        self.at: list[float] = []
        self.events = ScreenEvents(self._tell, self.clock)

    def _tell(self, notice: Notice) -> None:
        self.told.append(notice)
        self.at.append(self.clock.monotonic())

    def say(self, event: McuEvent | Status | LinkEvent, link: str = "serial0") -> None:
        self.events.heard(link, Told(event) if isinstance(event, McuEvent | Status) else event)

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.events.look()

    def status(self, uptime_s: float, *, temperature: int = 30, faults: int = 0, link: str = "serial0") -> None:
        self.say(Status(CueName.INVITE, int(uptime_s * 1000), temperature, faults), link)

    def took(self) -> list[tuple[str, dict[str, int | str]]]:
        found = [(notice.code, dict(notice.data)) for notice in self.told]
        self.told.clear()
        return found


@pytest.fixture
def world() -> World:
    return World()


TAMPER = McuEvent(EventCode.TAMPER)
WATCHDOG = McuEvent(EventCode.WATCHDOG_RESET)


def button(number: int = 1) -> McuEvent:
    return McuEvent(EventCode.BUTTON, bytes((number,)))


def test_tampering_and_a_watchdog_reset_are_alarms_that_name_the_screen(world: World) -> None:
    world.say(TAMPER)
    world.say(WATCHDOG, "serial1")
    assert [notice.text for notice in world.told] == [
        "the tamper switch of serial0 says that it was opened",
        "the display of serial1 was restarted by its own watchdog",
    ]
    assert world.took() == [(TAMPER_ALARM, {"screen": "serial0"}), (RESET_ALARM, {"screen": "serial1"})]
    assert (world.events.of("serial0").tampers, world.events.of("serial1").resets) == (1, 1)


def test_a_stuck_switch_is_told_once_a_minute_with_the_count_of_the_others(world: World) -> None:
    for _ in range(600):
        world.say(TAMPER)
        world.wait(0.1)
    world.wait(1)
    # One at the beginning; 599 after it, of which the last is told when the minute is over.
    assert world.took() == [
        (TAMPER_ALARM, {"screen": "serial0"}),
        (TAMPER_ALARM, {"screen": "serial0", "left_out": 598}),
    ]
    world.wait(10 * TELL_EVERY_S)
    assert world.took() == []
    world.say(TAMPER)
    assert world.took() == [(TAMPER_ALARM, {"screen": "serial0"})]
    assert world.events.of("serial0").tampers == 601


def test_one_kind_and_one_screen_take_no_minute_from_another(world: World) -> None:
    for link in ("a", "b"):
        world.say(TAMPER, link)
        world.say(WATCHDOG, link)
    assert len(world.took()) == 4


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(1, 5)), max_size=40))
def test_no_minute_has_more_than_one_alarm_and_none_is_forgotten(bursts: list[tuple[float, int]]) -> None:
    world, raised = World(), 0
    for pause, count in bursts:
        world.wait(pause)
        for _ in range(count):
            world.say(TAMPER)
            raised += 1
    world.wait(TELL_EVERY_S + 1)
    assert sum(1 + int(notice.data.get("left_out", 0)) for notice in world.told) == raised
    assert all(later - earlier > TELL_EVERY_S - 0.001 for earlier, later in pairwise(world.at))


def test_new_fault_bits_are_an_alarm_old_ones_are_not_and_their_end_is_logged(world: World) -> None:
    world.status(1, faults=0)
    assert world.took() == []
    world.wait(60)
    world.status(61, faults=0b01)
    world.wait(60)
    world.status(121, faults=0b01)
    world.wait(60)
    world.status(181, faults=0b101)
    assert [notice.text for notice in world.told] == [
        "the display of serial0 reports fault bits 0x0001, new is 0x0001",
        "the display of serial0 reports fault bits 0x0005, new is 0x0004",
    ]
    assert world.took() == [
        (FAULT_ALARM, {"screen": "serial0", "bits": 1, "new": 1}),
        (FAULT_ALARM, {"screen": "serial0", "bits": 5, "new": 4}),
    ]
    with capture_logs() as logs:
        world.status(182, faults=0)
        world.status(183, faults=0)
    assert [(entry["event"], entry["before"]) for entry in logs] == [("screen_faults_over", "0x0005")]


def test_a_display_that_is_faulty_when_it_is_first_heard_is_told(world: World) -> None:
    world.status(9, faults=0x8000)
    assert world.took() == [(FAULT_ALARM, {"screen": "serial0", "bits": 0x8000, "new": 0x8000})]


DAY_S = 86_400.0
WRAP_S = 2**32 / 1000


@pytest.mark.parametrize(
    ("before_s", "passed_s", "after_s", "reset"),
    [
        (100, 60, 160, False),
        (100, 60, 155, False),  # its clock is poor
        (100, 60, 99, True),  # it went back
        (1, 60, 5, True),  # it is up for longer than it was, but for far less than the time that passed
        (1, 3, 1, False),  # asked twice in a moment
        (WRAP_S - 30, 60, 30, False),  # the count of 32 bits began again
        (WRAP_S - 30, 60, 5000, True),
        (50 * DAY_S % WRAP_S, 2 * DAY_S, 52 * DAY_S % WRAP_S, False),
        (100, 3600, 3700, False),  # the link was down meanwhile
    ],
)
def test_a_restart_is_known_by_the_time_that_the_display_is_up(
    world: World, before_s: float, passed_s: float, after_s: float, reset: bool
) -> None:
    world.status(before_s)
    world.clock.advance(passed_s)
    world.status(after_s)
    assert [code for code, _ in world.took()] == [RESET_ALARM] * reset
    assert world.events.of("serial0").resets == reset


@given(st.integers(0, 2**32 - 1), st.floats(0, 30 * DAY_S), st.floats(-0.05, 0.05))
def test_a_display_that_only_runs_on_is_never_said_to_have_restarted(
    before_ms: int, passed_s: float, drift: float
) -> None:
    world = World()
    world.say(Status(None, before_ms, 20))
    world.clock.advance(passed_s)
    world.say(Status(None, (before_ms + int(passed_s * 1000 * (1 + drift))) % 2**32, 20))
    assert world.took() == []


@pytest.mark.parametrize("event_first", [True, False])
def test_a_restart_that_a_display_says_and_its_uptime_shows_is_one(world: World, event_first: bool) -> None:
    up_s = 500.0
    for restarts in (1, 2, 3):
        world.status(up_s)
        world.wait(60)
        if event_first:
            world.say(WATCHDOG)
        world.wait(1)
        world.status(1.5)
        if not event_first:
            world.wait(1)
            world.say(WATCHDOG)
        assert world.events.of("serial0").resets == restarts
        world.wait(300)
        up_s = 301.5
    told = [notice.text for notice in world.told]
    assert told.count("the display of serial0 was restarted by its own watchdog") == 3
    assert len(told) == (3 if event_first else 6)


def test_a_restart_of_which_a_display_says_nothing_is_another_one(world: World) -> None:
    world.status(500)
    world.wait(60)
    world.say(WATCHDOG)
    world.wait(60)
    world.status(2)
    assert world.events.of("serial0").resets == 2
    assert [code for code, _ in world.took()] == [RESET_ALARM, RESET_ALARM]


def test_presses_are_counted_and_logged_and_no_alarm(world: World) -> None:
    with capture_logs() as logs:
        for _ in range(50):
            world.say(button(2))
        world.wait(TELL_EVERY_S + 1)
    assert [(entry["event"], entry["button"], entry["pressed"], entry.get("left_out")) for entry in logs] == [
        ("screen_button", 2, 1, None),
        ("screen_button", 2, 50, 48),
    ]
    assert world.took() == []
    assert world.events.figures(up={"serial0"}) == {"screen_buttons": 50}


def test_light_and_temperature_are_those_of_the_displays_that_are_there(world: World) -> None:
    assert world.events.figures(up={"a", "b"}) == {}
    world.say(McuEvent(EventCode.AMBIENT_LIGHT, b"\x01\x2c"), "a")
    world.say(McuEvent(EventCode.AMBIENT_LIGHT, b"\xff\xff"), "b")
    world.status(1, temperature=-20, link="a")
    world.status(1, temperature=71, link="b")
    assert world.events.figures(up={"a", "b"}) == {"screen_lux": 65535, "screen_temp": 71}
    assert world.events.figures(up={"a"}) == {"screen_lux": 300, "screen_temp": -20}
    world.say(TAMPER, "b")
    world.say(WATCHDOG, "b")
    assert world.events.figures(up=()) == {"screen_tampers": 1, "screen_resets": 1}


@pytest.mark.parametrize(
    "odd",
    [
        McuEvent(EventCode.BUTTON),
        McuEvent(EventCode.BUTTON, b"ab"),
        McuEvent(EventCode.TAMPER, b"\x1b[2J"),
        McuEvent(EventCode.AMBIENT_LIGHT, b"\x01"),
        McuEvent(EventCode.WATCHDOG_RESET, b"x"),
        McuEvent(0),
        McuEvent(200, b"\x1b[31m\n"),
    ],
)
def test_what_the_protocol_does_not_have_is_noted_in_hex_and_is_nothing_else(world: World, odd: McuEvent) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            world.say(odd)
    assert [(entry["event"], entry["code"], entry["data"]) for entry in logs] == [
        ("screen_event", odd.code, odd.data.hex())
    ]
    assert world.events.of("serial0") == ScreenFacts(others=20)
    assert world.took() == []


def test_a_refusal_is_logged_and_a_confirmed_cue_is_no_news(world: World) -> None:
    with capture_logs() as logs:
        world.say(Shown(CueName.THANKS, 0.01))
        for _ in range(3):
            world.say(Refused("thanks\n", NakReason.BAD_PAYLOAD))
    (entry,) = logs
    assert (entry["message"], entry["reason"]) == ("thanks\\n", "bad_payload")


EVENTS: st.SearchStrategy[Any] = st.one_of(
    st.builds(McuEvent, st.integers(0, 255), st.binary(max_size=32)),
    st.builds(Status, st.none(), st.integers(0, 2**32 - 1), st.integers(-128, 127), st.integers(0, 65535)),
    st.builds(Refused, st.text(max_size=40), st.sampled_from(NakReason)),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 1)), max_size=80))
def test_whatever_displays_say_in_less_than_a_minute_is_three_alarms_and_five_lines(
    said: list[tuple[Any, float]],
) -> None:
    world = World()
    with capture_logs() as logs:
        for event, pause in said:
            world.say(event)
            world.wait(pause * 0.7)
    assert len({notice.code for notice in world.told}) == len(world.told) <= 3
    assert len({entry["event"] for entry in logs}) == len(logs) <= 5
    assert all(notice.text.isprintable() and len(notice.text) <= 120 for notice in world.told)

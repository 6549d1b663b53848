"""The level of the screens: a command for its time, then the schedule; full where nobody knows the time."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.brightness import Brightness, Commanded, TimedLevel
from edge_agent.windows import LocalTime, Tick, Window, parse

NIGHT = TimedLevel(parse("22:00-06:00"), 20)
EVENING = TimedLevel(parse("18:00-24:00"), 60)
SCHEDULE = (NIGHT, EVENING)
NOON = Tick(LocalTime(0, 12 * 3600))
AT_EIGHT = Tick(LocalTime(0, 20 * 3600 + 30))
AT_ELEVEN = Tick(LocalTime(0, 23 * 3600))


def test_without_a_schedule_and_a_command_the_screens_are_bright() -> None:
    assert Brightness().handle(NOON, 0.0) == 100


def test_the_first_window_that_holds_counts_and_outside_of_all_it_is_bright() -> None:
    brightness = Brightness(SCHEDULE)
    assert [brightness.handle(tick, 0.0) for tick in (NOON, AT_EIGHT, AT_ELEVEN)] == [100, 60, 20]


def test_a_clock_that_is_not_trusted_darkens_nothing() -> None:
    brightness = Brightness(SCHEDULE)
    assert brightness.handle(AT_ELEVEN, 0.0) == 20
    assert brightness.handle(Tick(None), 60.0) == 100
    assert brightness.due == 70.0


def test_a_command_holds_until_its_end_and_then_the_schedule_again() -> None:
    brightness = Brightness(SCHEDULE)
    brightness.handle(AT_EIGHT, 0.0)
    assert brightness.due == 30.0
    assert brightness.handle(Commanded(35, 10), 1.0) == 35
    assert brightness.due == 11.0
    assert brightness.handle(AT_ELEVEN, 10.999) == 35
    assert brightness.handle(AT_ELEVEN, 11.0) == 20


def test_the_newest_command_counts_and_a_short_one_ends_a_long_one() -> None:
    brightness = Brightness()
    brightness.handle(Commanded(10, 86_400), 0.0)
    assert brightness.handle(Commanded(90, 1), 5.0) == 90
    assert brightness.handle(Tick(None), 6.0) == 100


def test_the_first_tick_is_wanted_at_once() -> None:
    assert Brightness(SCHEDULE).due == 0.0


# Against a model that looks at the whole history.

levels = st.integers(5, 100)
schedules = st.lists(
    st.builds(
        TimedLevel,
        st.builds(
            Window,
            st.frozensets(st.integers(0, 6), min_size=1),
            st.integers(0, 700),
            st.integers(701, 1440),
        ),
        levels,
    ),
    max_size=4,
)
ticks = st.builds(Tick, st.none() | st.builds(LocalTime, st.integers(0, 6), st.integers(0, 86_399)))
events = st.lists(
    st.tuples(st.integers(0, 100), ticks | st.builds(Commanded, levels, st.integers(1, 200))), max_size=30
)


@dataclass
class Model:
    """All commands and looks so far, the newest last."""

    schedule: list[TimedLevel]
    commands: list[tuple[float, Commanded]]
    looks: list[Tick]

    def level(self, now: float) -> int:
        if self.commands and now < self.commands[-1][0] + self.commands[-1][1].for_s:
            return self.commands[-1][1].level
        local = self.looks[-1].local if self.looks else None
        held = [timed.level for timed in self.schedule if local and timed.window.contains(local)]
        return [*held, 100][0]


@given(schedules, events)
def test_the_level_is_that_of_the_model_and_the_due_time_lies_ahead(
    schedule: list[TimedLevel], steps: list[tuple[int, Tick | Commanded]]
) -> None:
    brightness, model, now = Brightness(schedule), Model(schedule, [], []), 0.0
    for gap, event in steps:
        now += gap
        if isinstance(event, Commanded):
            model.commands.append((now, event))
        else:
            model.looks.append(event)
        level = brightness.handle(event, now)
        assert level == model.level(now)
        assert 5 <= level <= 100
        if isinstance(event, Tick):
            assert now < brightness.due <= now + 60

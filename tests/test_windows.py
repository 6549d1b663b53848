"""The windows of a schedule: against a week counted minute by minute, and over the jumps of a local clock."""

import datetime as dt
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.windows import DAYS, LONGEST, LocalTime, Window, WindowError, parse, until_next_look

MINUTES = 24 * 60
WEEK = 7 * MINUTES
# The two jumps of 2026 in Central Europe: 02:00 becomes 03:00 on 29 March, 03:00 becomes 02:00 on 25 October.
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


def at(day: str, clock: str) -> LocalTime:
    hours, minutes, *seconds = map(int, clock.split(":"))
    return LocalTime(DAYS.index(day), hours * 3600 + minutes * 60 + sum(seconds))


def held_by(window: Window) -> set[int]:
    """The minutes of the week, from Monday 00:00, at which it holds."""
    return {minute for minute in range(WEEK) if window.contains(LocalTime(minute // MINUTES, minute % MINUTES * 60))}


@st.composite
def windows(draw: st.DrawFn) -> Window:
    begin = draw(st.integers(0, MINUTES - 1))
    end = draw(st.integers(1, MINUTES).filter(lambda minute: minute != begin))
    return Window(frozenset(draw(st.sets(st.integers(0, 6), min_size=1))), begin, end)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "mon-fri 07:00-09:30",
            [("mon", "07:00"), ("fri", "09:29:59")],
            [("mon", "06:59:59"), ("fri", "09:30"), ("sat", "08:00")],
        ),
        ("sat,sun 10:00-22:00", [("sat", "10:00"), ("sun", "21:59")], [("fri", "12:00"), ("sun", "22:00")]),
        (
            "22:00-06:30",
            [("wed", "22:00"), ("wed", "00:00"), ("sun", "06:29:59")],
            [("wed", "06:30"), ("sun", "21:59")],
        ),
        (
            "fri 22:00-06:30",
            [("fri", "22:00"), ("sat", "06:29")],
            [("fri", "06:29"), ("sat", "22:00"), ("sat", "06:30")],
        ),
        ("sun 23:00-01:00", [("sun", "23:00"), ("mon", "00:59")], [("sun", "00:30"), ("mon", "23:00")]),
        ("mon-sun", [("mon", "00:00"), ("sun", "23:59:59")], []),
        ("tue 18:00-24:00", [("tue", "23:59:59")], [("wed", "00:00"), ("tue", "17:59")]),
        ("tue 18:00-00:00", [("tue", "23:59:59")], [("wed", "00:00"), ("tue", "00:00")]),
        ("sat-mon 12:00-13:00", [("sat", "12:00"), ("sun", "12:00"), ("mon", "12:00")], [("tue", "12:00")]),
        ("MON  07:00-08:00 ", [("mon", "07:30")], [("tue", "07:30")]),
    ],
)
def test_a_window_holds_where_it_says(text: str, inside: list[tuple[str, str]], outside: list[tuple[str, str]]) -> None:
    window = parse(text)
    assert [moment for moment in inside if not window.contains(at(*moment))] == []
    assert [moment for moment in outside if window.contains(at(*moment))] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty: write days, a time or both with a blank between them"),
        ("   ", "it is empty"),
        ("mon fri 07:00-09:30", "more than two parts"),
        ("mon," * LONGEST + "mon", "longer than 64 characters"),
        ("monday", '"monday" is no weekday: write mon, tue, wed, thu, fri, sat or sun'),
        ("mon-", '"" is no weekday'),
        ("mon,,tue", '"" is no weekday'),
        ("07:00-09:30 mon", "the time comes first: write the days, a blank, then the time"),
        ("mon 07:00", '"07:00" has no end: write two times, such as 07:00-09:30'),
        ("mon 7:00-9:30", '"7:00" is no time of day: write HH:MM from 00:00 to 24:00, such as 07:00'),
        ("07:00-24:01", '"24:01" is no time of day'),
        ("07:60-08:00", '"07:60" is no time of day'),
        ("07:00-08:00-09:00", '"08:00-09:00" is no time of day'),
        ("\u0660\u0667:00-08:00", "is no time of day"),  # 07:00 in Arabic digits
        ("mon\x1b[2J", r'"mon\\x1b\[2j" is no weekday'),
        ("24:00-06:00", '"24:00" can be an end only: write 00:00'),
        ("08:00-08:00", "begins and ends at the same time: write 00:00-24:00 for a whole day"),
        ("mon 00:00-00:00", "begins and ends at the same time"),
    ],
)
def test_what_is_no_window_is_told_with_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(WindowError, match=problem) as caught:
        parse(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("mon,tue,wed,fri", "mon-wed,fri"),
        ("sun,sat 10:00-22:00", "sat,sun 10:00-22:00"),
        ("sat-mon", "mon,sat,sun"),
        ("mon-sun 07:00-08:00", "07:00-08:00"),
        ("00:00-24:00", "mon-sun"),
        ("tue 18:00-00:00", "tue 18:00-24:00"),
    ],
)
def test_a_window_is_printed_in_one_way(text: str, printed: str) -> None:
    assert str(parse(text)) == printed


@given(windows())
def test_what_is_printed_is_read_back(window: Window) -> None:
    assert parse(str(window)) == window
    assert len(str(window)) <= LONGEST


@given(windows())
def test_a_week_is_covered_exactly(window: Window) -> None:
    length = (window.end - window.begin) % MINUTES or MINUTES
    model = {(day * MINUTES + window.begin + ahead) % WEEK for day in window.days for ahead in range(length)}
    assert held_by(window) == model


@given(windows(), st.integers(0, 6), st.integers(0, MINUTES - 1), st.integers(0, 59))
def test_every_second_of_a_minute_is_as_its_first(window: Window, day: int, minute: int, second: int) -> None:
    assert window.contains(LocalTime(day, minute * 60 + second)) == window.contains(LocalTime(day, minute * 60))


@given(st.text(max_size=20) | st.text("monsatu0123456789:-, ", max_size=24))
def test_any_text_is_a_window_or_one_clear_error(text: str) -> None:
    window, problem = None, ""
    try:
        window = parse(text)
    except WindowError as error:
        problem = str(error)
    assert parse(str(window)) == window if window else problem.isprintable() and problem


@pytest.mark.parametrize(
    ("days", "begin", "end"), [(set(), 0, 1), ({7}, 0, 1), ({0}, -1, 1), ({0}, 1440, 1), ({0}, 0, 1441), ({0}, 5, 5)]
)
def test_a_window_that_cannot_be_is_refused(days: set[int], begin: int, end: int) -> None:
    with pytest.raises(ValueError, match="no window"):
        Window(frozenset(days), begin, end)


@given(st.integers(0, 86_399))
def test_the_next_look_is_at_the_next_full_minute(second: int) -> None:
    wait = until_next_look(LocalTime(0, second))
    assert 0 < wait <= 60
    assert (second + wait) % 60 == 0


def test_a_clock_that_is_not_trusted_is_looked_at_soon_again() -> None:
    assert until_next_look(None) == 10


# Summer time: the local time jumps, nothing else is known of it.


@pytest.fixture
def in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = BERLIN
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def minutes_held(window: Window, day: dt.date) -> int:
    """How many real minutes of this day, midnight to midnight by the wall clock, the window holds."""
    first = int(dt.datetime.combine(day, dt.time()).timestamp())
    last = int(dt.datetime.combine(day + dt.timedelta(days=1), dt.time()).timestamp())
    moments = (LocalTime.of(dt.datetime.fromtimestamp(unix)) for unix in range(first, last, 60))  # noqa: DTZ006 - local
    return sum(window.contains(moment) for moment in moments)


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("day", "whole", "night", "jumped"),
    [
        (dt.date(2026, 3, 22), 1440, 120, 60),
        (dt.date(2026, 3, 29), 1380, 60, 0),
        (dt.date(2026, 10, 25), 1500, 180, 120),
    ],
    ids=["no jump", "forward", "back"],
)
def test_a_window_follows_the_clock_on_the_wall_when_it_jumps(
    day: dt.date, whole: int, night: int, jumped: int
) -> None:
    assert minutes_held(parse("sun"), day) == whole
    assert minutes_held(parse("01:30-03:30"), day) == night
    assert minutes_held(parse("02:00-03:00"), day) == jumped

"""News of one kind: the first at once, never two within the time, the last never lost, each counted once."""

from functools import partial
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.pace import Pace, left_out


@given(st.lists(st.integers(0, 250), max_size=60))
def test_no_news_is_lost_or_told_too_soon(gaps_tenths: list[int]) -> None:
    pace, said = Pace(10.0), list[tuple[int, int]]()
    now = 100.0
    for number, gap in enumerate(gaps_tenths):
        now += gap / 10
        pace.look(now)
        pace.say(partial(lambda number, count: said.append((number, count)), number), now)
        assert pace.due == inf or now < pace.due <= now + 10.0
    waiting = pace.due
    if waiting < inf:
        pace.look(waiting)
    assert pace.due == inf
    assert sum(1 + count for _, count in said) == len(gaps_tenths)
    assert [number for number, _ in said][-1:] == ([len(gaps_tenths) - 1] if gaps_tenths else [])


def test_two_are_never_said_within_the_time() -> None:
    pace, now, at = Pace(10.0), 0.0, list[float]()
    for tenth in range(1000):
        now = tenth / 10
        pace.say(lambda _count: at.append(now), now)  # noqa: B023 - said at the time that it is then
    assert at == [0.0, *(10.0 * number for number in range(1, 10))]


def test_only_a_count_of_some_is_told() -> None:
    assert (left_out(0), left_out(3)) == ({}, {"left_out": 3})

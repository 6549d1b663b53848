import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import Backoff
from edge_agent.errors import EdgeAgentError


class Highest(random.Random):
    """Always the upper end of the interval."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base=1, cap=300, rng=Highest())
    assert [backoff.next_delay(0) for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert backoff.failures == 11


def test_it_starts_over_only_after_a_stable_minute() -> None:
    backoff = Backoff(base=1, cap=300, stable_after=60, rng=Highest())
    backoff.next_delay(0)
    backoff.next_delay(0)
    backoff.succeeded(100)
    assert backoff.next_delay(159.9) == 4
    backoff.succeeded(200)
    assert backoff.next_delay(260) == 1


def test_a_second_success_does_not_restart_the_minute() -> None:
    backoff = Backoff(base=1, cap=300, stable_after=60, rng=Highest())
    backoff.next_delay(0)
    backoff.succeeded(100)
    backoff.succeeded(150)
    assert backoff.next_delay(160) == 1


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1000)), max_size=200),
    st.floats(0.01, 10),
    st.floats(10, 1000),
    st.integers(),
)
def test_any_history_stays_between_zero_and_the_cap(
    history: list[tuple[bool, float]], base: float, cap: float, seed: int
) -> None:
    backoff = Backoff(base=base, cap=cap, rng=random.Random(seed))
    now = 0.0
    for success, passed in history:
        now += passed
        if success:
            backoff.succeeded(now)
        else:
            assert 0 <= backoff.next_delay(now) <= cap


def test_a_fleet_does_not_come_back_in_step() -> None:
    delays = {round(Backoff(base=64).next_delay(0), 3) for _ in range(100)}
    assert len(delays) > 50


@pytest.mark.parametrize("wrong", [{"base": 0}, {"base": 2, "cap": 1}, {"stable_after": -1}])
def test_a_wrong_setting_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(EdgeAgentError, match="back-off needs"):
        Backoff(**wrong)  # type: ignore[arg-type] # only numbers are given

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.presence import Presence, RetryAllowance


def test_gone_only_after_the_debounce_time() -> None:
    presence = Presence(gone_after_s=0.4)
    assert not presence.observe(present=False, now=10.0)
    assert not presence.observe(present=False, now=10.3)
    assert presence.observe(present=False, now=10.4)


def test_a_short_dropout_starts_the_time_anew() -> None:
    presence = Presence(gone_after_s=0.4)
    presence.observe(present=False, now=10.0)
    presence.observe(present=True, now=10.3)
    assert not presence.observe(present=False, now=10.4)
    assert not presence.observe(present=False, now=10.7)
    assert presence.observe(present=False, now=10.8)


def test_one_missed_check_is_never_enough_however_late_it_comes() -> None:
    presence = Presence(gone_after_s=0.4)
    presence.observe(present=True, now=10.0)
    assert not presence.observe(present=False, now=99.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.5)), max_size=50))
def test_gone_means_unseen_for_the_whole_time(checks: list[tuple[bool, float]]) -> None:
    presence, now, last_seen = Presence(gone_after_s=0.4), 0.0, 0.0
    for present, pause in checks:
        now += pause
        gone = presence.observe(present=present, now=now)
        if present:
            last_seen = now
        assert not gone or now - last_seen >= 0.4


def test_a_lost_phone_may_retry_for_some_time_without_leaving() -> None:
    allowance = RetryAllowance(for_s=4.0, within_s=1.0)
    assert [allowance.lost(float(i), i + 0.5) for i in range(6)] == [True, True, True, True, False, False]


def test_a_slow_approach_of_many_quick_failures_is_no_broken_card() -> None:
    allowance = RetryAllowance(for_s=4.0, within_s=1.0)
    assert all(allowance.lost(i / 10, i / 10 + 0.05) for i in range(30))


def test_a_phone_that_left_and_came_back_starts_anew() -> None:
    allowance = RetryAllowance(for_s=1.0, within_s=1.0)
    assert allowance.lost(0.0, 0.9)
    assert not allowance.lost(1.5, 2.0)
    assert allowance.lost(3.5, 4.0)


def test_a_served_phone_starts_a_new_series() -> None:
    allowance = RetryAllowance(for_s=1.0, within_s=1.0)
    assert allowance.lost(0.0, 0.9)
    allowance.served()
    assert allowance.lost(1.1, 1.2)

"""The silence on a link: who is asked, who is called dead, and who is not."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.silence import ANSWER_WITHIN, ASK_AFTER, DEAD_AFTER, Look, Silence


def test_a_dead_peer_is_asked_once_and_noticed_before_one_and_a_half_keep_alives() -> None:
    silence = Silence(0.0)
    now, said = 0.0, []
    while not said or said[-1][0] is not Look.DEAD:
        now += silence.next_look(10.0, now) or 0.0
        said.append((silence.look(10.0, now), now))
    assert said == [(Look.ASK, 5.0), (Look.DEAD, 12.5)]


def test_without_a_keep_alive_there_is_no_watch() -> None:
    silence = Silence(0.0)
    assert silence.look(0, 1e6) is Look.WAIT
    assert silence.next_look(0, 1e6) is None


def test_a_peer_that_answers_in_time_is_asked_again_and_again_and_never_dead() -> None:
    silence = Silence(0.0)
    now = 0.0
    for _ in range(50):
        now += silence.next_look(5.0, now) or 0.0
        assert silence.look(5.0, now) is Look.ASK
        now += 0.7 * 5.0
        assert silence.look(5.0, now) is Look.WAIT, "three seconds and a half are a slow line, not a dead one"
        silence.heard(now)


def test_a_watcher_that_slept_too_long_asks_before_it_judges() -> None:
    silence = Silence(0.0)
    assert silence.look(10.0, 1000.0) is Look.ASK
    assert silence.look(10.0, 1004.9) is Look.WAIT
    assert silence.look(10.0, 1005.0) is Look.DEAD


@given(
    st.floats(1.0, 120.0),
    st.lists(st.tuples(st.floats(0.01, 40.0), st.booleans()), max_size=60),
)
def test_dead_is_only_who_was_asked_and_had_its_time(keepalive: float, steps: list[tuple[float, bool]]) -> None:
    silence = Silence(0.0)
    now = heard_at = 0.0
    asked_at: float | None = None
    for pause, hears in steps:
        now += pause
        if hears:
            silence.heard(now)
            heard_at, asked_at = now, None
        look = silence.look(keepalive, now)
        if look is Look.ASK:
            assert asked_at is None, "asked twice in one silence"
            assert now - heard_at >= ASK_AFTER * keepalive - 1e-6
            asked_at = now
        elif look is Look.DEAD:
            assert asked_at is not None
            assert now - heard_at >= DEAD_AFTER * keepalive - 1e-6
            assert now - asked_at >= ANSWER_WITHIN * keepalive - 1e-6
        due = silence.next_look(keepalive, now)
        assert due is not None
        if look is Look.WAIT:
            assert silence.look(keepalive, now + due * 0.999) is Look.WAIT or due < 1e-6

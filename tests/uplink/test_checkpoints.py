"""When the end of the chain is sworn to."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.checkpoints import EVERY_S, EVERY_TAPS, Checkpoints

CHAIN, OTHER = b"chain--1", b"chain--2"


def test_nobody_swears_to_a_chain_without_a_token() -> None:
    checkpoints = Checkpoints()
    assert not checkpoints.due(CHAIN, 0, 1e6)
    assert not checkpoints.is_news(CHAIN, 0)


def test_a_connection_is_told_once_and_then_after_so_many_taps_or_so_long_with_news() -> None:
    checkpoints = Checkpoints()
    assert checkpoints.due(CHAIN, 7, 100.0)
    checkpoints.told(CHAIN, 7, 100.0)
    assert not checkpoints.due(CHAIN, 7, 1e6), "no news"
    assert not checkpoints.due(CHAIN, 7 + EVERY_TAPS - 1, 100.0)
    assert checkpoints.due(CHAIN, 7 + EVERY_TAPS, 100.0)
    assert not checkpoints.due(CHAIN, 8, 100.0 + EVERY_S - 1)
    assert checkpoints.due(CHAIN, 8, 100.0 + EVERY_S)


def test_a_new_connection_and_a_new_chain_are_told_at_once() -> None:
    checkpoints = Checkpoints()
    checkpoints.told(CHAIN, 500, 0.0)
    assert checkpoints.due(OTHER, 1, 0.0)
    checkpoints.connected()
    assert checkpoints.due(CHAIN, 500, 0.0)


def test_at_the_end_any_news_counts() -> None:
    checkpoints = Checkpoints()
    checkpoints.told(CHAIN, 500, 0.0)
    assert not checkpoints.is_news(CHAIN, 500)
    assert checkpoints.is_news(CHAIN, 501)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 400)), max_size=60))
def test_whoever_asks_at_each_step_never_owes_more_than_the_bounds(steps: list[tuple[int, float]]) -> None:
    checkpoints, seq, now, said = Checkpoints(), 0, 0.0, 0
    for taps, pause in steps:
        seq, now = seq + taps, now + pause
        if checkpoints.due(CHAIN, seq, now):
            checkpoints.told(CHAIN, seq, now)
            said += 1
        assert not checkpoints.due(CHAIN, seq, now)
    assert said <= 1 + seq // EVERY_TAPS + now / EVERY_S

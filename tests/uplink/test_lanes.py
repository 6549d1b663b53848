import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.lanes import BatchSize, Lane, Window

EVENTS = st.lists(st.tuples(st.sampled_from([*Lane, None]), st.floats(0, 10)), max_size=300)


@given(st.integers(1, 65535), EVENTS)
def test_the_window_never_exceeds_what_the_broker_takes(
    receive_maximum: int, events: list[tuple[Lane | None, float]]
) -> None:
    window: Window[int] = Window(limit=100, batches=4)
    window.open(receive_maximum)
    now, mid, open_mids = 0.0, 0, []
    for lane, passed in events:
        now += passed
        if lane is None:
            if open_mids:
                assert window.acknowledged(open_mids.pop(0), now) is not None
        elif window.room(lane):
            mid += 1
            window.sent(mid, lane, mid, now)
            open_mids.append(mid)
        assert len(window) == len(open_mids) <= min(100, receive_maximum)
    assert [item.cargo for item in window.close()] == open_mids
    assert not any(window.room(lane) for lane in Lane)


@given(st.integers(1, 200))
def test_no_lane_is_ever_locked_out_of_an_empty_window(receive_maximum: int) -> None:
    window: Window[int] = Window()
    window.open(receive_maximum)
    assert all(window.room(lane) for lane in Lane)


@given(st.integers(3, 200))
def test_live_taps_find_room_beside_a_full_backlog_and_control_beside_full_live(receive_maximum: int) -> None:
    window: Window[int] = Window()
    window.open(receive_maximum)
    mid = 0
    for lane, next_lane in ((Lane.BACKLOG, Lane.LIVE), (Lane.GAP, Lane.LIVE), (Lane.LIVE, Lane.CONTROL)):
        while window.room(lane):
            mid += 1
            window.sent(mid, lane, mid, 0.0)
        assert window.room(next_lane)


def test_a_window_that_is_not_open_has_no_room() -> None:
    assert not any(Window[int]().room(lane) for lane in Lane)


def test_a_strange_mid_is_no_acknowledgement() -> None:
    window: Window[str] = Window()
    window.open(10)
    window.sent(1, Lane.LIVE, "a", 0.0)
    assert window.acknowledged(2, 1.0) is None
    item = window.acknowledged(1, 2.0)
    assert item is not None
    assert (item.cargo, item.sent_at) == ("a", 0.0)
    assert window.acknowledged(1, 3.0) is None


def test_only_a_link_without_any_progress_is_stalled() -> None:
    window: Window[str] = Window(ack_timeout_s=30)
    window.open(10)
    assert not window.stalled(1e9)
    window.sent(1, Lane.LIVE, "a", 100.0)
    window.sent(2, Lane.LIVE, "b", 120.0)
    assert not window.stalled(129.9)
    assert window.stalled(130.0)
    window.acknowledged(1, 130.0)
    assert not window.stalled(159.9)
    assert window.stalled(160.0)
    window.acknowledged(2, 170.0)
    window.sent(3, Lane.LIVE, "c", 900.0)
    assert not window.stalled(929.0)


def test_a_message_that_is_passed_over_is_found_although_others_are_acknowledged() -> None:
    window: Window[str] = Window(ack_timeout_s=30)
    window.open(10)
    window.sent(1, Lane.LIVE, "lost", 0.0)
    for mid in range(2, 50):
        now = mid * 2.5
        window.sent(mid, Lane.LIVE, "others", now)
        assert window.acknowledged(mid, now) is not None
        assert window.stalled(now) == (now >= 120), now


@pytest.mark.parametrize(("waits", "rows"), [([0.01], 64), ([1.0], 32), ([1.0] * 9, 1), ([1.0] * 9 + [0.01] * 3, 8)])
def test_the_batch_follows_the_line(waits: list[float], rows: int) -> None:
    size = BatchSize(most=64)
    for wait in waits:
        size.acknowledged(wait)
    assert size.rows == rows


def test_a_batch_that_breaks_the_line_or_is_refused_gets_smaller() -> None:
    size = BatchSize(most=64)
    size.lost()
    assert size.rows == 32
    size.refused()
    assert size.rows == 1
    size.lost()
    assert size.rows == 1


def test_few_batches_are_in_flight() -> None:
    window: Window[int] = Window(batches=4)
    window.open(100)
    for mid in range(4):
        assert window.room(Lane.BACKLOG)
        window.sent(mid, Lane.BACKLOG, mid, 0.0)
    assert not window.room(Lane.BACKLOG)
    window.acknowledged(0, 1.0)
    assert window.room(Lane.BACKLOG)

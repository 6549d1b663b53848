from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.base import Stream
from edge_agent.cloud.pacing import AckPacer

A = Stream("sh", "sh-1-a", b"chain--1")
B = Stream("sh", "sh-2-a", b"chain--2")


def test_the_first_touch_is_due_at_once() -> None:
    pacer = AckPacer(0.1)
    pacer.touch(A, 5.0)
    assert pacer.next_due_at() == 5.0
    assert pacer.take_due(5.0, 10) == [A]
    assert pacer.take_due(5.0, 10) == []
    assert pacer.next_due_at() is None


def test_touches_within_the_interval_share_one_ack() -> None:
    pacer = AckPacer(0.1)
    pacer.touch(A, 5.0)
    pacer.take_due(5.0, 10)
    for now in (5.01, 5.05, 5.09):
        pacer.touch(A, now)
        assert pacer.take_due(now, 10) == []
    assert pacer.next_due_at() == 5.1
    assert pacer.take_due(5.1, 10) == [A]


def test_one_stream_does_not_slow_another() -> None:
    pacer = AckPacer(0.1)
    pacer.touch(A, 5.0)
    pacer.take_due(5.0, 10)
    pacer.touch(A, 5.01)
    pacer.touch(B, 5.01)
    assert pacer.take_due(5.01, 10) == [B]


def test_the_limit_leaves_the_rest_due() -> None:
    pacer = AckPacer(0.1)
    pacer.touch(A, 5.0)
    pacer.touch(B, 5.0)
    assert pacer.take_due(5.0, 1) == [A]
    assert pacer.take_due(5.0, 1) == [B]


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 0.3)), max_size=60))
def test_every_touch_is_answered_and_none_too_early(steps: list[tuple[Stream, float]]) -> None:
    pacer = AckPacer(0.1)
    now, told, owed = 0.0, dict[Stream, float](), set[Stream]()
    for stream, pause in [*steps, (A, 1.0), (A, 1.0)]:
        now += pause
        pacer.touch(stream, now)
        owed.add(stream)
        for due in pacer.take_due(now, 10):
            assert due in owed
            assert now - told.get(due, -1.0) >= 0.1 - 1e-9
            told[due] = now
            owed.discard(due)
    assert not owed


def test_memory_is_bounded_by_what_was_touched_lately() -> None:
    pacer = AckPacer(0.1)
    for n in range(1000):
        pacer.touch(Stream("sh", f"sh-{n}", b"chain--1"), n * 1.0)
        pacer.take_due(n * 1.0, 10)
    assert len(pacer._told_at) == 1

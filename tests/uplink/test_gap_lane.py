"""Gap records on a lane of their own: sent until they are not needed any more, never spinning."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.base import GapRecord
from edge_agent.uplink.gap_lane import MOST_IN_FLIGHT, GapLane
from edge_agent.uplink.refusals import MAX_REFUSALS


class Source:
    """An outbox with nothing but gap records."""

    def __init__(self, *numbers: int) -> None:
        self.waiting = {number: GapRecord(number, b"chain--1", number, number, b"gap") for number in numbers}
        self.confirmed: list[int] = []

    def gaps_to_send(self) -> list[GapRecord]:
        return list(self.waiting.values())

    def confirm_gap_sent(self, number: int) -> None:
        self.waiting.pop(number, None)
        self.confirmed.append(number)


def numbers(lane: GapLane, now: float = 0.0) -> list[int]:
    return [record.number for record in lane.due(now)]


def test_each_is_sent_once_and_confirmed_by_its_puback() -> None:
    source = Source(1, 2)
    lane = GapLane(source)
    first, second = lane.due(0.0)
    lane.sent(first)
    assert numbers(lane) == [2]
    lane.sent(second)
    assert numbers(lane) == []
    lane.acknowledged(second)
    assert (source.confirmed, numbers(lane)) == ([2], [])
    lane.closed()
    assert numbers(lane) == [1], "its connection ended before its PUBACK"


def test_only_so_many_are_in_flight() -> None:
    lane = GapLane(Source(*range(MOST_IN_FLIGHT + 5)))
    for record in lane.due(0.0)[:MOST_IN_FLIGHT]:
        assert lane.has_room
        lane.sent(record)
    assert not lane.has_room


def test_a_refused_one_waits_longer_each_time_and_lets_the_others_pass() -> None:
    lane = GapLane(Source(1, 2))
    record = lane.due(0.0)[0]
    lane.sent(record)
    lane.refused(record, 0x97, 0.0)
    assert numbers(lane, 0.9) == [2]
    assert numbers(lane, 1.0) == [1, 2]
    lane.sent(record)
    lane.refused(record, 0x97, 10.0)
    assert numbers(lane, 11.9) == [2]
    assert numbers(lane, 12.0) == [1, 2]


def test_a_finally_refused_one_rests_until_the_next_connection() -> None:
    for code, refusals in ((0x99, 1), (0x80, MAX_REFUSALS)):
        lane = GapLane(Source(1))
        record = lane.due(0.0)[0]
        for number in range(refusals):
            assert numbers(lane, number * 100.0) == [1]
            lane.sent(record)
            lane.refused(record, code, number * 100.0)
        assert numbers(lane, 1e9) == []
        lane.closed()
        assert numbers(lane) == [1]


@given(st.lists(st.tuples(st.sampled_from(["send", "puback", "refuse", "close"]), st.integers(0, 3)), max_size=60))
def test_never_twice_in_flight_and_never_lost(steps: list[tuple[str, int]]) -> None:
    source = Source(0, 1, 2, 3)
    every = dict(source.waiting)
    lane = GapLane(source)
    in_flight: set[int] = set()
    now = 0.0
    for what, number in steps:
        now += 1.0
        due = numbers(lane, now)
        assert not set(due) & in_flight
        if what == "send" and number in due:
            lane.sent(every[number])
            in_flight.add(number)
        elif what == "puback" and number in in_flight:
            lane.acknowledged(every[number])
            in_flight.discard(number)
        elif what == "refuse" and number in in_flight:
            lane.refused(every[number], 0x80, now)
            in_flight.discard(number)
        elif what == "close":
            lane.closed()
            in_flight.clear()
    lane.closed()
    assert sorted(numbers(lane, now) + sorted(set(source.confirmed))) == [0, 1, 2, 3]


def test_the_puback_of_an_old_file_confirms_no_record_of_the_one_that_replaced_it() -> None:
    source = Source(1)
    lane = GapLane(source)
    (old,) = lane.due(0.0)
    lane.sent(old)
    source.waiting[1] = GapRecord(1, b"chain--2", 5, 9, b"another")
    lane.acknowledged(old)
    assert source.confirmed == []
    assert numbers(lane) == [1]

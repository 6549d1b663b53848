import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.base import Stream
from edge_agent.cloud.holes import AskAgain, Effect, GapClosed, GapOpen, HolePolicy, HoleWatch

STREAM = Stream("sh", "sh-1-a", b"chain--1")
OTHER = Stream("sh", "sh-2-a", b"chain--2")
HOLE = ((4, 6),)


def tick(watch: HoleWatch, now: float) -> list[Effect]:
    """What is due now, where the ledger says nothing new when it is asked once more."""
    return [effect for stream in watch.due(now) for effect in watch.act(stream, watch._streams[stream].holes, now)]


def later(watch: HoleWatch, start: float, end: float) -> list[tuple[float, Effect]]:
    """All effects up to ``end``, as somebody sees them who ticks exactly when asked to."""
    effects: list[tuple[float, Effect]] = []
    now = start
    while (at := watch.next_at()) is not None and at <= end:
        now = max(now, at)
        effects += [(now, effect) for effect in tick(watch, now)]
    return effects


def test_a_stream_without_holes_costs_nothing() -> None:
    watch = HoleWatch()
    assert watch.stands(STREAM, (), 0.0) == []
    assert len(watch) == 0
    assert watch.next_at() is None


def test_a_hole_is_reported_and_asked_for_after_the_grace_and_not_before() -> None:
    watch = HoleWatch()
    assert watch.stands(STREAM, HOLE, 100.0) == []
    assert tick(watch, 129.9) == []
    assert tick(watch, 130.0) == [GapOpen(STREAM, HOLE), AskAgain(STREAM, 4, 6)]
    assert tick(watch, 130.1) == []


def test_a_hole_that_closes_within_the_grace_is_never_mentioned() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    assert watch.stands(STREAM, (), 20.0) == []
    assert later(watch, 20.0, 1e6) == []
    assert len(watch) == 0


def test_a_hole_that_shrinks_gets_its_grace_anew_and_one_that_grows_does_not() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, ((4, 90),), 0.0)
    watch.stands(STREAM, ((40, 90),), 25.0)
    assert tick(watch, 54.9) == []
    watch.stands(STREAM, ((40, 90), (95, 95)), 50.0)
    assert tick(watch, 55.0) == [
        GapOpen(STREAM, ((40, 90), (95, 95))),
        AskAgain(STREAM, 40, 90),
        AskAgain(STREAM, 95, 95),
    ]


def test_backlog_of_the_terminal_puts_it_off_and_that_of_others_does_not() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    watch.stands(OTHER, HOLE, 0.0)
    watch.backlog("sh", "sh-1-a", 20.0)
    assert [effect.stream for _, effect in later(watch, 20.0, 49.0)] == [OTHER, OTHER]
    assert [effect.stream for effect in tick(watch, 50.0)] == [STREAM, STREAM]


def test_asking_backs_off_from_half_a_minute_to_an_hour_and_ends_in_a_permanent_gap() -> None:
    watch = HoleWatch(HolePolicy(tries=10))
    watch.stands(STREAM, HOLE, 0.0)
    effects = later(watch, 0.0, 10 * 86_400)
    asked = [at for at, effect in effects if isinstance(effect, AskAgain)]
    assert [after - before for before, after in pairwise(asked)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    told = [effect for _, effect in effects if isinstance(effect, GapOpen)]
    assert told == [GapOpen(STREAM, HOLE), GapOpen(STREAM, HOLE, permanent=True)]
    assert watch.stands(STREAM, (), 1e7) == [GapClosed(STREAM, HOLE)]
    assert len(watch) == 0


def test_a_permanent_gap_is_asked_for_once_more_when_its_terminal_comes_back() -> None:
    watch = HoleWatch(HolePolicy(tries=2))
    watch.stands(STREAM, HOLE, 0.0)
    later(watch, 0.0, 86_400)
    watch.presence("sh", "sh-1-a", 90_000, online=True)
    assert [effect for _, effect in later(watch, 90_000, 200_000)] == [AskAgain(STREAM, 4, 6)]
    watch.stands(STREAM, ((4, 6), (9, 9)), 200_000)
    assert later(watch, 200_000, 300_000)[0][1] == GapOpen(STREAM, ((4, 6), (9, 9)))


def test_a_terminal_that_is_away_is_not_asked_until_it_is_back() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    watch.presence("sh", "sh-1-a", 5.0, online=False)
    assert later(watch, 5.0, 1e5) == []
    watch.presence("sh", "sh-1-a", 1e5, online=True)
    assert later(watch, 1e5, 1e5 + 31)[0][0] == 1e5 + 30


def test_what_is_filled_in_part_after_the_report_stays_open_until_all_is_there() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, ((4, 6), (9, 9)), 0.0)
    tick(watch, 30.0)
    assert watch.stands(STREAM, ((9, 9),), 31.0) == []
    assert tick(watch, 61.0) == [GapOpen(STREAM, ((9, 9),)), AskAgain(STREAM, 9, 9)]
    assert watch.stands(STREAM, (), 62.0) == [GapClosed(STREAM, ((9, 9),))]


def test_what_somebody_else_filled_meanwhile_is_not_asked_for() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    (due,) = watch.due(30.0)
    assert watch.act(due, (), 30.0) == []
    assert len(watch) == 0
    watch.stands(STREAM, ((4, 6), (9, 9)), 100.0)
    assert watch.act(*watch.due(130.0), ((9, 9),), 130.0) == [], "it is being filled: it has its grace anew"
    assert tick(watch, 160.0) == [GapOpen(STREAM, ((9, 9),)), AskAgain(STREAM, 9, 9)]
    assert watch.act(*watch.due(190.0), (), 190.0) == [GapClosed(STREAM, ((9, 9),))]


def test_a_turn_that_was_not_taken_comes_again() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    assert watch.due(30.0) == [STREAM]
    assert tick(watch, 59.0) == []
    assert tick(watch, 60.0) == [GapOpen(STREAM, HOLE), AskAgain(STREAM, 4, 6)]


def test_a_terminal_that_is_heard_is_there_whatever_an_old_will_says() -> None:
    watch = HoleWatch()
    watch.stands(STREAM, HOLE, 0.0)
    watch.presence("sh", "sh-1-a", 5.0, online=False)
    watch.heard("sh", "sh-2-a", 6.0)
    assert later(watch, 5.0, 100.0) == []
    watch.heard("sh", "sh-1-a", 100.0)
    assert [effect for _, effect in later(watch, 100.0, 131.0)] == [GapOpen(STREAM, HOLE), AskAgain(STREAM, 4, 6)]


def test_holes_near_each_other_share_a_command_and_no_command_spans_a_wide_piece_that_is_there() -> None:
    watch = HoleWatch()
    holes = (*((1_000_000 * n, 1_000_000 * n) for n in range(1, 9)), (8_000_003, 8_000_003))
    watch.stands(STREAM, holes, 0.0)
    asked = [(effect.first, effect.last) for effect in tick(watch, 30.0) if isinstance(effect, AskAgain)]
    assert asked == [*holes[:7], (8_000_000, 8_000_003)]


def test_many_holes_are_asked_for_with_eight_commands_that_leave_none_out() -> None:
    watch = HoleWatch()
    holes = tuple((10 * n, 10 * n + 3) for n in range(1, 41))
    watch.stands(STREAM, holes, 0.0)
    asked = [effect for effect in tick(watch, 30.0) if isinstance(effect, AskAgain)]
    assert len(asked) == 8
    covered = {seq for ask in asked for seq in range(ask.first, ask.last + 1)}
    assert covered >= {seq for first, last in holes for seq in range(first, last + 1)}


def test_a_storm_of_holes_is_asked_for_at_the_pace_of_all_streams_together() -> None:
    watch = HoleWatch(HolePolicy(streams_per_s=20, first_retry_s=3600))
    streams = [Stream("sh", f"sh-{n}-a", b"chain--1") for n in range(200)]
    for stream in streams:
        watch.stands(stream, HOLE, 0.0)
    effects = later(watch, 0.0, 60.0)
    asked = [(at, effect.stream) for at, effect in effects if isinstance(effect, AskAgain)]
    assert {stream for _, stream in asked} == set(streams)
    for at, _ in asked:
        assert sum(at <= other < at + 1 for other, _ in asked) <= 41
    assert asked[-1][0] - asked[0][0] >= 8.9


def test_memory_is_bounded_and_what_had_to_go_is_counted() -> None:
    watch = HoleWatch(HolePolicy(max_streams=10))
    for n in range(100):
        watch.stands(Stream("sh", f"sh-{n}-a", b"chain--1"), HOLE, float(n))
        watch.presence("sh", f"sh-{n}-a", float(n), online=n % 2 == 0)
    assert len(watch) == 10
    assert watch.forgotten == 90
    assert len(watch._due) <= 4 * 10 + 64
    assert len(watch._of_terminal) == 10
    assert watch._offline <= set(watch._of_terminal)


class Listener:
    """What somebody believes who hears every effect; it must be what is so."""

    def __init__(self) -> None:
        self.is_open: dict[Stream, tuple[tuple[int, int], ...]] = {}
        self.told: dict[Stream, tuple[tuple[int, int], ...]] = {}

    def hear(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case GapOpen(stream, holes):
                    assert self.is_open[stream] == holes
                    self.told[stream] = holes
                case GapClosed(stream):
                    del self.told[stream]
                case AskAgain(stream, first, last):
                    assert any(first <= high and low <= last for low, high in self.is_open[stream])


def turn(rng: random.Random, watch: HoleWatch, listener: Listener, now: float) -> None:
    stream = rng.choice([STREAM, OTHER, Stream("sh", "sh-1-a", b"chain--3")])
    match rng.randrange(5):
        case 0 | 1:
            first = rng.randrange(1, 50)
            listener.is_open[stream] = ((first, first + rng.randrange(5)),)
            listener.hear(watch.stands(stream, listener.is_open[stream], now))
        case 2:
            listener.is_open.pop(stream, None)
            listener.hear(watch.stands(stream, (), now))
        case 3:
            watch.backlog(stream.fleet, stream.terminal, now)
        case 4:
            watch.presence(stream.fleet, stream.terminal, now, online=rng.random() < 0.7)
    listener.hear(tick(watch, now))


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_every_hole_that_stays_is_reported_and_asked_for_and_no_other(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    watch, listener = HoleWatch(HolePolicy(tries=3, streams_per_s=1000)), Listener()
    now = 0.0
    for _ in range(steps):
        now += rng.choice([0.0, 1.0, 20.0, 200.0])
        turn(rng, watch, listener, now)
    for terminal in ("sh-1-a", "sh-2-a"):
        watch.presence("sh", terminal, now, online=True)
    listener.hear([effect for _, effect in later(watch, now, now + 86_400)])
    assert listener.told == listener.is_open

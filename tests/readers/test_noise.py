from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.noise import NEVER_READ_LIMIT, ONCE_READ_LIMIT, TELL_EVERY_S, NoiseWatch, Verdict
from edge_agent.readers.profiles.base import FaultKind

FORM = FaultKind.FORM


def test_the_first_damage_is_told_and_then_one_line_a_minute() -> None:
    watch = NoiseWatch()
    watch.read()
    told = [second for second in range(200) if watch.faults([FORM], second) is Verdict.TELL]
    assert told == [0, TELL_EVERY_S, 2 * TELL_EVERY_S, 3 * TELL_EVERY_S]
    assert watch.counts == {FORM: 200}


def test_a_line_that_never_brought_a_number_is_given_up_for_damage() -> None:
    watch = NoiseWatch()
    watch.opened(0.0)
    verdicts = [watch.faults([FORM], 0.1 * count) for count in range(NEVER_READ_LIMIT + 1)]
    assert verdicts[-1] is Verdict.GIVE_UP
    assert Verdict.GIVE_UP not in verdicts[:-2]


def test_a_quiet_night_adds_up_to_nothing() -> None:
    watch = NoiseWatch()
    assert Verdict.GIVE_UP not in {watch.faults([FORM], 61.0 * count) for count in range(1000)}


def test_a_reader_that_works_is_not_given_up_for_a_burst() -> None:
    watch = NoiseWatch()
    watch.read()
    assert watch.faults([FORM] * (ONCE_READ_LIMIT - 1), 1.0) is not Verdict.GIVE_UP
    watch.read()
    assert watch.faults([FORM] * (ONCE_READ_LIMIT - 1), 2.0) is not Verdict.GIVE_UP


def test_a_reader_that_worked_and_brings_nothing_but_damage_any_more_is_given_up() -> None:
    watch = NoiseWatch()
    watch.read()
    assert Verdict.GIVE_UP in {watch.faults([FORM] * 3, float(second)) for second in range(1200)}


def test_opening_anew_begins_anew() -> None:
    watch = NoiseWatch()
    watch.opened(0.0)
    watch.faults([FORM] * (NEVER_READ_LIMIT - 1), 0.0)
    watch.opened(1.0)
    assert watch.faults([FORM] * (NEVER_READ_LIMIT - 1), 1.0) is not Verdict.GIVE_UP


def test_a_reader_that_says_that_it_sees_no_card_is_well() -> None:
    watch = NoiseWatch()
    assert {watch.faults([FaultKind.NO_CARD], 0.01 * count) for count in range(2000)} == {Verdict.GO_ON}


@given(st.lists(st.tuples(st.floats(0, 100), st.lists(st.sampled_from(FaultKind), max_size=20))))
def test_every_fault_is_counted_by_its_kind(bursts: list[tuple[float, list[FaultKind]]]) -> None:
    watch = NoiseWatch()
    now = 0.0
    for pause, kinds in bursts:
        now += pause
        watch.faults(kinds, now)
    assert sum(watch.counts.values()) == sum(len(kinds) for _, kinds in bursts)

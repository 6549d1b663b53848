"""The ladder of a deaf reader: its order, its patience, and what must never happen whatever the faults."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ReaderFault
from edge_agent.readers.base import Recovery, Step, Tried
from edge_agent.readers.escalation import Escalation, Ladder, Next

ABSENT = (ReaderFault.NOT_FOUND, ReaderFault.UNPLUGGED, ReaderFault.NO_PERMISSION, ReaderFault.TAKEN)
DONE, FAILED = Recovery(Tried.DONE), Recovery(Tried.FAILED, "no PN532 answers")
FORBIDDEN = Recovery(Tried.IMPOSSIBLE, "no permission")
QUICK = Ladder(tell_after_s=0.0)


class Climb:
    """A ladder with a clock; opening the reader again fails until told otherwise."""

    def __init__(self, ladder: Ladder | None = None) -> None:
        self.escalation = Escalation("nfc0", ladder)
        self.now = 1000.0

    def fails(self, fault: ReaderFault = ReaderFault.NO_ANSWER, *, after_s: float = 1.0, is_open: bool = False) -> Next:
        self.now += after_s
        return self.escalation.failed(fault, self.now, is_open=is_open)

    def steps(self, count: int, fault: ReaderFault = ReaderFault.NO_ANSWER) -> list[Step]:
        return [self.fails(fault).step for _ in range(count)]

    def works(self) -> None:
        self.escalation.works(self.now)


def test_the_gentlest_comes_first_and_a_person_last() -> None:
    climb = Climb(QUICK)
    assert climb.fails(is_open=True) == Next(Step.SOFT_RESET)
    climb.escalation.ended(Step.SOFT_RESET, FAILED)
    assert climb.steps(2) == [Step.REOPEN] * 2
    assert climb.fails() == Next(Step.USB_RESET)
    climb.escalation.ended(Step.USB_RESET, DONE)
    assert [climb.fails() for _ in range(2)] == [Next(Step.REOPEN)] * 2
    told = climb.fails()
    assert told.step is Step.REOPEN
    assert told.tell == (
        "the reader nfc0 does not hear: power-cycle the reader; tried: soft reset (failed: no PN532 answers), "
        "opened again 4 times, USB reset (done)"
    )
    assert [climb.fails() for _ in range(50)] == [Next(Step.REOPEN)] * 50, "told once, opened for ever"


def test_what_is_tried_last_is_told_with_its_reason() -> None:
    climb = Climb(QUICK)
    assert climb.escalation.last == ""
    climb.fails(is_open=True)
    climb.escalation.ended(Step.SOFT_RESET, DONE)
    assert climb.escalation.last == "soft reset, done"
    climb.steps(4)
    climb.escalation.ended(Step.USB_RESET, FORBIDDEN)
    assert climb.escalation.last == "USB reset, not possible: no permission"


def test_a_reader_that_opens_and_fails_at_once_climbs_all_the_same() -> None:
    climb = Climb(QUICK)
    seen = []
    for _ in range(9):
        seen.append(climb.fails(is_open=True).step)
        climb.works()
    assert seen == [Step.SOFT_RESET, Step.REOPEN, Step.REOPEN, Step.USB_RESET, *[Step.REOPEN] * 5]


def test_a_reader_that_is_not_there_is_only_opened_again() -> None:
    climb = Climb(QUICK)
    for fault in ABSENT:
        assert [climb.fails(fault, is_open=True) for _ in range(20)] == [Next(Step.REOPEN)] * 20


def test_what_never_opened_has_nothing_to_reset_softly() -> None:
    climb = Climb(QUICK)
    assert climb.steps(3) == [Step.REOPEN, Step.REOPEN, Step.USB_RESET]
    climb.escalation.ended(Step.USB_RESET, FORBIDDEN)
    climb.steps(2)
    assert "tried: opened again 4 times, USB reset (not possible: no permission)" in climb.fails().tell


def test_a_thread_that_hangs_is_set_free_by_its_device_at_once() -> None:
    climb = Climb(QUICK)
    assert climb.fails(ReaderFault.HANGS, is_open=True) == Next(Step.USB_RESET)
    climb.escalation.ended(Step.USB_RESET, DONE)
    assert climb.steps(3, ReaderFault.HANGS) == [Step.REOPEN] * 3


def test_who_does_not_come_back_from_a_usb_reset_is_told_of() -> None:
    climb = Climb(QUICK)
    climb.steps(3)
    climb.escalation.ended(Step.USB_RESET, DONE)
    told = [climb.fails(ReaderFault.NOT_FOUND).tell for _ in range(5)]
    assert [bool(text) for text in told] == [False, False, True, False, False]


@pytest.mark.parametrize("fault", [ReaderFault.TAKEN, ReaderFault.NO_SERVICE, ReaderFault.NOT_UNDERSTOOD])
def test_nobody_power_cycles_a_reader_that_meanwhile_fails_for_another_reason(fault: ReaderFault) -> None:
    climb = Climb(QUICK)
    climb.steps(3)
    climb.escalation.ended(Step.USB_RESET, FORBIDDEN)
    assert [climb.fails(fault) for _ in range(20)] == [Next(Step.REOPEN)] * 20
    assert [bool(climb.fails().tell) for _ in range(4)] == [False, False, True, False], "and it is still deaf"


def test_a_person_is_not_called_before_it_may_have_healed() -> None:
    climb = Climb(Ladder(tell_after_s=20.0))
    climb.steps(3)
    climb.escalation.ended(Step.USB_RESET, FORBIDDEN)
    told = [(climb.now, climb.fails().tell) for _ in range(40)]
    assert [now + 1.0 for now, text in told if text] == [1000.0 + 1.0 + 20.0]


def test_recovery_begins_a_new_ladder() -> None:
    climb = Climb(QUICK)
    climb.fails(is_open=True)
    climb.steps(6)
    climb.works()
    assert climb.fails(after_s=9.9, is_open=True).step is Step.REOPEN, "not stable yet"
    climb.works()
    assert climb.fails(after_s=10.0, is_open=True) == Next(Step.SOFT_RESET)


def test_usb_resets_become_ever_more_seldom_and_a_calm_time_forgives() -> None:
    climb = Climb()
    resets: list[float] = []

    def deaf_for(seconds: float) -> None:
        until = climb.now + seconds
        while climb.now < until:
            if climb.fails(after_s=10.0).step is Step.USB_RESET:
                resets.append(climb.now)
                climb.escalation.ended(Step.USB_RESET, DONE)

    deaf_for(20_000)
    gaps = [later - earlier for earlier, later in pairwise(resets)]
    assert gaps == [300.0, 600.0, 1200.0, 2400.0, *[3600.0] * 4]
    climb.works()
    climb.now += 600.0
    resets.clear()
    deaf_for(2000)
    assert resets[1] - resets[0] == 300.0


def test_a_usb_reset_that_is_not_permitted_makes_the_pause_no_longer() -> None:
    climb = Climb()
    climb.steps(3)
    climb.escalation.ended(Step.USB_RESET, FORBIDDEN)
    asked = [climb.now for _ in range(100) if climb.fails(after_s=10.0).step is Step.USB_RESET]
    assert [round(later - earlier) for earlier, later in pairwise(asked)] == [300, 300]


FAULTS = st.sampled_from(list(ReaderFault))
HAPPENINGS = st.tuples(FAULTS, st.booleans(), st.booleans(), st.sampled_from([0.01, 1.0, 11.0, 90.0, 700.0]))
RECOVERIES = st.sampled_from([DONE, FAILED, FORBIDDEN])


@given(st.lists(st.tuples(HAPPENINGS, RECOVERIES), max_size=120))
def test_no_series_of_faults_makes_a_storm(
    happenings: list[tuple[tuple[ReaderFault, bool, bool, float], Recovery]],
) -> None:
    ladder = replace(Ladder(), reopens=2)
    escalation = Escalation("nfc0", ladder)
    now = 0.0
    well_since: float | None = None
    soft = told = deaf = 0
    usb: list[float] = []
    for (fault, is_open, comes_back, after_s), recovery in happenings:
        now += after_s
        if well_since is not None and now - well_since >= ladder.stable_s:
            soft = told = deaf = 0
        well_since = None
        deaf += fault in (ReaderFault.NO_ANSWER, ReaderFault.IO, ReaderFault.HANGS)
        todo = escalation.failed(fault, now, is_open=is_open)
        told += bool(todo.tell)
        assert told <= min(deaf, 1)
        if todo.step is Step.SOFT_RESET:
            soft += 1
            assert is_open
            assert fault in (ReaderFault.NO_ANSWER, ReaderFault.IO)
            escalation.ended(todo.step, recovery)
        elif todo.step is Step.USB_RESET:
            assert not usb or now - usb[-1] >= ladder.usb_first_s
            assert fault is ReaderFault.HANGS or deaf >= ladder.reopens
            usb.append(now)
            escalation.ended(todo.step, recovery)
        assert soft <= 1
        if comes_back:
            well_since = now
            escalation.works(now)

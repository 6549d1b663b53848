import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.errors import TicketError
from edge_agent.models import ClockTrust
from edge_agent.tags.rotation import (
    LOOK_EVERY_S,
    STEP_S,
    ClockLooked,
    Effect,
    Failed,
    Hidden,
    Hide,
    Read,
    Rotation,
    Show,
    Shown,
    WaitUntil,
)

UNSET, HOLDOVER, SYNCED = ClockTrust.UNSET, ClockTrust.HOLDOVER, ClockTrust.SYNCED
UNIX = 1_790_000_000
TTL = 120


class Nonces:
    """Bytes that are never the same."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size, "big")


def rotation(every_s: float | None = None) -> Rotation:
    return Rotation(ttl=TTL, entropy=Nonces(), every_s=every_s)


def look(subject: Rotation, now: float, trust: ClockTrust = SYNCED, *, stepped_s: int = 0) -> Effect:
    """One look at a wall clock that began with ``now`` at 0."""
    (effect,) = subject.handle(ClockLooked(UNIX + int(now) + stepped_s, trust), now)
    return effect


def shown(subject: Rotation, now: float, trust: ClockTrust = SYNCED, *, stepped_s: int = 0) -> Show:
    effect = look(subject, now, trust, stepped_s=stepped_s)
    assert isinstance(effect, Show)
    assert subject.handle(Shown(), now) == []
    return effect


def test_the_first_look_at_a_trusted_clock_shows_a_ticket_of_that_second() -> None:
    subject = rotation()
    effect = shown(subject, 5.0)
    assert (effect.iat, len(effect.nonce)) == (UNIX + 5, 8)
    assert subject.stands
    assert look(subject, 5.5) == WaitUntil(5.5 + LOOK_EVERY_S)


@pytest.mark.parametrize(("every_s", "stands_s"), [(None, 60.0), (15.0, 15.0), (300.0, 60.0)])
def test_a_ticket_stands_for_half_its_life_or_less_where_that_is_wanted(every_s: float | None, stands_s: float) -> None:
    subject = rotation(every_s)
    first = shown(subject, 0.0)
    assert look(subject, stands_s - 0.3) == WaitUntil(stands_s)
    assert shown(subject, stands_s).nonce != first.nonce


def test_each_read_is_followed_by_a_new_ticket() -> None:
    subject = rotation()
    first = shown(subject, 0.0)
    subject.handle(Read(first.nonce), 1.0)
    assert shown(subject, 1.0).nonce != first.nonce
    assert isinstance(look(subject, 1.1), WaitUntil)


def test_a_late_word_of_an_older_ticket_replaces_nothing() -> None:
    subject = rotation()
    first = shown(subject, 0.0)
    second = shown(subject, 60.0)
    subject.handle(Read(first.nonce), 61.0)
    subject.handle(Read(b"of-whom?"), 61.0)
    assert isinstance(look(subject, 61.0), WaitUntil)
    subject.handle(Read(second.nonce), 62.0)
    assert isinstance(look(subject, 62.0), Show)


def test_a_ticket_read_while_it_is_being_shown_is_replaced() -> None:
    subject = rotation()
    effect = look(subject, 0.0)
    assert isinstance(effect, Show)
    subject.handle(Read(effect.nonce), 0.1)
    subject.handle(Shown(), 0.2)
    assert isinstance(look(subject, 0.2), Show)


def test_holdover_is_trust_enough() -> None:
    assert isinstance(look(rotation(), 0.0, HOLDOVER), Show)


def test_nothing_is_shown_while_the_clock_is_unset_not_even_what_an_earlier_run_left() -> None:
    subject = rotation()
    assert look(subject, 0.0, UNSET) == Hide()
    subject.handle(Hidden(), 0.0)
    assert not subject.stands
    assert look(subject, 0.5, UNSET) == WaitUntil(0.5 + LOOK_EVERY_S)
    assert isinstance(look(subject, 1.5, SYNCED), Show)


def test_a_clock_that_loses_its_trust_takes_the_ticket_down_at_the_next_look() -> None:
    subject = rotation()
    shown(subject, 0.0)
    assert look(subject, 1.0, UNSET) == Hide()
    subject.handle(Hidden(), 1.0)
    assert not subject.stands
    shown(subject, 2.0)


@pytest.mark.parametrize("step_s", [-3600, -5, 5, 3600])
def test_a_ticket_of_before_a_step_of_the_wall_clock_is_replaced(step_s: int) -> None:
    subject = rotation()
    first = shown(subject, 10.0)
    second = shown(subject, 11.0, stepped_s=step_s)
    assert (second.iat, second.nonce) != (first.iat, first.nonce)
    assert second.iat == UNIX + 11 + step_s
    assert isinstance(look(subject, 12.0, stepped_s=step_s), WaitUntil)


@pytest.mark.parametrize("slip_s", [-1, 1])
def test_whole_seconds_are_no_step(slip_s: int) -> None:
    subject = rotation()
    shown(subject, 10.9)
    assert isinstance(look(subject, 11.0, stepped_s=slip_s), WaitUntil)


def test_after_a_failure_nothing_counts_as_shown_nor_as_hidden() -> None:
    subject = rotation()
    first = look(subject, 0.0)
    subject.handle(Failed(), 0.1)
    assert not subject.stands
    second = shown(subject, 3.0)
    assert first != second
    subject.handle(Failed(), 4.0)
    assert look(subject, 5.0, UNSET) == Hide()
    subject.handle(Failed(), 5.0)
    assert look(subject, 6.0, UNSET) == Hide()


def test_nothing_more_is_asked_before_an_answer() -> None:
    subject = rotation()
    assert isinstance(look(subject, 0.0), Show)
    assert subject.handle(ClockLooked(UNIX, UNSET), 1.0) == []
    with pytest.raises(AssertionError, match="Hidden answers nothing"):
        subject.handle(Hidden(), 1.0)


def test_entropy_that_repeats_itself_makes_no_ticket() -> None:
    subject = Rotation(ttl=TTL, entropy=bytes)
    shown(subject, 0.0)
    with pytest.raises(TicketError, match="repeats itself"):
        look(subject, 60.0)


class RotationModel(RuleBasedStateMachine):
    """A surface that works or fails, people who read, a wall clock that is stepped and distrusted."""

    @initialize(ttl=st.integers(20, 255), every_s=st.none() | st.integers(5, 127))
    def begin(self, ttl: int, every_s: int | None) -> None:
        self.subject = Rotation(ttl=ttl, entropy=Nonces(), every_s=every_s)
        self.allowed_s = min(ttl / 2, every_s or ttl)
        self.now = 0.0
        self.wall = float(UNIX)
        self.trust = SYNCED
        self.face: Show | None = None  # what a phone finds
        self.sealed_at = 0.0
        self.known = False  # whether the rotation has been told the truth of the face
        self.reads_open = 0
        self.shows: list[bytes] = []
        self.fresh = False  # nothing happened since the last tick

    @rule(seconds=st.floats(0.0, 200.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds
        self.fresh = False

    @rule(seconds=st.sampled_from([-86400, -30, -6, -1, 1, 6, 30, 86400]))
    def the_wall_clock_is_stepped(self, seconds: int) -> None:
        self.wall += seconds
        self.fresh = False

    @rule(trust=st.sampled_from(ClockTrust))
    def trust_changes(self, trust: ClockTrust) -> None:
        self.trust = trust
        self.fresh = False

    @precondition(lambda self: self.face is not None and self.known)
    @rule(times=st.integers(1, 3))
    def phones_read(self, times: int) -> None:
        assert self.face is not None
        for _ in range(times):
            assert self.subject.handle(Read(self.face.nonce), self.now) == []
        self.reads_open = 1  # one ticket was read, by however many
        self.fresh = False

    @precondition(lambda self: len(self.shows) > 1)
    @rule(back=st.integers(2, 5))
    def an_older_read_is_told_late(self, back: int) -> None:
        self.subject.handle(Read(self.shows[max(-back, -len(self.shows))]), self.now)

    @rule()
    def the_line_fails(self) -> None:
        self.subject.handle(Failed(), self.now)
        self.known = False
        self.reads_open = 0
        self.fresh = False

    @rule(works=st.booleans())
    def tick(self, works: bool) -> None:
        reasons = self.reads_open or not self.known or self.face is None or self._too_old() or self._wrong_time()
        effects: list[Show | Hide] = []
        while True:
            (effect,) = self.subject.handle(ClockLooked(int(self.wall), self.trust), self.now)
            if isinstance(effect, WaitUntil):
                break
            effects.append(effect)
            if not works:
                self.the_line_fails()
                return
            self._carry_out(effect)
        assert len(effects) <= 1, "one change at most for one tick"
        if self.trust is not UNSET:
            assert bool(effects) == bool(reasons)
        assert effect.at > self.now
        self.fresh = True

    def _carry_out(self, effect: Show | Hide) -> None:
        if isinstance(effect, Show):
            assert self.trust is not UNSET
            assert effect.iat == int(self.wall)
            self.shows.append(effect.nonce)
            self.face, self.sealed_at = effect, self.now
            self.subject.handle(Shown(), self.now)
        else:
            assert self.trust is UNSET
            self.face = None
            self.subject.handle(Hidden(), self.now)
        self.known = True
        self.reads_open = 0

    def _too_old(self) -> bool:
        return self.now - self.sealed_at >= self.allowed_s

    def _wrong_time(self) -> bool:
        return self.face is not None and (abs((int(self.wall) - self.face.iat) - (self.now - self.sealed_at)) > STEP_S)

    @invariant()
    def after_a_tick_the_face_is_right(self) -> None:
        if not getattr(self, "fresh", False):
            return
        if self.trust is UNSET:
            assert self.face is None
        else:
            assert self.face is not None
            assert not self._too_old()
            assert not self._wrong_time()
            assert self.reads_open == 0

    @invariant()
    def no_nonce_is_used_twice(self) -> None:
        assert len(set(getattr(self, "shows", []))) == len(getattr(self, "shows", []))


TestRotationModel = RotationModel.TestCase
TestRotationModel.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)

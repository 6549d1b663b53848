"""The limits against a model that keeps the whole history, and at their exact borders."""

from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import limits
from edge_agent.limits import (
    TELL_EVERY_S,
    Effect,
    Failed,
    FloodOver,
    Kept,
    Look,
    NewTap,
    Refusal,
    Refuse,
    Repeated,
    Rest,
    TapLimits,
    TellFlood,
)

T0 = 1000.0


def no_name() -> NewTap:
    return NewTap(nonce=None, sub=None)


def make(*, taps_per_minute: int = 60, burst: int = 8, cooldown_s: float = 5.0) -> TapLimits:
    return TapLimits(taps_per_minute=taps_per_minute, burst=burst, cooldown_s=cooldown_s)


def refusal(effects: tuple[Effect, ...]) -> Refusal | None:
    return next((effect.reason for effect in effects if isinstance(effect, Refuse)), None)


def taken(bound: TapLimits, tap: NewTap, at: float) -> bool:
    effects = bound.handle(tap, at)
    if refusal(effects) is None:
        bound.handle(Kept(at), at)
        return True
    return False


def flood(bound: TapLimits, at: float) -> tuple[Effect, ...]:
    """Empty the bucket; return the effects of the first tap that is refused."""
    while refusal(effects := bound.handle(no_name(), at)) is None:
        bound.handle(Kept(at), at)
    return effects


# The bucket.


def test_a_burst_is_taken_and_the_next_tap_only_when_it_has_been_refilled() -> None:
    bound = make(taps_per_minute=60, burst=4)
    assert [taken(bound, no_name(), T0) for _ in range(4)] == [True] * 4
    assert taken(bound, no_name(), T0 + 1.0), "one a second comes in"
    assert not taken(bound, no_name(), T0 + 1.0)


def test_the_very_microsecond_of_the_refill_counts() -> None:
    bound = make(taps_per_minute=60, burst=1)
    assert taken(bound, no_name(), T0)
    assert taken(bound, no_name(), T0 + 1.0)
    assert not taken(bound, no_name(), T0 + 1.999999)
    assert taken(bound, no_name(), T0 + 2.0)


def test_after_a_flood_nothing_is_taken_until_a_quarter_of_the_burst_is_there() -> None:
    bound = make(taps_per_minute=60, burst=8)
    assert flood(bound, T0)[0] == Rest(on=True)
    assert bound.flooded
    assert not taken(bound, no_name(), T0 + 1.999999)
    assert bound.handle(Look(), T0 + 1.999999) == ()
    assert bound.handle(Look(), T0 + 2.0) == (Rest(on=False), FloodOver(refused=2, lasted_s=2.0))
    assert not bound.flooded
    assert [taken(bound, no_name(), T0 + 2.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("taps_per_minute", [1, 10, 240])
def test_no_flood_rests_a_terminal_for_more_than_a_minute_after_its_last_tap(taps_per_minute: int) -> None:
    bound = make(taps_per_minute=taps_per_minute, burst=1000)
    flood(bound, T0)
    assert not taken(bound, no_name(), T0 + 59.9)
    assert taken(bound, no_name(), T0 + 60.0)


def test_a_tap_ends_a_flood_that_is_over_though_nobody_looked() -> None:
    bound = make(taps_per_minute=60, burst=8)
    flood(bound, T0)
    effects = bound.handle(no_name(), T0 + 60)
    assert effects == (Rest(on=False), FloodOver(refused=1, lasted_s=60.0))


@pytest.mark.parametrize("burst", [1, 2, 3])
def test_a_small_burst_rests_until_there_is_a_whole_tap(burst: int) -> None:
    bound = make(taps_per_minute=60, burst=burst)
    flood(bound, T0)
    assert bound.handle(no_name(), T0 + 0.9) == (Refuse(Refusal.FLOOD),)
    assert taken(bound, no_name(), T0 + 1.0)


gaps = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=120)
rates = st.integers(1, 6000)
bursts = st.integers(1, 40)


@dataclass
class History:
    """Every tap that is kept in the end, at exact times; and what may still fail."""

    kept: list[Fraction] = field(default_factory=list)
    open: list[tuple[float, Fraction]] = field(default_factory=list)


@settings(deadline=None, max_examples=300)
@given(
    rates,
    bursts,
    st.lists(
        st.tuples(
            st.integers(0, 3_000_000),
            st.sampled_from(["tap", "tap", "tap", "kept", "failed", "look"]),
            st.integers(0, 1000),
        )
    ),
)
def test_never_more_than_the_burst_and_the_rate_in_any_time_whatever_fails(
    rate: int, burst: int, steps: list[tuple[int, str, int]]
) -> None:
    bound = make(taps_per_minute=rate, burst=burst, cooldown_s=0)
    history, us = History(), 1_000_000_000
    for gap, step, which in steps:
        us += gap
        now, exact = us / 1e6, Fraction(us, 1_000_000)
        if step == "tap":
            if refusal(bound.handle(no_name(), now)) is None:
                history.open.append((now, exact))
        elif step == "look":
            bound.handle(Look(), now)
        elif history.open:
            began, at = history.open.pop(which % len(history.open))
            bound.handle(Kept(began) if step == "kept" else Failed(None, None, began), now)
            history.kept += [at] if step == "kept" else []
    times = sorted(history.kept + [at for _, at in history.open])
    for first, begin in enumerate(times):
        for count, end in enumerate(times[first:], start=1):
            assert count <= burst + (end - begin) * rate / 60


@given(rates, bursts, st.lists(st.integers(0, 5_000_000), max_size=60))
def test_never_refuses_whoever_keeps_to_the_rate(rate: int, burst: int, extra: list[int]) -> None:
    bound = make(taps_per_minute=rate, burst=burst, cooldown_s=0)
    pause, us = -(-60_000_000 // rate), 1_000_000_000
    for more in extra:
        assert taken(bound, no_name(), us / 1e6)
        us += pause + more


@given(rates, bursts, gaps)
def test_rests_exactly_while_it_refuses_for_a_flood(rate: int, burst: int, pauses: list[int]) -> None:
    bound = make(taps_per_minute=rate, burst=burst, cooldown_s=0)
    resting, us = False, 1_000_000_000
    for pause in pauses:
        us += pause
        effects = bound.handle(no_name(), us / 1e6)
        for effect in effects:
            if isinstance(effect, Rest):
                assert effect.on != resting, "told only when it changes"
                resting = effect.on
        assert (refusal(effects) is Refusal.FLOOD) == resting == bound.flooded
        if not resting:
            bound.handle(Kept(us / 1e6), us / 1e6)


def test_a_tap_that_could_not_be_stored_costs_nothing() -> None:
    bound = make(taps_per_minute=1, burst=1)
    for _ in range(10):
        assert refusal(bound.handle(NewTap(b"nonce-01", b"phone"), T0)) is None
        bound.handle(Failed(b"nonce-01", b"phone", T0), T0)
    assert taken(bound, NewTap(b"nonce-01", b"phone"), T0)
    assert refusal(bound.handle(no_name(), T0)) is Refusal.FLOOD


def test_a_failure_does_not_fill_the_bucket_over_what_time_has_filled() -> None:
    bound = make(taps_per_minute=60, burst=4)
    for _ in range(4):
        assert refusal(bound.handle(no_name(), T0)) is None
    assert [taken(bound, no_name(), T0 + 60) for _ in range(4)] == [True] * 4
    for _ in range(4):
        bound.handle(Failed(None, None, T0), T0 + 60)
    assert not taken(bound, no_name(), T0 + 60)


# The cool-down.


@pytest.mark.parametrize("cooldown_s", [5.0, 0.1, 3600.0])
@pytest.mark.parametrize("began", [T0, 1000.1, 123456.789012])
def test_a_pseudonym_cools_down_to_the_very_microsecond(began: float, cooldown_s: float) -> None:
    bound = make(cooldown_s=cooldown_s)
    assert taken(bound, NewTap(b"nonce-01", b"phone"), began)
    effects = bound.handle(NewTap(b"nonce-02", b"phone"), began + cooldown_s - 2e-6)
    assert refusal(effects) is Refusal.COOLING
    assert taken(bound, NewTap(b"nonce-03", b"phone"), began + cooldown_s)


def test_trying_again_and_again_does_not_make_a_person_wait_longer() -> None:
    bound = make(cooldown_s=5)
    assert taken(bound, NewTap(None, b"card"), T0)
    for second in range(1, 5):
        assert not taken(bound, NewTap(None, b"card"), T0 + second)
    assert taken(bound, NewTap(None, b"card"), T0 + 5)


def test_one_phone_does_not_cool_another_down_and_nameless_ones_never_cool() -> None:
    bound = make(cooldown_s=5)
    assert taken(bound, NewTap(b"nonce-01", b"phone-a"), T0)
    assert taken(bound, NewTap(b"nonce-02", b"phone-b"), T0)
    assert taken(bound, NewTap(b"nonce-03", None), T0)
    assert taken(bound, NewTap(b"nonce-04", None), T0)
    assert taken(bound, no_name(), T0)
    assert taken(bound, no_name(), T0)


def test_a_nonce_that_is_replayed_gets_nothing_new_as_long_as_that_goes_on() -> None:
    bound = make(cooldown_s=5)
    replayed = NewTap(b"nonce-01", None)
    assert taken(bound, replayed, T0)
    bound.handle(Repeated(b"nonce-01", None), T0 + 89)  # its token has been given again, then it expires
    for second in range(91, 200, 4):
        assert refusal(bound.handle(replayed, T0 + second)) is Refusal.COOLING
    assert taken(bound, replayed, T0 + 199 + 5)


def test_a_phone_that_comes_back_long_after_its_token_expired_is_served_at_once() -> None:
    bound = make(cooldown_s=5)
    assert taken(bound, NewTap(b"nonce-01", None), T0)
    assert taken(bound, NewTap(b"nonce-01", None), T0 + 120)


def test_a_cooling_tap_costs_no_share_of_the_bucket() -> None:
    bound = make(taps_per_minute=1, burst=2, cooldown_s=5)
    assert taken(bound, NewTap(None, b"card"), T0)
    for _ in range(50):
        assert not taken(bound, NewTap(None, b"card"), T0 + 1)
    assert taken(bound, NewTap(None, b"other"), T0 + 1)
    assert bound.refused == {Refusal.COOLING: 50, Refusal.FLOOD: 0}


def test_a_refused_phone_is_not_remembered_as_one_that_tapped() -> None:
    bound = make(taps_per_minute=60, burst=1, cooldown_s=3600)
    flood(bound, T0)
    assert refusal(bound.handle(NewTap(b"nonce-01", b"phone"), T0)) is Refusal.FLOOD
    assert taken(bound, NewTap(b"nonce-01", b"phone"), T0 + 1)


def test_without_a_cool_down_the_same_phone_taps_as_it_likes_and_nothing_is_remembered() -> None:
    bound = make(cooldown_s=0)
    for _ in range(5):
        assert taken(bound, NewTap(b"nonce-01", b"phone"), T0)
    bound.handle(Repeated(b"nonce-01", b"phone"), T0)
    assert (len(bound._subs), len(bound._nonces)) == (0, 0)


def test_the_failure_of_an_old_tap_does_not_forget_the_newer_one() -> None:
    bound = make(cooldown_s=5)
    assert refusal(bound.handle(NewTap(None, b"card"), T0)) is None  # its commit hangs
    assert taken(bound, NewTap(None, b"card"), T0 + 6)
    bound.handle(Failed(None, b"card", T0), T0 + 7)
    assert refusal(bound.handle(NewTap(None, b"card"), T0 + 7)) is Refusal.COOLING


subs = st.integers(0, 5).map(lambda number: bytes([number]))


@settings(deadline=None)
@given(st.integers(0, 10_000_000), st.lists(st.tuples(st.integers(0, 4_000_000), subs, st.booleans()), max_size=100))
def test_the_cool_down_is_that_of_a_model_that_forgets_nothing(
    cooldown_us: int, steps: list[tuple[int, bytes, bool]]
) -> None:
    bound = make(taps_per_minute=10**9, burst=10**9, cooldown_s=cooldown_us / 1e6)
    last: dict[bytes, int] = {}
    us = 1_000_000_000
    for gap, sub, fails in steps:
        us += gap
        cooling = sub in last and us - last[sub] < cooldown_us
        tap = NewTap(us.to_bytes(8, "big"), sub)
        assert (refusal(bound.handle(tap, us / 1e6)) is Refusal.COOLING) == cooling
        if cooling:
            continue
        if fails:
            bound.handle(Failed(tap.nonce, sub, us / 1e6), us / 1e6)
            last.pop(sub, None)
        else:
            bound.handle(Kept(us / 1e6), us / 1e6)
            last[sub] = us


def test_what_is_remembered_is_bounded_in_number_and_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_LIMIT", 64)
    bound = make(taps_per_minute=10**9, burst=10**9, cooldown_s=60)
    for number in range(200):
        name = number.to_bytes(8, "big")
        assert taken(bound, NewTap(name, name), T0)
    assert (len(bound._subs), len(bound._nonces)) == (64, 64)
    assert not taken(bound, NewTap(b"new", (199).to_bytes(8, "big")), T0), "the newest are remembered"
    assert taken(bound, NewTap(b"new", b"new"), T0 + 60)
    assert (len(bound._subs), len(bound._nonces)) == (1, 1)


def test_who_was_seen_again_is_forgotten_later_and_keeps_nobody_behind_in_memory() -> None:
    bound = make(cooldown_s=60)
    for at, nonce in ((0, b"a"), (1, b"b"), (50, b"a")):
        bound.handle(Repeated(nonce, None), T0 + at)
    bound.handle(Repeated(b"c", None), T0 + 61)
    assert [name for name, _ in bound._nonces._last] == [b"a", b"c"]


# What a person hears.


def test_a_flood_is_told_once_and_its_end_with_how_many_were_refused() -> None:
    bound = make(taps_per_minute=60, burst=8)
    assert flood(bound, T0) == (Rest(on=True), TellFlood(refused=1, floods=1), Refuse(Refusal.FLOOD))
    for _ in range(99):
        assert bound.handle(no_name(), T0 + 1) == (Refuse(Refusal.FLOOD),)
    assert bound.handle(Look(), T0 + 2) == (Rest(on=False), FloodOver(refused=100, lasted_s=2.0))
    assert bound.refused[Refusal.FLOOD] == 100


def test_a_flood_that_comes_again_and_again_is_told_every_ten_minutes_with_all_that_was_refused() -> None:
    bound = make(taps_per_minute=60, burst=8)
    told: list[tuple[float, TellFlood]] = []
    refused = 0
    for tenth in range(30 * 60 * 10):
        now = T0 + tenth / 10  # ten a second for half an hour
        effects = bound.handle(no_name(), now)
        refused += refusal(effects) is not None
        told += [(now, effect) for effect in effects if isinstance(effect, TellFlood)]
        if refusal(effects) is None:
            bound.handle(Kept(now), now)
    assert [now - told[0][0] >= number * TELL_EVERY_S for number, (now, _) in enumerate(told)] == [True] * 3
    assert told[-1][1].floods > 100
    assert 0 <= refused - sum(effect.refused for _, effect in told) <= TELL_EVERY_S * 10


def test_a_flood_soon_after_another_is_told_in_its_time_though_it_goes_on() -> None:
    bound = make(taps_per_minute=2, burst=1000)
    flood(bound, T0)
    bound.handle(no_name(), T0 + 1)
    assert flood(bound, T0 + TELL_EVERY_S - 5) == (Rest(on=True), Refuse(Refusal.FLOOD))
    assert bound.handle(Look(), T0 + TELL_EVERY_S - 1e-6) == ()
    assert bound.handle(Look(), T0 + TELL_EVERY_S) == (TellFlood(refused=2, floods=1),)
    assert bound.flooded
    over = bound.handle(Look(), T0 + 2 * TELL_EVERY_S)
    assert [type(effect) for effect in over] == [Rest, FloodOver], "nothing new is told"

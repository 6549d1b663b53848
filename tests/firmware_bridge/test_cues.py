"""The cue machine: the table of the screen link, priorities, and what must hold after any sequence of events."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.models import Cue as AgentCue
from firmware_bridge.cues import (
    BASE_RESEND_S,
    BASE_TTL_S,
    HOLD_S,
    LASTING,
    MIN_LEVEL,
    Advert,
    Cue,
    CueEvent,
    CueMachine,
    CueName,
    SetAdvert,
    SetLasting,
    SetLevel,
    Show,
    Tick,
    Try,
    Words,
)

FALLING = [name for name in CueName if name in HOLD_S and name is not CueName.IDENTIFY]


class Run:
    """A machine with its time: `at` seconds, what it presented."""

    def __init__(self) -> None:
        self.machine = CueMachine()
        self.at = 1000.0
        self.presented: list[Cue] = []
        self.put(Tick())

    def put(self, event: CueEvent) -> None:
        self.presented += [effect.cue for effect in self.machine.handle(event, self.at)]

    def wait(self, seconds: float) -> None:
        """Let time pass as the bridge does: a Tick whenever one is due."""
        end = self.at + seconds
        while self.machine.due <= end:
            self.at = max(self.at, self.machine.due)
            self.put(Tick())
        self.at = end

    @property
    def name(self) -> CueName:
        return self.presented[-1].name


def test_has_the_words_of_the_agent_and_one_that_only_an_advert_asks_for() -> None:
    words = {cue.name: cue.value for cue in CueName if cue is not CueName.QUIET}
    assert words == {cue.name: cue.value for cue in AgentCue}


def test_begins_with_the_invitation() -> None:
    assert Run().name is CueName.INVITE


@pytest.mark.parametrize("name", FALLING)
def test_falls_back_after_the_time_of_the_table(name: CueName) -> None:
    run = Run()
    run.put(Show(name, "text", "¥2.00"))
    assert run.presented[-1] == Cue(name, "text", "¥2.00", ttl_ms=round((HOLD_S[name] + 0.5) * 1000))
    run.wait(HOLD_S[name] - 0.01)
    assert run.name is name
    run.wait(0.02)
    assert run.name is CueName.INVITE


def test_times_of_the_table() -> None:
    assert HOLD_S[CueName.READING] == 2
    assert {HOLD_S[name] for name in (CueName.THANKS, CueName.UNLOCK, CueName.RETRY)} == {3}
    assert HOLD_S[CueName.IDENTIFY] == 30


def test_a_second_thanks_with_the_amount_starts_its_time_anew() -> None:
    run = Run()
    run.put(Show(CueName.THANKS))
    run.wait(2)
    run.put(Show(CueName.THANKS, "a coupon", "¥2.00"))
    run.wait(2.9)
    assert run.presented[-1].amount == "¥2.00"


def test_the_same_answer_to_a_second_tap_is_shown_anew_unless_identify_stands_over_it() -> None:
    run = Run()
    run.put(Show(CueName.RETRY))
    run.put(Show(CueName.RETRY))
    assert [cue.name for cue in run.presented] == [CueName.INVITE, CueName.RETRY, CueName.RETRY]
    run.put(Show(CueName.IDENTIFY))
    run.put(Show(CueName.RETRY))
    assert [cue.name for cue in run.presented[3:]] == [CueName.IDENTIFY]


def test_the_invitation_is_sent_again_long_before_its_time_is_over() -> None:
    run = Run()
    run.wait(BASE_TTL_S * 2)
    assert len(run.presented) == 1 + BASE_TTL_S * 2 // BASE_RESEND_S
    assert BASE_RESEND_S * 3 <= BASE_TTL_S


def test_fault_stands_over_resting_over_the_invitation() -> None:
    run = Run()
    run.put(SetLasting(CueName.RESTING, on=True))
    assert run.name is CueName.RESTING
    run.put(SetLasting(CueName.FAULT, on=True, text="reader"))
    assert (run.name, run.presented[-1].text) == (CueName.FAULT, "reader")
    run.put(SetLasting(CueName.FAULT, on=False))
    assert run.name is CueName.RESTING
    run.put(SetLasting(CueName.RESTING, on=False))
    assert run.name is CueName.INVITE


def test_identify_stands_over_all_for_30_seconds() -> None:
    run = Run()
    run.put(Show(CueName.IDENTIFY, "sh-1"))
    for event in (Show(CueName.THANKS), SetLasting(CueName.FAULT, on=True), Show(CueName.INVITE)):
        run.put(event)
        assert run.name is CueName.IDENTIFY
    run.wait(29.9)
    assert run.name is CueName.IDENTIFY
    run.wait(0.2)
    assert run.name is CueName.FAULT


def test_a_lasting_state_takes_hold_still_back_but_not_the_thanks() -> None:
    run = Run()
    run.put(Show(CueName.READING))
    run.put(SetLasting(CueName.FAULT, on=True))
    assert run.name is CueName.FAULT
    run.put(Show(CueName.THANKS))
    run.put(SetLasting(CueName.RESTING, on=True))
    assert run.name is CueName.THANKS


def test_invite_ends_a_taps_answer_at_once() -> None:
    run = Run()
    run.put(Show(CueName.RETRY))
    run.put(Show(CueName.INVITE))
    assert run.name is CueName.INVITE


def test_says_nothing_twice() -> None:
    run = Run()
    for event in (Show(CueName.INVITE), SetLasting(CueName.FAULT, on=False), Tick(), SetLevel(100)):
        run.put(event)
    assert len(run.presented) == 1


def test_brightness_never_goes_to_black() -> None:
    run = Run()
    run.put(SetLevel(0))
    assert run.presented[-1].level == MIN_LEVEL
    run.put(Show(CueName.READING))
    assert run.presented[-1].level == MIN_LEVEL


@pytest.mark.parametrize("name", [name for name in CueName if name not in LASTING])
def test_only_resting_and_fault_last(name: CueName) -> None:
    with pytest.raises(ValueError, match="lasting"):
        CueMachine().handle(SetLasting(name, on=True), 0)


@pytest.mark.parametrize("wrong", [{"ttl_ms": 0}, {"ttl_ms": 65536}, {"level": -1}, {"level": 101}])
def test_a_cue_outside_the_frames_limits_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="outside"):
        Cue(CueName.INVITE, **wrong)  # type: ignore[arg-type] # the point of the test


EVENTS = st.one_of(
    st.builds(Show, st.sampled_from(CueName), st.text(max_size=5), st.none() | st.text(max_size=3)),
    st.builds(SetLasting, st.sampled_from(sorted(LASTING)), st.booleans(), st.text(max_size=5)),
    st.builds(SetLevel, st.integers(-10, 200)),
    st.builds(Try, st.none() | st.sampled_from(CueName), st.text(max_size=3), st.floats(0.1, 5)),
    st.just(Tick()),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 40))))
def test_any_sequence_ends_at_the_base_state_and_is_never_black(steps: list[tuple[CueEvent, float]]) -> None:
    run = Run()
    lasting: set[CueName] = set()
    for event, pause in steps:
        run.put(event)
        if isinstance(event, SetLasting):
            (lasting.add if event.on else lasting.discard)(event.name)
        # What the screens show never outlives what they were promised.
        assert run.at < run.machine.due <= run.at + run.machine.current.ttl_ms / 1000
        run.wait(pause)
        assert run.machine.current == run.presented[-1]
    run.wait(31)
    base = next((name for name in (CueName.FAULT, CueName.RESTING) if name in lasting), CueName.INVITE)
    assert run.name is base is run.machine.base
    assert all(1 <= cue.ttl_ms <= 65535 and MIN_LEVEL <= cue.level <= 100 for cue in run.presented)


ADVERTS = st.builds(
    Advert,
    st.builds(Words, st.sampled_from(["", "碰"]), st.sampled_from(["", "tap"])),
    st.builds(Words, st.sampled_from(["", "谢"]), st.sampled_from(["", "thanks"])),
    st.sampled_from([None, ("#000000", "#ffffff")]),
    st.booleans(),
)


def naive(log: list[tuple[float, CueEvent]], now: float) -> Cue:
    """What must be on the screens, from all that ever happened; without any state, and without the time to live."""
    past = [event for _, event in log]
    adverts = [event.advert for event in past if isinstance(event, SetAdvert)]
    levels = [event.level for event in past if isinstance(event, SetLevel)]
    level = min(max(levels[-1] if levels else 100, MIN_LEVEL), 100)
    advert = adverts[-1] if adverts else Advert()

    if cue := told_to_one(log, now):
        return replace(cue, level=level)
    for index in reversed(range(len(log))):
        at, event = log[index]
        if isinstance(event, Show) and event.name not in {CueName.INVITE, CueName.QUIET}:
            break  # a tap, or IDENTIFY, ended what was tried before
        if begins(event, past[:index]):
            break  # so did a lasting state
        if isinstance(event, Try):
            if event.name is None or now >= at + event.seconds or told_to_one(log[:index], at):
                break
            return Cue(event.name, event.text, level=level)

    for lasting in (CueName.FAULT, CueName.RESTING):
        raised = [event for event in past if isinstance(event, SetLasting) and event.name is lasting]
        if raised and raised[-1].on:
            return Cue(lasting, raised[-1].text, level=level)
    if not advert.reward:
        return Cue(CueName.QUIET, level=level)
    return Cue(CueName.INVITE, words=advert.invite, colours=advert.colours, level=level)


def begins(event: CueEvent, past: list[CueEvent]) -> bool:
    """Whether a lasting state begins with this event."""
    if not isinstance(event, SetLasting) or not event.on:
        return False
    same = [one for one in past if isinstance(one, SetLasting) and one.name is event.name]
    return not (same and same[-1].on)


def told_to_one(log: list[tuple[float, CueEvent]], now: float) -> Cue | None:
    """What is shown for one tap, or because somebody asks which screen this is."""
    named = [(at, event) for at, event in log if isinstance(event, Show) and event.name is CueName.IDENTIFY]
    if named and now < named[-1][0] + HOLD_S[CueName.IDENTIFY]:
        return Cue(CueName.IDENTIFY, named[-1][1].text, named[-1][1].amount)

    for index in reversed(range(len(log))):
        at, event = log[index]
        if isinstance(event, SetLasting) and event.on:
            # It takes "hold still" back, and nothing else.
            earlier = [one for _, one in log[:index] if isinstance(one, Show) and one.name is not CueName.IDENTIFY]
            if earlier and earlier[-1].name is CueName.READING:
                break
        if not isinstance(event, Show) or event.name is CueName.IDENTIFY:
            continue
        if event.name in {CueName.INVITE, CueName.QUIET} or now >= at + HOLD_S[event.name]:
            break
        then = [one.advert for _, one in log[:index] if isinstance(one, SetAdvert)]
        of_then = then[-1] if then else Advert()
        words = of_then.thanks if event.name is CueName.THANKS else Words()
        colours = of_then.colours if event.name in {CueName.READING, CueName.THANKS} else None
        return Cue(event.name, event.text, event.amount, words=words, colours=colours)
    return None


def test_a_try_is_short_stands_over_the_lasting_states_and_ends_by_itself() -> None:
    run = Run()
    run.put(SetLasting(CueName.RESTING, on=True, text="flood"))
    run.put(Try(CueName.THANKS, "TEST", 2))
    assert (run.name, run.machine.current.text, run.machine.trying) == (CueName.THANKS, "TEST", True)
    assert run.machine.current.ttl_ms <= 2500
    run.wait(2.1)
    assert (run.name, run.machine.current.text, run.machine.trying) == (CueName.RESTING, "flood", False)


def test_a_tap_ends_a_try_and_none_is_shown_beside_a_taps_answer() -> None:
    run = Run()
    run.put(Try(CueName.FAULT, "TEST", 3))
    run.put(Show(CueName.READING))
    assert (run.name, run.machine.trying) == (CueName.READING, False)
    assert not run.machine.may_try(run.at)
    run.put(Try(CueName.FAULT, "TEST", 3))
    assert run.name is CueName.READING
    run.wait(2.1)
    assert run.name is CueName.INVITE
    run.put(Try(CueName.FAULT, "TEST", 3))
    run.put(Try(None))
    assert run.name is CueName.INVITE


def test_a_fault_that_begins_amid_a_try_is_seen_and_one_that_goes_on_ends_none() -> None:
    run = Run()
    run.put(Try(CueName.THANKS, "TEST", 3))
    run.put(SetLasting(CueName.FAULT, on=True, text="reader"))
    assert (run.name, run.machine.current.text, run.machine.trying) == (CueName.FAULT, "reader", False)
    run.put(Try(CueName.THANKS, "TEST", 3))  # a display can be tried while the reader is not there yet
    run.put(SetLasting(CueName.FAULT, on=True, text="reader"))
    assert (run.name, run.machine.trying) == (CueName.THANKS, True)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 5.1, 3600.0])
def test_a_try_that_would_last_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="at most"):
        CueMachine().handle(Try(CueName.THANKS, "TEST", seconds), 0)


@given(st.lists(st.tuples(EVENTS | st.builds(SetAdvert, ADVERTS), st.floats(0, 40)), max_size=30))
@settings(max_examples=300)
def test_the_screens_show_what_a_naive_reading_of_all_that_happened_says(steps: list[tuple[CueEvent, float]]) -> None:
    run, log = Run(), list[tuple[float, CueEvent]]()
    for event, pause in steps:
        run.put(event)
        log.append((run.at, event))
        assert replace(run.machine.current, ttl_ms=1) == replace(naive(log, run.at), ttl_ms=1)
        run.wait(pause)
        assert replace(run.machine.current, ttl_ms=1) == replace(naive(log, run.at), ttl_ms=1)

"""Both ends joined over good and bad lines in virtual time: the right cue is shown in the end, each run once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.messages import AskStatus, EventCode, Level, McuEvent, Reset, Status
from firmware_bridge.protocol import ACK_WITHIN_S, RETRIES, SILENCE_S, Ask, Phase, Received, Shown, Told, Up, Write
from tests.fakes.screen_line import JoinedEnds, LineKind

LINES = {
    "perfect": LineKind(),
    "bytewise": LineKind(bytewise=True),
    "noisy": LineKind(noise=0.5),
    "lossy": LineKind(loss=0.2),
    "delayed": LineKind(delay_s=0.03),
    "very late": LineKind(delay_s=0.4),
    "all of it": LineKind(loss=0.2, noise=0.3, bytewise=True, delay_s=0.01),
}
# Every combination of what a line may do.
COMBINED = [
    LineKind(loss, noise, bytewise, delay_s)
    for loss in (0.0, 0.2)
    for noise in (0.0, 0.5)
    for bytewise in (False, True)
    for delay_s in (0.0, 0.03, 0.4)
]
SEQUENCE = [CueName.INVITE, CueName.READING, CueName.THANKS, CueName.RESTING, CueName.FAULT, CueName.INVITE]


@pytest.mark.parametrize("kind", COMBINED, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_every_cue_arrives_in_order(kind: LineKind, seed: int) -> None:
    ends = JoinedEnds(kind, seed)
    ends.open()
    ends.run(2.5)
    for name in SEQUENCE:
        ends.want(Cue(name, str(name), ttl_ms=12_000))
        ends.run(4)
        assert ends.device.showing.cue is name
        assert ends.device.showing.text == name
    assert ends.downs == []
    assert ends.host.phase is Phase.UP


@pytest.mark.parametrize("kind", [LINES["perfect"], LINES["bytewise"], LINES["delayed"]])
def test_a_good_line_needs_one_display_for_each_cue(kind: LineKind) -> None:
    ends = JoinedEnds(kind)
    ends.open()
    ends.run(1)
    for name in SEQUENCE:
        ends.want(Cue(name, ttl_ms=60_000))
        ends.run(2)
    assert [display.cue for _, display in ends.shown] == SEQUENCE
    assert [effect.cue for effect in ends.of(Shown) if isinstance(effect, Shown)] == SEQUENCE


def test_a_very_late_line_shows_a_cue_a_few_times_and_not_for_ever() -> None:
    ends = JoinedEnds(LINES["very late"])
    ends.open()
    ends.run(2.5)
    for name in SEQUENCE:
        ends.want(Cue(name, ttl_ms=60_000))
        ends.run(10)
    assert len(ends.shown) <= 2 * len(SEQUENCE)
    assert [effect.cue for effect in ends.of(Shown) if isinstance(effect, Shown)] == SEQUENCE


def test_a_perfect_line_shows_the_cue_at_once() -> None:
    ends = JoinedEnds(LineKind())
    ends.open()
    ends.run(1)
    ends.want(Cue(CueName.READING, ttl_ms=2500))
    asked = ends.now
    ends.run(0.5)
    assert ends.shown[-1][0] == asked


@given(st.integers(0, 10_000))
@settings(max_examples=60)
def test_a_lossy_line_never_runs_a_message_twice(seed: int) -> None:
    ends = JoinedEnds(LineKind(loss=0.2), seed)
    ends.open()
    ends.run(2.5)
    for number in range(10):
        ends.want(Cue(CueName.THANKS, f"tap {number}", ttl_ms=60_000))
        ends.run(0.1)
    ends.run(4)
    texts = [display.text for _, display in ends.shown]
    assert texts[-1] == "tap 9"
    # A repeat has the same seq and is answered only; a cue that is sent anew after four lost tries has another seq.
    tries = [effect for effect in ends.of(Write) if isinstance(effect, Write) and effect.cue and not effect.repeat]
    assert len(texts) <= len(tries)
    assert texts == sorted(texts)


def test_a_cut_line_is_noticed_in_three_seconds_and_the_screen_falls_back() -> None:
    ends = JoinedEnds(LineKind())
    ends.open()
    ends.want(Cue(CueName.FAULT, ttl_ms=12_000))
    ends.run(1)
    ends.cut = True
    ends.run(4.1)
    assert len(ends.downs) == 1
    ends.run(12)
    assert (ends.device.showing.cue, ends.device.showing.static) == (CueName.RESTING, True)


def test_an_mcu_that_restarts_shows_the_cue_again_within_two_seconds() -> None:
    ends = JoinedEnds(LineKind())
    ends.open()
    ends.want(Cue(CueName.RESTING, "full", ttl_ms=60_000))
    ends.run(1)
    ends.reboot_device()
    assert ends.device.showing.cue is CueName.INVITE
    ends.run(2)
    assert (ends.device.showing.cue, ends.device.showing.text) == (CueName.RESTING, "full")
    ends.ask(Ask(Reset()))
    ends.run(2)
    assert ends.restarts == 1
    assert ends.device.showing.cue is CueName.RESTING


@pytest.mark.parametrize("seed", range(10))
def test_an_event_reaches_the_host_once_over_a_lossy_line(seed: int) -> None:
    ends = JoinedEnds(LineKind(loss=0.2), seed)
    ends.open()
    ends.run(2.5)
    ends.raise_event(McuEvent(1, b"\x01"))
    ends.run(1)
    assert ends.of(Told) == [Told(McuEvent(1, b"\x01"))]


def test_brightness_arrives_beside_a_cue() -> None:
    ends = JoinedEnds(LineKind())
    ends.open()
    ends.run(0.5)
    ends.ask(Ask(Level(30)))
    ends.want(Cue(CueName.READING, ttl_ms=5000))
    ends.run(0.5)
    assert (ends.device.showing.cue, ends.device.showing.level) == (CueName.READING, 30)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_an_mcu_that_talks_nonsense_never_stops_the_host(noise: list[bytes]) -> None:
    ends = JoinedEnds(LineKind())
    ends.open()
    ends.run(0.5)
    for piece in noise:
        ends.to_host(Received(piece))
        ends.to_device(Received(piece))
    ends.want(Cue(CueName.THANKS, ttl_ms=5000))
    ends.run(1)
    assert ends.device.showing.cue is CueName.THANKS


KINDS = st.builds(
    LineKind,
    loss=st.sampled_from([0.0, 0.1, 0.2]),
    noise=st.sampled_from([0.0, 0.3]),
    bytewise=st.booleans(),
    delay_s=st.sampled_from([0.0, 0.02, 0.2]),
)
# What happens on a terminal: (what, number); the number is a time to live, a brightness, a time.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("cue"), st.integers(100, 20_000)),
        st.tuples(st.just("level"), st.integers(0, 100)),
        st.tuples(st.just("status"), st.just(0)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("event"), st.integers(1, 4)),
        st.tuples(st.just("reboot"), st.just(0)),
        st.tuples(st.just("cut"), st.integers(100, 9_000)),
        st.tuples(st.just("wait"), st.integers(1, 6_000)),
    ),
    max_size=25,
)


class Terminal:
    """Joined ends with a supervisor, which number each cue in its text and note until when it is right."""

    def __init__(self, kind: LineKind, seed: int) -> None:
        self.ends = JoinedEnds(kind, seed, reopen_after_s=0.2)
        self.until: list[float] = []
        self.ends.open()

    def cue(self, ttl_ms: int) -> None:
        name = SEQUENCE[len(self.until) % len(SEQUENCE)]
        self.ends.want(Cue(name, str(len(self.until)), ttl_ms=ttl_ms))
        self.until.append(self.ends.now + ttl_ms / 1000)

    def step(self, what: str, number: int) -> None:
        ends = self.ends
        match what:
            case "cue":
                self.cue(number)
            case "level":
                ends.ask(Ask(Level(number)))
            case "status":
                ends.ask(Ask(AskStatus()))
            case "reset":
                ends.ask(Ask(Reset()))
            case "event":
                ends.raise_event(McuEvent(number))
            case "reboot":
                ends.reboot_device()
            case "cut":
                ends.cut = True
                ends.run(number / 1000)
                ends.cut = False
            case _:
                ends.run(number / 1000)


@given(KINDS, st.integers(0, 1000), STEPS)
@settings(max_examples=120, deadline=None)
def test_whatever_happens_no_cue_is_shown_late_or_out_of_order_and_the_newest_wins(
    kind: LineKind, seed: int, steps: list[tuple[str, int]]
) -> None:
    terminal = Terminal(kind, seed)
    ends = terminal.ends
    for what, number in steps:
        terminal.step(what, number)
    terminal.cue(60_000)
    ends.run(20)
    assert ends.host.phase is Phase.UP
    assert (ends.device.showing.text, ends.device.showing.static) == (str(len(terminal.until) - 1), False)
    ends.run(41.0)
    assert ends.device.showing.static, "its time is over"

    # A repeat of a frame bears the time to live of the first try.
    slack = kind.delay_s + (RETRIES + 1) * ACK_WITHIN_S
    newest = 0
    for index, (_, display) in enumerate(ends.shown):
        if display.static:
            continue
        number = int(display.text)
        gone = ends.shown[index + 1][0] if index + 1 < len(ends.shown) else ends.now
        assert number >= newest, "an older cue after a newer one"
        assert gone <= terminal.until[number] + slack, f"cue {number} stays for {gone - terminal.until[number]:.2f} s"
        newest = number


@given(KINDS, st.integers(0, 1000), st.integers(100, 20_000))
@settings(max_examples=60, deadline=None)
def test_a_line_that_is_cut_and_comes_back_shows_what_is_left_of_the_newest_cue(
    kind: LineKind, seed: int, cut_ms: int
) -> None:
    terminal = Terminal(kind, seed)
    ends = terminal.ends
    ends.run(2.5)
    ends.cut = True
    ends.run(0.5)
    terminal.cue(1000)
    terminal.cue(12_000)
    ends.run(cut_ms / 1000)
    ends.cut = False
    if cut_ms > SILENCE_S * 1000:
        assert ends.downs
    left = terminal.until[1] - ends.now
    ends.run(max(left - 0.5, 6))
    assert "0" not in {display.text for _, display in ends.shown}, "the older one is never shown"
    # Three seconds of greeting, the pause, and room for 20 % of loss.
    if left > 6.5:
        assert ends.device.showing.text == "1"
    ends.run(12)
    assert ends.device.showing.static


@pytest.mark.parametrize("kind", COMBINED[::5], ids=str)
def test_a_device_that_restarts_again_and_again_is_greeted_each_time(kind: LineKind) -> None:
    terminal = Terminal(kind, seed=7)
    ends = terminal.ends
    for _ in range(8):
        terminal.cue(60_000)
        ends.run(1.7)
        ends.reboot_device()
    ends.run(5)
    assert ends.device.showing.text == "7"
    assert len(ends.of(Up)) >= 2
    ends.ask(Ask(AskStatus()))
    ends.run(2)
    told = [told.message for told in ends.of(Told) if isinstance(told, Told)]
    assert [message.cue for message in told if isinstance(message, Status)][-1:] in ([], [SEQUENCE[7 % len(SEQUENCE)]])


@given(KINDS, st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_an_event_is_told_once_over_any_line_or_not_at_all(kind: LineKind, seed: int, count: int) -> None:
    terminal = Terminal(kind, seed)
    ends = terminal.ends
    ends.run(3)
    for number in range(count):
        ends.raise_event(McuEvent(EventCode.BUTTON, bytes((number,))))
    ends.run(3)
    pressed = [told.message.data[0] for told in ends.of(Told) if isinstance(told, Told) and told.message.data]  # type: ignore[union-attr]  # nobody asked for a STATUS
    assert pressed == sorted(set(pressed))
    if not kind.loss and not kind.noise:
        assert pressed == list(range(count))

"""Both ends joined over good and bad lines in virtual time: the right cue is shown in the end, each run once."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.messages import Level, McuEvent, Reset
from firmware_bridge.protocol import Ask, Phase, Received, Shown, Told, Write
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
SEQUENCE = [CueName.INVITE, CueName.READING, CueName.THANKS, CueName.RESTING, CueName.FAULT, CueName.INVITE]


@pytest.mark.parametrize("kind", LINES.values(), ids=LINES.keys())
@pytest.mark.parametrize("seed", range(5))
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

"""The host's side of a trace, played to an MCU: the same MCU gives the same answers, another one is told apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.device import DeviceSession
from firmware_bridge.frames import Frame, encode_frame
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
    HostHello,
    Level,
    McuEvent,
    McuHello,
    Nak,
    NakReason,
    Ping,
    ShowCue,
    encode_message,
)
from firmware_bridge.protocol import Ask, HostEvent, Received, Want
from firmware_bridge.replay import HostReplay, Opened, Play, steps_of
from firmware_bridge.trace import Direction, Record, line_of, read_trace
from tests.fakes.recorded_line import RecordedEnds, differences, notes, replayed_to
from tests.fakes.screen_line import LineKind

cues = st.builds(Cue, st.sampled_from(CueName), st.text(max_size=12), st.none() | st.just("¥2.00"))
events: st.SearchStrategy[HostEvent] = cues.map(Want) | st.sampled_from([Ask(AskStatus()), Ask(Level(30))])
TO_MCU, TO_HOST = Direction.TO_MCU, Direction.TO_HOST


def recorded(wants: list[tuple[float, HostEvent]], kind: LineKind | None = None, seed: int = 0) -> list[Record]:
    ends = RecordedEnds(kind or LineKind(delay_s=0.002), seed=seed)
    ends.open()
    for gap, event in wants:
        ends.run(gap)
        ends.to_host(event)
    ends.run(1.0)
    if ends.records and ends.records[-1].direction is TO_MCU:
        ends.run(0.1)  # a PING at the very end is answered before the record ends
    return ends.records


SHORT = [(0.1, Want(Cue(CueName.READING))), (0.2, Ask(AskStatus())), (0.2, Want(Cue(CueName.THANKS, "a coupon")))]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), events), max_size=8), st.sampled_from([0.0, 1.0, 7.5]))
def test_the_same_mcu_answers_as_recorded(wants: list[tuple[float, HostEvent]], speed: float) -> None:
    records = recorded(wants)
    assert read_trace(["screen-link trace 1", *map(line_of, records)]) == records
    replay, effects = replayed_to(DeviceSession(), records, speed)
    assert differences(effects) == []
    assert replay.answers >= 2


def test_what_the_host_repeated_is_played_once() -> None:
    def said(*frames_of_host: bytes) -> list[Record]:
        return [Record(number, TO_MCU, data) for number, data in enumerate(frames_of_host)]

    hellos = [encode_message(HostHello("sh-1"), seq) for seq in (1, 2, 3)]
    ping, later = encode_message(Ping(1), 4), encode_message(Ping(2), 5)
    answer = Record(2, TO_HOST, encode_message(Ack(3), 3))
    heard, cue = said(*hellos), said(ping, ping, ping, later, ping)
    played = [step.record.data for step in steps_of([*heard, answer, *cue])]
    assert played == [hellos[2], ping, later, ping]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_a_trace_of_a_lossy_line_shows_only_what_was_shown_then(seed: int) -> None:
    records = recorded(SHORT, LineKind(loss=0.3), seed)
    device = DeviceSession()
    _, effects = replayed_to(device, records)
    told = {record.message.name for record in records if isinstance(record.message, ShowCue)}
    assert device.showing.cue in told | {CueName.INVITE}
    assert all(trace.startswith("nothing") or now == "nothing" for trace, now in differences(effects))


def test_another_firmware_is_told_apart() -> None:
    other = DeviceSession(McuHello((1, 0, 1), Capability.TEXT, "other"))
    _, effects = replayed_to(other, recorded(SHORT), 0)
    assert differences(effects) == [
        (
            'HELLO seq=1 version=1 firmware=1.0.0 can=text,brightness,quiet serial="simulated"',
            'HELLO seq=1 version=1 firmware=1.0.1 can=text serial="other"',
        )
    ]


def test_a_refusal_an_answer_too_few_and_one_too_many_are_told_apart() -> None:
    def says(*records: tuple[Direction, bytes]) -> list[Record]:
        return [Record(number, direction, data) for number, (direction, data) in enumerate(records)]

    hello = [(TO_MCU, encode_message(HostHello("sh-1"), 1)), (TO_HOST, encode_message(Ack(1), 1))]
    unknown = encode_frame(Frame(0x2A, 2))
    trace = says(*hello, (TO_MCU, unknown), (TO_HOST, encode_message(Ack(2), 2)), (TO_MCU, encode_message(Ping(1), 3)))
    _, effects = replayed_to(DeviceSession(), trace, 0)
    assert differences(effects) == [
        (
            'nothing more after HELLO seq=1 version=1 terminal="sh-1"',
            'HELLO seq=1 version=1 firmware=1.0.0 can=text,brightness,quiet serial="simulated"',
        ),
        ("ACK seq=2", "NAK seq=2 reason=UNKNOWN_TYPE"),
        ("nothing more after PING seq=3 uptime_ms=1", "ACK seq=3"),
    ]
    silent = says(*hello, (TO_MCU, encode_message(Ack(9), 9)), (TO_HOST, encode_message(Nak(1, NakReason.BUSY), 1)))
    _, effects = replayed_to(DeviceSession(), silent, 0)
    assert (
        "NAK seq=1 reason=BUSY",
        'HELLO seq=1 version=1 firmware=1.0.0 can=text,brightness,quiet serial="simulated"',
    ) in (differences(effects))


def test_a_deaf_mcu_ends_the_replay_after_three_seconds() -> None:
    class Deaf(DeviceSession):
        def handle(self, event: object, now: float) -> list[object]:
            return []

    replay, effects = replayed_to(Deaf(), recorded(SHORT))
    assert replay.done
    assert replay.answers == 0
    assert [now for _, now in differences(effects)] == ["nothing", "nothing"]
    assert notes(effects) == ["the MCU does not answer HELLO: the rest of the trace would say nothing"]


def test_hello_is_said_again_to_an_mcu_that_boots() -> None:
    replay = HostReplay(recorded(SHORT))
    said = [effect.data for effect in replay.handle(Opened(), 0.0) if isinstance(effect, Play)]
    while len(said) < 4:
        assert replay.due is not None
        said += [effect.data for effect in replay.handle(Received(b"boot\x00"), replay.due) if isinstance(effect, Play)]
    assert len(set(said[1:])) == 1


def test_an_event_is_acknowledged_and_no_difference() -> None:
    replay = HostReplay(recorded(SHORT))
    replay.handle(Opened(), 0.0)
    event = encode_message(McuEvent(1, b"\x01"), 7)
    effects = [*replay.handle(Received(event), 0.1), *replay.handle(Received(event), 0.2)]
    assert [effect.data for effect in effects if isinstance(effect, Play)] == [encode_message(Ack(7), 7)] * 2
    assert notes(effects) == ["the MCU tells: EVENT seq=7 event=BUTTON data=01"]
    assert differences(effects) == []


frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 9), st.binary(max_size=12), st.just(1)).map(encode_frame)
pieces = st.builds(
    Record, st.integers(0, 10**7), st.sampled_from(Direction), frames | st.binary(min_size=1, max_size=40)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, max_size=12), st.sampled_from([0.0, 1.0]))
def test_whatever_a_trace_holds_the_replay_ends(records: list[Record], speed: float) -> None:
    replay, _ = replayed_to(DeviceSession(), sorted(records, key=lambda record: record.at_us), speed)
    assert replay.done
    assert replay.due is None


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_the_pauses_of_the_trace_are_kept(speed: float) -> None:
    replay = HostReplay([Record(at, TO_MCU, encode_message(Ping(at), at % 256)) for at in (0, 1_000_000)], speed)
    assert len(replay.handle(Opened(), 50.0)) == 1
    assert replay.due == 50.0 + 1.0 / speed

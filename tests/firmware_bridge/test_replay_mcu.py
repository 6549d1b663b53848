"""The MCU's side of a trace, played to a host: the same host says the same, another one is told apart."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import Ack, HostHello, McuEvent, encode_message, from_mcu
from firmware_bridge.protocol import HostEvent, HostSession, Phase, Received, Want
from firmware_bridge.replay import Opened, Play
from firmware_bridge.replay_mcu import McuReplay
from firmware_bridge.trace import Direction, Record
from tests.fakes.recorded_line import RecordedEnds, differences, host_against
from tests.fakes.screen_line import LineKind

CUES = [CueName.READING, CueName.THANKS, CueName.INVITE, CueName.RESTING]


def recorded(wants: list[tuple[float, HostEvent]]) -> list[Record]:
    ends = RecordedEnds(LineKind(delay_s=0.002))
    ends.open()
    for at, event in wants:
        ends.run(1000.0 + at - ends.now)
        ends.to_host(event)
    ends.run(1.0)
    return ends.records


def in_turn(cues: list[CueName]) -> list[tuple[float, HostEvent]]:
    return [(0.3 + number, Want(Cue(name, f"text {name}"))) for number, name in enumerate(cues)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(CUES), min_size=1, max_size=6), st.sampled_from([0.0, 1.0]))
def test_the_same_host_says_as_recorded(cues: list[CueName], speed: float) -> None:
    wants = in_turn(cues)
    host = HostSession("sh-1")
    replay, effects = host_against(recorded(wants), host, wants, speed)
    assert differences(effects) == []
    assert host.phase is Phase.UP
    assert replay.answers == 1 + sum(now is not before for before, now in zip([None, *cues], cues, strict=False))


def test_a_time_to_live_is_no_difference_and_a_level_is() -> None:
    def shown(level: int, ttl_ms: int) -> list[tuple[float, HostEvent]]:
        return [(0.3, Want(Cue(CueName.THANKS, ttl_ms=ttl_ms, level=level)))]

    trace = recorded(shown(100, 3000))
    assert differences(host_against(trace, HostSession("sh-1"), shown(100, 2500))[1]) == []
    assert differences(host_against(trace, HostSession("sh-1"), shown(60, 3000))[1]) != []


def test_answers_bear_the_seq_that_this_host_uses() -> None:
    replay = McuReplay(recorded(in_turn([CueName.READING])))
    effects = replay.handle(Received(encode_message(HostHello("sh-1"), 77)), 1.0)
    answers = FrameDecoder().feed(b"".join(effect.data for effect in effects if isinstance(effect, Play)))
    assert [(frame.type, frame.seq) for frame in answers] == [(0x82, 77), (0x81, 77)]
    assert from_mcu(answers[0]) == Ack(77)


def test_a_hello_that_is_said_again_is_no_difference() -> None:
    trace = recorded(in_turn([CueName.READING]))
    first = next(record.data for record in trace if isinstance(record.message, HostHello))
    again = [Record(0, record.direction, record.data) for record in trace if record.frame and record.frame.seq == 1]
    wants = in_turn([CueName.READING])
    assert differences(host_against([*again, *trace], HostSession("sh-1"), wants)[1]) == []
    replay = McuReplay(trace)
    once = replay.handle(Received(first), 1.0)
    assert len(once) == 1
    assert replay.handle(Received(first), 1.1) == once


def test_another_cue_is_told_apart_and_the_rest_is_found_again() -> None:
    trace = recorded(in_turn([CueName.READING, CueName.THANKS, CueName.INVITE]))
    wants = in_turn([CueName.READING, CueName.RETRY, CueName.INVITE])
    _, effects = host_against(trace, HostSession("sh-1"), wants)
    assert [(was.split()[2], now.split()[-1].strip('"')) for was, now in differences(effects)] == [
        ("cue=thanks", "retry"),
        ("cue=thanks", "nothing"),
    ]


def test_another_terminal_is_told_apart() -> None:
    wants = in_turn([CueName.READING])
    _, effects = host_against(recorded(wants), HostSession("sh-2"), wants)
    assert ('HELLO seq=1 version=1 terminal="sh-1"', 'HELLO seq=1 version=1 terminal="sh-2"') in differences(effects)


def test_a_host_that_says_less_is_waited_for_only_so_long() -> None:
    trace = recorded(in_turn([CueName.READING, CueName.THANKS]))
    replay, effects = host_against(trace, HostSession("sh-1"), in_turn([CueName.READING]))
    assert replay.done
    assert [now for _, now in differences(effects)] == ["nothing"]


def test_what_the_mcu_said_by_itself_comes_at_its_time() -> None:
    button = encode_message(McuEvent(1, b"\x01"), 1)
    trace = recorded(in_turn([CueName.READING]))
    last = max(record.at_us for record in trace)
    trace += [
        Record(last + 500_000, Direction.TO_HOST, button),
        Record(last + 600_000, Direction.TO_HOST, b"noise\x00"),
    ]
    host = HostSession("sh-1")
    _, effects = host_against(trace, host, in_turn([CueName.READING]))
    assert differences(effects) == []
    assert host.decoder.errors == 1


def test_nothing_is_said_before_the_host_comes() -> None:
    replay = McuReplay(recorded(in_turn([CueName.READING])))
    assert replay.handle(Opened(), 5.0) == []
    assert replay.due is None


def test_a_repeat_is_answered_as_before() -> None:
    trace = recorded(in_turn([CueName.READING]))
    said = [record.data for record in trace if record.direction is Direction.TO_MCU and record.frame]
    replay = McuReplay(trace)
    replay.handle(Received(said[0]), 1.0)
    cue = next(data for data in said if data[2] == 2)
    first = [effect for effect in replay.handle(Received(cue), 1.1) if isinstance(effect, Play)]
    assert first
    assert [effect for effect in replay.handle(Received(cue), 1.2) if isinstance(effect, Play)] == first


frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 9), st.binary(max_size=12), st.just(1)).map(encode_frame)
pieces = st.builds(
    Record, st.integers(0, 10**7), st.sampled_from(Direction), frames | st.binary(min_size=1, max_size=40)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, max_size=12), st.lists(frames, min_size=1, max_size=12), st.sampled_from([0.0, 1.0]))
def test_whatever_a_trace_holds_and_a_host_says_it_ends(records: list[Record], said: list[bytes], speed: float) -> None:
    replay = McuReplay(sorted(records, key=lambda record: record.at_us), speed)
    now = 0.0
    for data in said:
        replay.handle(Received(data), now)
    for _ in range(100):
        if replay.due is None:
            break
        now = max(now, replay.due)
        replay.handle(Received(b""), now)
    assert replay.due is None

"""The MCU's end in C is the MCU's end in Python: same bytes and times in, same bytes and displays out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceEffect, DeviceSession, Display, Raise, Restart, Send
from firmware_bridge.frames import Frame, encode_frame
from firmware_bridge.messages import (
    CUE_CODES,
    Ack,
    AskStatus,
    HostHello,
    Level,
    McuEvent,
    McuHello,
    Ping,
    Reset,
    ShowCue,
    encode_message,
)
from firmware_bridge.protocol import Received, Tick
from tests.fakes.mcu_reference import Harness
from tests.firmware_bridge.mcu.test_frames_in_c import LINES, as_hex

COUNT = 2**32
STATUS = 0x84


@dataclass(frozen=True)
class Line:
    """Bytes come in."""

    data: bytes


@dataclass(frozen=True)
class Pass:
    """Milliseconds pass."""

    ms: int


@dataclass(frozen=True)
class Happen:
    """Something happens at the MCU."""

    event: McuEvent


Step = Line | Pass | Happen
Lines = list[list[str]]


def in_c(harness: Harness, steps: Iterable[Step], start_ms: int) -> Lines:
    """What the C code does, ``now_ms`` wrapping around."""
    commands = ["init"]
    now = start_ms
    for step in steps:
        match step:
            case Line(data=data):
                commands.append(f"byte {now % COUNT} {as_hex(data)}")
            case Pass(ms=ms):
                now += ms
                commands.append(f"tick {now % COUNT}")
            case Happen(event=event):
                commands += [f"event {event.code} {as_hex(event.data)}", f"tick {now % COUNT}"]
    # Python drops the oldest event without a word.
    return [line for line in harness(*commands) if line != ["dropped"]]


class InPython:
    """What device.py does, in the words of the harness; byte by byte, because C checks the time at each."""

    def __init__(self, start_ms: int) -> None:
        self.session = DeviceSession()
        self.out: Lines = []
        self._ms = start_ms
        self._step = 0

    def run(self, steps: Iterable[Step]) -> Lines:
        for step in steps:
            self._step += 1
            match step:
                case Line(data=data):
                    for byte in data:
                        self._handle(Received(bytes((byte,))))
                case Pass(ms=ms):
                    self._ms += ms
                    self._handle(Tick())
                case Happen(event=event):
                    self._handle(Raise(event))
        self.out += [self._picture("state", self.session.showing), ["errors", str(self.session.decoder.errors)]]
        return self.out

    def _handle(self, event: Received | Tick | Raise) -> None:
        # Ten nanoseconds more at each step: two moments that are a time apart to the millisecond are so in floats too.
        effects = self.session.handle(event, self._ms / 1000 + self._step * 1e-8)
        for effect in effects:
            self._take(effect)
        if Restart() in effects:
            self.session = DeviceSession()

    def _take(self, effect: DeviceEffect) -> None:
        match effect:
            case Send(data=data):
                # The C code writes each frame alone.
                self.out += [["tx", frame.hex() + "00"] for frame in data.split(b"\x00")[:-1]]
            case Display():
                self.out.append(self._picture("show", effect))
            case Restart():
                self.out.append(["restart"])

    @staticmethod
    def _picture(what: str, shown: Display) -> list[str]:
        text = as_hex(shown.text.encode())
        return [what, str(CUE_CODES[shown.cue]), str(shown.level), str(int(shown.static)), text]


def both_agree(harness: Harness, steps: list[Step], start_ms: int = 0) -> Lines:
    found = in_c(harness, steps, start_ms)
    assert found == InPython(start_ms).run(steps)
    return found


def say(message: Any, seq: int) -> Line:
    return Line(encode_message(message, seq))


# Few numbers, so that a seq comes again; both ends of the byte.
SEQS = st.sampled_from([0, 1, 2, 3, 255])
TEXTS = st.one_of(st.text(max_size=70), st.sampled_from(["", "¥2.00\n谢谢", "a\0b", "\U0010ffff", "é" * 32]))
MESSAGES = st.one_of(
    st.builds(HostHello, TEXTS),
    st.builds(
        ShowCue,
        st.sampled_from(CueName),
        st.one_of(st.integers(1, 0xFFFF), st.sampled_from([1, 50, 100, 1000])),
        st.integers(0, 100),
        TEXTS,
    ),
    st.builds(Ping, st.integers(0, COUNT - 1)),
    st.builds(Level, st.integers(0, 100)),
    st.just(AskStatus()),
    st.just(Reset()),
    st.builds(Ack, st.integers(0, 8)),
)
# Right frames around payloads that are nearly right: the checks of each field decide.
NEAR_CUES = st.tuples(
    st.integers(0, 11),
    st.sampled_from([0, 1, 255, 256]),
    st.integers(99, 102),
    st.integers(0, 66),
    st.binary(max_size=66),
).map(lambda cue: bytes((cue[0], cue[1] >> 8, cue[1] & 255, cue[2], cue[3])) + cue[4])
RAW_FRAMES = st.builds(
    Frame,
    st.one_of(st.integers(0, 7), st.integers(0x80, 0x86)),
    SEQS,
    st.one_of(st.binary(max_size=8), NEAR_CUES, st.binary(max_size=120)),
    st.sampled_from([1, 1, 1, 0, 2]),
)
EVENTS = st.builds(McuEvent, st.integers(0, 255), st.binary(max_size=34))
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(say, MESSAGES, SEQS),
    st.builds(say, MESSAGES, SEQS),
    st.builds(Line, RAW_FRAMES.map(encode_frame)),
    st.builds(Line, LINES),
    st.builds(Pass, st.one_of(st.sampled_from([0, 1, 49, 50, 51, 100, 999, 1000]), st.integers(0, 100_000))),
    st.builds(Happen, EVENTS),
)
# Most lives begin with HELLO: without it there is nothing but refusals.
LIVES = st.tuples(
    st.sampled_from([[], [say(HostHello("sh-1"), 1)], [say(HostHello("sh-1"), 1)]]), st.lists(STEPS, max_size=30)
)
STARTS = st.one_of(st.just(0), st.integers(COUNT - 100_000, COUNT - 1), st.integers(0, COUNT - 1))


@given(LIVES, STARTS)
@settings(max_examples=300)
def test_every_life_is_the_same(harness: Harness, life: tuple[list[Step], list[Step]], start_ms: int) -> None:
    both_agree(harness, [*life[0], *life[1]], start_ms)


@pytest.mark.proof
@pytest.mark.timeout(580)
@given(st.tuples(LIVES, st.lists(STEPS, min_size=30, max_size=200)), STARTS)
@settings(max_examples=1000)
def test_every_long_life_is_the_same(harness: Harness, life: tuple[Any, list[Step]], start_ms: int) -> None:
    both_agree(harness, [*life[0][0], *life[0][1], *life[1]], start_ms)


def test_text_is_utf8_or_refused(harness: Harness) -> None:
    for lead in (0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xDF, *range(0xE0, 0xF8), 0xFE, 0xFF):
        both_agree(harness, texts_after(lead))


def texts_after(lead: int) -> list[Step]:
    """A lead byte with the bytes at which the answer changes, one to six bytes long."""
    edges = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    texts = [bytes((lead,))]
    texts += [bytes((lead, second)) for second in edges]
    texts += [bytes((lead, second, third)) for second in edges for third in (0x7F, 0x80, 0xBF, 0xC0)]
    texts += [bytes((lead, second, 0xBF, fourth)) for second in edges for fourth in (0x41, 0x7F, 0x80, 0xBF, 0xC0)]
    texts += [text + b"\x80" for text in texts[-50:]] + [b"A" + text + b"B" for text in texts]
    steps: list[Step] = [say(HostHello("sh-1"), 1)]
    for seq, text in enumerate(texts):
        payload = bytes((1, 1, 0, 50, len(text))) + text
        steps.append(Line(encode_frame(Frame(0x02, seq % 200 + 2, payload))))
    return steps


def near_payloads() -> Iterator[tuple[int, bytes]]:
    """(type, payload) on both sides of each limit."""
    for cue, ttl, level, length in product((0, 1, 9, 10), (0, 1, 256, 0xFFFF), (0, 100, 101), (0, 1, 64, 65)):
        head = bytes((cue, ttl >> 8, ttl & 255, level, length))
        yield from ((0x02, head + b"x" * size) for size in {length - 1, length, length + 1} if size >= 0)
    yield from ((kind, bytes(length)) for kind in range(256) for length in (*range(7), 24, 25, 26, 120))
    yield from ((0x01, bytes((version, *rest))) for version in (0, 2, 255) for rest in (b"", b"v", b"\xff" * 100))
    yield from ((0x04, bytes((level,))) for level in (0, 99, 100, 101, 255))


def test_each_limit_of_each_payload_is_the_same(harness: Harness) -> None:
    frames = [
        Line(encode_frame(Frame(kind, number % 251, payload, version)))
        for number, (kind, payload) in enumerate(near_payloads())
        for version in ((0, 1, 2) if number % 10 == 0 else (1,))
    ]
    # The ones that are run last a while: a reset in between forgets the host.
    hello = say(HostHello("sh-1"), 255)
    both_agree(harness, [step for frame in frames for step in (hello, frame, Pass(1))])
    both_agree(harness, [frame for frame in frames if frame.data[1:3] != b"\x01\x01"])


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 34, 120])
def test_the_data_of_an_event_is_cut_at_its_limit(harness: Harness, length: int) -> None:
    both_agree(harness, [say(HostHello("sh-1"), 1), Happen(McuEvent(200, bytes(range(1, length + 1))))])


@pytest.mark.parametrize(
    "serial", ["", "LX-7", "sixteen letters!", "sixteen letters and more", "谢谢谢谢谢x", "谢谢谢谢谢谢"]
)
def test_a_serial_number_is_cut_at_a_character(harness: Harness, serial: str) -> None:
    line = encode_message(HostHello("sh-1"), 1)
    found = harness(f"serial {as_hex(serial.encode())}", "init", f"byte 0 {line.hex()}", f"serial {b'simulated'.hex()}")
    hello = InPython(0)
    hello.session = DeviceSession(McuHello((1, 0, 0), hello.session.hello.capabilities, serial))
    assert found == hello.run([Line(line)])


@given(st.binary(max_size=24))
@example("谢".encode() * 8)
def test_a_terminal_id_is_utf8_or_refused(harness: Harness, terminal_id: bytes) -> None:
    both_agree(harness, [Line(encode_frame(Frame(0x01, 1, b"\x01" + terminal_id)))])


@pytest.mark.parametrize("start_ms", [0, COUNT - 1, COUNT - 500, COUNT - 2499, COUNT - 2500, COUNT // 2 - 1000])
def test_a_cue_ends_in_time_over_the_wrap_around_of_the_clock(harness: Harness, start_ms: int) -> None:
    steps: list[Step] = [say(HostHello("sh-1"), 1), say(ShowCue(CueName.READING, 2500), 2), Pass(2499)]
    assert in_c(harness, steps, start_ms)[-2][:4] == ["state", "2", "100", "0"]
    assert both_agree(harness, [*steps, Pass(1)], start_ms)[-2][:4] == ["state", "1", "100", "1"]
    # A day and a month later nothing has come back to life.
    assert both_agree(harness, [*steps, Pass(1), Pass(86_400_000), Pass(COUNT - 5)], start_ms)[-3][0] == "show"


@pytest.mark.parametrize("up_ms", [0, 255, 256, 0x12345678, 0x00FEDCBA, COUNT - 1])
def test_a_status_bears_the_uptime(harness: Harness, up_ms: int) -> None:
    both_agree(harness, [say(HostHello("sh-1"), 1), say(AskStatus(), 2)], up_ms)


@pytest.mark.parametrize("start_ms", [0, COUNT - 1, COUNT - 60, COUNT - 120])
def test_an_event_is_repeated_in_time_over_the_wrap_around_of_the_clock(harness: Harness, start_ms: int) -> None:
    begin: list[Step] = [say(HostHello("sh-1"), 1), Happen(McuEvent(1, b"\x01"))]
    silence: list[Step] = [Pass(49), Pass(1)] * 6
    found = both_agree(harness, begin + silence, start_ms)
    event = ["tx", encode_message(McuEvent(1, b"\x01"), 1).hex()]
    assert found.count(event) == 4
    heard = both_agree(harness, [*begin, Pass(50), say(Ack(1), 1), *silence], start_ms)
    assert heard.count(event) == 2


def test_an_event_that_pushes_an_older_one_out_says_so(harness: Harness) -> None:
    events = [f"event {code} -" for code in range(6)]
    out = harness("init", *events)
    assert out.count(["dropped"]) == 2
    steps: list[Step] = [Happen(McuEvent(code)) for code in range(6)]
    heard = both_agree(harness, [*steps, say(HostHello("sh-1"), 1)])
    assert heard[2] == ["tx", encode_message(McuEvent(2), 1).hex()]


def test_a_status_is_answered_as_before_however_late_the_repeat(harness: Harness) -> None:
    ask = say(AskStatus(), 2)
    found = both_agree(harness, [say(HostHello("sh-1"), 1), Pass(70_000), ask, Pass(5000), ask], 12_345)
    sent = [line for line in found if line[0] == "tx"]
    assert sent[2:4] == sent[4:6]


def test_every_seq_is_counted_and_the_count_begins_again(harness: Harness) -> None:
    steps: list[Step] = [say(HostHello("sh-1"), 1)]
    for number in range(600):
        steps += [say(Level(number % 101), number % 256), Happen(McuEvent(128)), say(Ack((number + 1) % 256), 0)]
    found = both_agree(harness, steps)
    assert len([line for line in found if line[0] == "show"]) == 600
    assert len([line for line in found if line[0] == "tx"]) == 2 + 600 + 600

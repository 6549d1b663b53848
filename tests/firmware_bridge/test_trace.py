"""The trace of a line: what was on it comes back byte for byte, a person can read it, and nothing in it can harm."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame, FrameDecoder, encode_frame
from firmware_bridge.messages import (
    Ack,
    Capability,
    HostHello,
    McuEvent,
    McuHello,
    Message,
    Nak,
    NakReason,
    Ping,
    ShowCue,
    Status,
    encode_message,
)
from firmware_bridge.trace import (
    HEADER,
    MAX_AT_US,
    MAX_PIECE,
    Direction,
    Pieces,
    Record,
    TraceError,
    comment,
    line_of,
    read_trace,
    words_of,
)

records = st.builds(
    Record, st.integers(0, MAX_AT_US), st.sampled_from(Direction), st.binary(min_size=1, max_size=MAX_PIECE)
)
frames = st.builds(
    ShowCue, st.sampled_from(CueName), st.integers(1, 0xFFFF), st.integers(0, 100), st.text(max_size=64)
).map(lambda message: encode_message(message, 7))


@given(st.lists(records | st.builds(Record, st.just(5), st.just(Direction.TO_MCU), frames), max_size=8))
def test_what_was_written_is_read_again(found: list[Record]) -> None:
    in_time = sorted(found, key=lambda record: record.at_us)
    lines = [HEADER, comment("of \x1b[2J a test"), "", *(line_of(record) for record in in_time)]
    assert read_trace(f"{line}\n" for line in lines) == in_time


@given(records | st.builds(Record, st.just(5), st.just(Direction.TO_MCU), frames))
def test_a_line_is_one_line_and_harms_no_terminal(record: Record) -> None:
    assert line_of(record).isprintable()
    assert len(line_of(record)) < 4096


@given(st.lists(st.binary(max_size=700), max_size=8))
def test_pieces_are_the_bytes_that_came_cut_behind_each_delimiter(chunks: list[bytes]) -> None:
    pieces = Pieces()
    found = [piece for chunk in chunks for piece in pieces.feed(chunk)]
    rest = pieces.flush()
    assert b"".join(found) + rest == b"".join(chunks)
    assert all(1 <= len(piece) <= MAX_PIECE and b"\x00" not in piece[:-1] for piece in found)
    assert len(rest) <= MAX_PIECE
    assert b"\x00" not in rest
    assert pieces.flush() == b""


def test_noise_that_is_too_long_for_a_record_takes_several() -> None:
    pieces = Pieces()
    assert [len(piece) for piece in pieces.feed(b"x" * 1200 + b"\x00")] == [512, 512, 177]
    assert [len(piece) for piece in pieces.feed(b"x" * 1200)] == [512, 512]
    assert len(pieces.flush()) == 176


@given(st.lists(frames, min_size=1, max_size=5), st.integers(1, 40))
def test_frames_in_any_chunks_are_a_record_each(sent: list[bytes], size: int) -> None:
    line = b"".join(sent)
    pieces = Pieces()
    found = [piece for at in range(0, len(line), size) for piece in pieces.feed(line[at : at + size])]
    assert found == sent
    assert FrameDecoder().feed(line) == [Record(0, Direction.TO_MCU, piece).frame for piece in found]


@pytest.mark.parametrize(
    ("direction", "message", "words"),
    [
        (">", HostHello("sh-1"), 'HELLO seq=3 version=1 terminal="sh-1"'),
        (">", ShowCue(CueName.READING, 2500), "CUE seq=3 cue=reading ttl_ms=2500 level=100"),
        (
            ">",
            ShowCue(CueName.THANKS, 3500, 60, "¥2.00\n谢谢"),
            'CUE seq=3 cue=thanks ttl_ms=3500 level=60 text="¥2.00\\n谢谢"',
        ),
        (">", Ping(1000), "PING seq=3 uptime_ms=1000"),
        (
            "<",
            McuHello((1, 4, 2), Capability.TEXT | Capability.QUIET, "LX-7"),
            'HELLO seq=3 version=1 firmware=1.4.2 can=text,quiet serial="LX-7"',
        ),
        ("<", McuHello((1, 0, 0), Capability(0x80)), 'HELLO seq=3 version=1 firmware=1.0.0 can=0x80 serial=""'),
        ("<", Ack(3), "ACK seq=3"),
        ("<", Ack(4), "ACK seq=3 answers=4"),
        ("<", Nak(3, NakReason.UNKNOWN_CUE), "NAK seq=3 reason=UNKNOWN_CUE"),
        (
            "<",
            Status(None, 3_661_000, -5, 0x0104),
            "STATUS seq=3 cue=none uptime_ms=3661000 temperature_c=-5 faults=0x0104",
        ),
        ("<", McuEvent(1, b"\x01"), "EVENT seq=3 event=BUTTON data=01"),
        ("<", McuEvent(200), "EVENT seq=3 event=200"),
    ],
)
def test_a_message_is_said_in_words(direction: str, message: Message, words: str) -> None:
    assert words_of(Record(0, Direction(direction), encode_message(message, 3))) == words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00", "delimiter"),
        (b"\x05\x41\x00", "noise bytes=3"),
        (b"boot v1\r\n\x00", 'noise bytes=10 text="boot v1\\r\\n"'),
        (b"boot \x1b[2J\xe2\x80\xae and go on", "noise, not ended bytes=22"),
        (encode_message(Ping(1), 3)[:-3] + b"\x01\x01\x00", "wrong CRC bytes=11"),
        (encode_frame(Frame(0x7F, 3)), "type=0x7f seq=3 no message: type 0x7f is not of this version"),
    ],
)
def test_what_is_no_message_is_said_too(data: bytes, words: str) -> None:
    assert words_of(Record(0, Direction.TO_MCU, data)).startswith(words)


def test_the_line_of_the_manual() -> None:
    data = encode_message(ShowCue(CueName.READING, 2500), 3)
    assert line_of(Record(12_345, Direction.TO_MCU, data)) == (
        "    0.012345 > CUE seq=3 cue=reading ttl_ms=2500 level=100  | 08 01 02 03 02 09 c4 64 03 52 c3 00"
    )


def test_the_trace_of_the_manual_is_one() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "screen-link.md").read_text(encoding="utf-8")
    trace = manual[manual.index(f"```text\n{HEADER}") + len("```text\n") :].partition("```")[0].splitlines()
    records = read_trace(trace)
    assert [line_of(record) for record in records] == [line for line in trace[1:] if not line.startswith("#")]


GOOD = "    0.000001 > x  | 00"


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        ([], 1),
        ([GOOD], 1),
        (["screen-link trace 2"], 1),
        ([HEADER, "    0.000001 > x  | "], 2),
        ([HEADER, "    0.000001 > x  | 0"], 2),
        ([HEADER, "    0.000001 > x  | 0G"], 2),
        ([HEADER, "    0.000001 > x  | 00 "], 2),
        ([HEADER, "    0.000001 > x  | 00  00"], 2),
        ([HEADER, "    0.000001 >   | 00"], 2),
        ([HEADER, "    0.000001 = x  | 00"], 2),
        ([HEADER, "    0.0001 > x  | 00"], 2),
        ([HEADER, "   -0.000001 > x  | 00"], 2),
        ([HEADER, "    0.00000\u0661 > x  | 00"], 2),
        ([HEADER, GOOD, "    0.000000 > x  | 00"], 3),
        ([HEADER, "", "# said", "nonsense"], 4),
        ([HEADER, "    0.000001 > x  | " + "00 " * 512 + "00"], 2),
        ([HEADER, "    0.000001 > " + "x" * 5000 + "  | 00"], 2),
        ([HEADER, "x" * 10_000_000], 2),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(lines: list[str], at: int) -> None:
    with pytest.raises(TraceError, match=f"^line {at}: ") as refused:
        read_trace(lines)
    assert refused.value.line == at


def test_no_trace_is_read_without_end() -> None:
    def endless() -> Iterator[str]:
        yield HEADER
        while True:
            yield ""

    with pytest.raises(TraceError, match="at most 250000 lines"):
        read_trace(endless())


@given(st.lists(st.text(max_size=80), max_size=4))
def test_the_reader_fails_in_one_way_only(lines: list[str]) -> None:
    with suppress(TraceError):
        read_trace([HEADER, *lines])


@pytest.mark.parametrize("wrong", [(-1, b"x"), (MAX_AT_US + 1, b"x"), (0, b""), (0, bytes(MAX_PIECE + 1))])
def test_no_record_holds_what_its_line_could_not(wrong: tuple[int, bytes]) -> None:
    with pytest.raises(ValueError, match=r"at_us|bytes"):
        Record(wrong[0], Direction.TO_HOST, wrong[1])

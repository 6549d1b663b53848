import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.readers.profiles.ascii_line import AsciiLine
from edge_agent.readers.profiles.base import MAX_NUMBER, FaultKind, Reading
from tests.fakes.portions import CUTS, numbers, told

ends = st.sampled_from([b"\r", b"\n", b"\r\n"])
texts = st.text("ghijklmnopq.-/", min_size=4, max_size=MAX_NUMBER).map(str.encode)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_a_line_is_read_whatever_ends_it(end: bytes) -> None:
    assert told(AsciiLine(), b"04A1B2C3D4E5F6" + end + b"pass:4711" + end) == [
        bytes.fromhex("04A1B2C3D4E5F6"),
        b"pass:4711",
    ]


def test_prefix_and_suffix_are_taken_off_and_asked_for() -> None:
    parser = AsciiLine(prefix="ID=", suffix=";")
    assert told(parser, b"ID=4711;\r\n") == [b"4711"]
    for wrong in (b"4711;\r", b"ID=4711\r", b"ID=;\r", b"ID;\r", b"x\r", b"ID=  ;\r"):
        assert told(parser, wrong) == [FaultKind.AFFIX]


def test_prefix_and_suffix_may_not_overlap() -> None:
    assert told(AsciiLine(prefix="aba", suffix="ab"), b"abab\r") == [FaultKind.AFFIX]


@pytest.mark.parametrize(
    ("length", "told_of"), [(4, 4), (MAX_NUMBER, MAX_NUMBER), (MAX_NUMBER + 1, 0), (10 * MAX_NUMBER, 0)]
)
def test_a_number_has_4_to_128_characters(length: int, told_of: int) -> None:
    events = told(AsciiLine(prefix="<<", suffix=">"), b"<<" + b"x" * length + b">\r")
    assert events == ([b"x" * told_of] if told_of else events)
    assert told_of or set(events) == {FaultKind.OVERLONG}


def test_what_is_too_short_is_noise_unless_the_readers_numbers_are_so_short() -> None:
    assert told(AsciiLine(), b"711\r  47 \r4711\r") == [FaultKind.LENGTH, FaultKind.LENGTH, b"4711"]
    assert told(AsciiLine(min_length=2), b"7\r  47 \r") == [FaultKind.LENGTH, b"47"]
    assert told(AsciiLine(prefix="ID=", suffix=";"), b"ID=711;\r") == [FaultKind.LENGTH]


def test_what_is_too_long_is_thrown_away_up_to_the_next_line_end() -> None:
    parser = AsciiLine()
    parser.feed(b"x" * 200)
    assert told(parser, b"4711\r4712\r") == [b"4712"]


def test_a_line_without_end_is_told_of_again_and_again() -> None:
    assert told(AsciiLine(), b"x" * 129 * 5) == [FaultKind.OVERLONG] * 5 + [FaultKind.TORN]


def test_a_line_whose_beginning_was_missed_is_no_number() -> None:
    parser = AsciiLine()
    parser.resync()
    assert told(parser, b"2345\r0012345\r") == [FaultKind.TORN, b"0012345"]


def test_after_silence_the_next_line_is_whole_again() -> None:
    parser = AsciiLine()
    parser.resync()
    assert told(parser, b"") == []
    assert told(parser, b"4711\r") == [b"4711"]


def test_two_halves_with_silence_between_make_no_number() -> None:
    parser = AsciiLine()
    assert told(parser, b"123") == [FaultKind.TORN]
    assert told(parser, b"4567\r") == [b"4567"]


@pytest.mark.parametrize("byte", [0x00, 0x02, 0x1B, 0x7F, 0x80, 0xFF])
def test_a_line_with_other_than_printable_characters_is_no_number(byte: int) -> None:
    assert told(AsciiLine(), b"47" + bytes([byte]) + b"11\r4712\r") == [FaultKind.UNPRINTABLE, b"4712"]


@pytest.mark.parametrize(("line", "proof"), [(b"4711\r", False), (b"471100\r", True)])
def test_a_short_line_proves_nothing_of_speed_and_profile(line: bytes, proof: bool) -> None:
    (reading,) = AsciiLine().feed(line)
    assert isinstance(reading, Reading)
    assert reading.proof is proof


@given(st.lists(st.tuples(texts, ends), max_size=6), CUTS)
def test_any_portions_give_the_same_numbers(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    wire = b"".join(text + end for text, end in lines)
    assert told(AsciiLine(), wire, cuts) == [text for text, _ in lines]


@given(st.binary(max_size=800), CUTS)
def test_any_bytes_in_any_portions_give_the_same_and_raise_nothing(noise: bytes, cuts: list[int]) -> None:
    assert told(AsciiLine(), noise, cuts) == told(AsciiLine(), noise)


@given(st.binary(max_size=800), texts, ends)
def test_the_line_after_the_line_that_noise_ends_in_is_taken(noise: bytes, text: bytes, end: bytes) -> None:
    parser = AsciiLine()
    parser.feed(noise + b"\n")
    assert numbers(parser.feed(text + end)) == [text]


@given(st.binary(max_size=800), texts)
def test_noise_in_front_of_a_number_never_makes_a_longer_one_unseen(noise: bytes, text: bytes) -> None:
    assume(noise and not 0x20 <= noise[-1] <= 0x7E and noise[-1:] not in (b"\r", b"\n"))
    assert text not in told(AsciiLine(), noise + text + b"\r")


@given(st.lists(st.binary(max_size=2000), max_size=10))
def test_no_more_than_a_line_is_held(parts: list[bytes]) -> None:
    parser = AsciiLine(prefix="p" * 16, suffix="s" * 16)
    for part in parts:
        parser.feed(part)
        assert len(parser._line) <= 16 + MAX_NUMBER + 16

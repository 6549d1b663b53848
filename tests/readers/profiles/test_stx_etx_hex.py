import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.profiles.base import FaultKind
from edge_agent.readers.profiles.stx_etx_hex import MAX_FRAME, StxEtxHex
from tests.fakes.portions import CUTS, numbers, told

PUBLISHED = b"0C000621A5"


def frame(number: bytes, *, line_end: bytes = b"") -> bytes:
    check = 0
    for byte in number:
        check ^= byte
    return b"\x02" + number.hex().upper().encode() + f"{check:02X}".encode() + line_end + b"\x03"


five = st.binary(min_size=5, max_size=5)
frames = st.builds(lambda number, end: frame(number, line_end=end), five, st.sampled_from([b"", b"\r\n"]))


@pytest.mark.parametrize(
    "wire",
    [b"\x02" + PUBLISHED + b"8E\x03", b"\x02" + PUBLISHED + b"8E\r\n\x03", b"\x02" + PUBLISHED.lower() + b"8e\x03"],
    ids=["RDM6300", "ID-12LA", "small letters"],
)
def test_the_number_of_the_data_sheet_is_read(wire: bytes) -> None:
    assert told(StxEtxHex(), wire) == [bytes.fromhex("0C000621A5")]


def test_the_misprinted_check_byte_of_the_data_sheet_is_refused() -> None:
    assert told(StxEtxHex(), b"\x02" + PUBLISHED + b"6E\r\n\x03") == [FaultKind.CHECKSUM]


@pytest.mark.parametrize("end", [b"\r\x03", b"\n\x03", b"\n\r\x03", b"\r\n", b"0\x03"])
def test_no_other_end_is_taken(end: bytes) -> None:
    assert numbers(StxEtxHex().feed(b"\x02" + PUBLISHED + b"8E" + end)) == []


@given(st.lists(frames, max_size=5), CUTS)
def test_any_portions_give_the_same_numbers(wires: list[bytes], cuts: list[int]) -> None:
    whole = told(StxEtxHex(), b"".join(wires))
    assert told(StxEtxHex(), b"".join(wires), cuts) == whole
    assert whole == [bytes.fromhex(wire[1:11].decode()) for wire in wires]


@given(st.binary(max_size=200), CUTS)
def test_any_bytes_in_any_portions_give_the_same_and_raise_nothing(noise: bytes, cuts: list[int]) -> None:
    assert told(StxEtxHex(), noise, cuts) == told(StxEtxHex(), noise)


@given(st.one_of(st.binary(max_size=100), st.just(b"\x02" + PUBLISHED)), five)
def test_a_frame_after_any_noise_is_taken_at_its_last_byte(noise: bytes, number: bytes) -> None:
    parser = StxEtxHex()
    parser.feed(noise)
    wire = frame(number)
    assert numbers(parser.feed(wire[:-1])) == []
    assert numbers(parser.feed(wire[-1:])) == [number]


@given(st.data(), five)
def test_one_flipped_bit_never_reads_as_another_number(data: st.DataObject, number: bytes) -> None:
    wire = bytearray(frame(number))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    # A flip can make a small letter of a large one; it is the same digit.
    assert numbers(StxEtxHex().feed(bytes(wire))) in ([], [number])


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_more_than_a_frame_is_held(parts: list[bytes]) -> None:
    parser = StxEtxHex()
    for part in parts:
        parser.feed(part)
        assert len(parser._buffer) < MAX_FRAME


def test_a_frame_that_the_line_fell_silent_in_is_torn_and_joins_nothing() -> None:
    parser = StxEtxHex()
    parser.feed(b"\x02" + PUBLISHED)
    assert told(parser, b"") == [FaultKind.TORN]
    assert told(parser, b"8E\x03") == []


def test_line_ends_between_good_frames_are_no_faults_and_noise_is() -> None:
    wire = frame(b"12345") + b"\r\n"
    assert set(told(StxEtxHex(), wire * 50)) == {b"12345"}
    assert told(StxEtxHex(), b"\x80" * 40) == [FaultKind.STRAY] * 2

"""Frames: published check values, round trips, and what noise on the line can and cannot do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.frames import (
    MAX_ENCODED,
    MAX_PAYLOAD,
    CrcError,
    Frame,
    FrameDecoder,
    FrameError,
    cobs_decode,
    cobs_encode,
    crc16,
    decode_frame,
    encode_frame,
)

FRAMES = st.builds(
    Frame,
    type=st.integers(0, 255),
    seq=st.integers(0, 255),
    payload=st.binary(max_size=MAX_PAYLOAD),
    version=st.just(1),
)
NOISE = st.binary(max_size=300)


def bitwise_crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE by its definition, to compare with."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


@given(st.binary())
def test_crc_is_the_one_of_the_definition(data: bytes) -> None:
    assert crc16(data) == bitwise_crc(data)


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        # Examples 1-5 of "Consistent Overhead Byte Stuffing", Cheshire and Baker, as commonly published.
        ("00", "0101"),
        ("0000", "010101"),
        ("001100", "01021101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
    ],
)
def test_cobs_examples(plain: str, encoded: str) -> None:
    assert cobs_encode(bytes.fromhex(plain)).hex() == encoded
    assert cobs_decode(bytes.fromhex(encoded)).hex() == plain


def test_a_ping_on_the_line() -> None:
    # The example of docs/screen-link.md.
    assert encode_frame(Frame(0x03, 0x2A, b"\x00\x00\x03\xe8")).hex(" ") == "04 01 03 2a 01 05 03 e8 e0 20 00"


@given(st.binary(max_size=125))
def test_cobs_round_trip_without_zero(data: bytes) -> None:
    assert 0 not in cobs_encode(data)
    assert cobs_decode(cobs_encode(data)) == data


@given(FRAMES)
def test_round_trip(frame: Frame) -> None:
    line = encode_frame(frame)
    assert line.index(0) == len(line) - 1 <= MAX_ENCODED
    assert decode_frame(line[:-1]) == frame


@given(st.lists(FRAMES, max_size=6), st.data())
def test_any_split_gives_the_same_frames(frames: list[Frame], data: st.DataObject) -> None:
    line = b"".join(map(encode_frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(line)), max_size=10)))
    decoder = FrameDecoder()
    found = [
        frame
        for start, end in zip([0, *cuts], [*cuts, len(line)], strict=True)
        for frame in decoder.feed(line[start:end])
    ]
    assert found == frames
    assert (decoder.frames, decoder.errors) == (len(frames), 0)


@given(st.lists(st.tuples(NOISE, FRAMES), min_size=1, max_size=5))
def test_noise_between_frames_costs_no_frame(pieces: list[tuple[bytes, Frame]]) -> None:
    decoder = FrameDecoder()
    found = []
    for noise, frame in pieces:
        # A delimiter ends the noise: a sender that was silent begins with one.
        found += decoder.feed(noise + b"\x00" + encode_frame(frame))
    assert found == [frame for _, frame in pieces]


@given(NOISE, FRAMES)
def test_the_frame_after_the_next_delimiter_is_whole_again(noise: bytes, frame: Frame) -> None:
    decoder = FrameDecoder()
    decoder.feed(noise + encode_frame(frame))  # this one may be lost with the noise
    assert decoder.feed(encode_frame(frame))[-1] == frame


@given(FRAMES, st.data())
def test_a_changed_byte_is_noticed(frame: Frame, data: st.DataObject) -> None:
    line = bytearray(encode_frame(frame)[:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    decoder = FrameDecoder()
    assert decoder.feed(bytes(line) + b"\x00") == []
    if 0 not in line:
        assert decoder.errors == 1


@given(FRAMES, st.data())
def test_a_truncated_frame_is_noticed(frame: Frame, data: st.DataObject) -> None:
    line = encode_frame(frame)[:-1]
    cut = data.draw(st.integers(1, len(line) - 1))
    decoder = FrameDecoder()
    found = decoder.feed(line[:cut] + b"\x00")
    if cut == len(line) - 1 and line.endswith(b"\x01"):
        # The one hole of a CRC at the end: when its last byte is 00, the body without that byte has a right CRC too.
        # Messages close it by laying down their lengths.
        assert all(len(shorter.payload) == len(frame.payload) - 1 for shorter in found)
    else:
        assert found == []
        assert decoder.errors == 1


def test_counts_tell_a_wrong_crc_from_nonsense() -> None:
    decoder = FrameDecoder()
    decoder.feed(cobs_encode(b"\x01\x03\x01\xff\xff") + b"\x00")
    assert (decoder.crc_errors, decoder.malformed) == (1, 0)
    decoder.feed(b"\x09\x01\x00")
    assert (decoder.crc_errors, decoder.malformed) == (1, 1)
    with pytest.raises(CrcError):
        decode_frame(cobs_encode(b"\x01\x03\x01\xff\xff"))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_line_without_delimiters_costs_no_memory(chunk: int) -> None:
    decoder = FrameDecoder()
    for _ in range(0, 5000, chunk):
        assert decoder.feed(b"\x55" * chunk) == []
        assert len(decoder._buffer) <= MAX_ENCODED
    assert decoder.oversize == 1
    assert decoder.feed(b"\x00" + encode_frame(Frame(3, 1))) == [Frame(3, 1)]


def test_the_end_of_an_oversize_run_is_no_frame_and_the_next_one_is() -> None:
    decoder = FrameDecoder()
    line = encode_frame(Frame(3, 1))
    assert decoder.feed(b"\x55" * 200) == []
    assert decoder.feed(line) == []
    assert [frame for byte in line for frame in decoder.feed(bytes((byte,)))] == [Frame(3, 1)]


def test_an_oversize_run_in_one_piece_is_counted_once() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x55" * 200 + b"\x00" + encode_frame(Frame(3, 1))) == [Frame(3, 1)]
    assert decoder.errors == decoder.oversize == 1


def test_empty_frames_are_nothing() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x00" * 50) == []
    assert decoder.errors == 0


def test_a_payload_of_121_bytes_is_refused() -> None:
    assert len(encode_frame(Frame(1, 1, bytes(120)))) == MAX_ENCODED + 1
    with pytest.raises(FrameError):
        encode_frame(Frame(1, 1, bytes(121)))
    with pytest.raises(FrameError):
        cobs_encode(bytes(126))


@given(st.binary(max_size=400))
def test_any_bytes_only_ever_raise_frame_errors(data: bytes) -> None:
    FrameDecoder().feed(data)
    for decode in (cobs_decode, decode_frame):
        try:
            decode(data)
        except FrameError:
            continue

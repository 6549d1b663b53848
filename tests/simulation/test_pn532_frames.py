from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.pn532_frames import CHIP_TO_HOST, HOST_TO_CHIP, FrameParser, Info, Signal, encode

infos = st.builds(Info, st.sampled_from([HOST_TO_CHIP, CHIP_TO_HOST]), st.binary(min_size=1, max_size=264))
any_frame = st.one_of(infos, st.sampled_from(Signal))
preambles = st.integers(0, 20).map(bytes)


def _chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        # Frames that the driver has as constants, so they are known to work with the real chip.
        (Info(0xD4, b"\x02"), "0000ff02fed4022a00"),
        (Info(0xD4, b"\x14\x01\x00\x00"), "0000ff05fbd4140100001700"),
        (Info(0xD5, b"\x15"), "0000ff02fed5151600"),
        (Info(0xD5, b"\x03\x32\x01\x06\x07"), "0000ff06fad50332010607e800"),
        (Signal.ACK, "0000ff00ff00"),
        (Signal.NACK, "0000ffff0000"),
        (Signal.ERROR, "0000ff01ff7f8100"),
    ],
)
def test_known_frames(frame, wire):
    assert encode(frame).hex() == wire
    assert FrameParser().feed(bytes.fromhex(wire)) == [frame]


@pytest.mark.parametrize(("size", "head"), [(254, "0000ffff01"), (255, "0000ffffff0100ff"), (264, "0000ffffff0109f6")])
def test_normal_form_ends_at_255_bytes_of_body(size, head):
    frame = Info(HOST_TO_CHIP, bytes(size))
    assert encode(frame).hex().startswith(head)
    assert FrameParser().feed(encode(frame)) == [frame]


def test_a_frame_longer_than_the_chip_takes_is_not_made():
    with pytest.raises(ValueError, match="264"):
        encode(Info(HOST_TO_CHIP, bytes(265)))


@given(st.lists(st.tuples(preambles, any_frame), max_size=6), st.lists(st.integers(0, 2000), max_size=12))
def test_any_frames_in_any_portions(frames, cuts):
    wire = b"".join(preamble + encode(frame) for preamble, frame in frames)
    parser = FrameParser()
    got = [frame for chunk in _chunks(wire, cuts) for frame in parser.feed(chunk)]
    assert got == [frame for _, frame in frames]
    assert parser.damaged == 0


@given(st.binary(max_size=200).filter(lambda noise: b"\x00\xff" not in noise), infos)
def test_noise_without_a_start_code_hides_nothing(noise, frame):
    assert FrameParser().feed(noise + encode(frame)) == [frame]


@given(st.binary(max_size=600), infos)
def test_after_any_noise_the_parser_finds_back(noise, frame):
    parser = FrameParser()
    parser.feed(noise)
    # Whatever the noise announced, it is over after the longest frame.
    parser.feed(bytes(300))
    assert parser.feed(encode(frame)) == [frame]


@given(infos, st.data())
def test_one_flipped_bit_is_never_taken_for_the_frame(frame, data):
    wire = bytearray(encode(frame))
    # Preamble, start code and postamble carry nothing; a flip in there may leave the frame readable.
    position = data.draw(st.integers(3, len(wire) - 2))
    wire[position] ^= 1 << data.draw(st.integers(0, 7))
    assert frame not in FrameParser().feed(bytes(wire))


@given(infos, st.integers(0, 300), infos)
def test_a_torn_frame_costs_itself_only(torn, keep, frame):
    wire = encode(torn)
    parser = FrameParser()
    got = parser.feed(wire[: min(keep, len(wire) - 2)] + encode(frame) + bytes(300))
    assert frame in got


def test_memory_is_bounded_by_the_longest_frame():
    parser = FrameParser()
    for _ in range(1000):
        parser.feed(b"\x00\xff\xff\xff\x01\x09\xf6" + bytes([0xD4]) * 57)
        assert len(parser._buffer) < 300
    assert parser.damaged > 0


@pytest.mark.parametrize("length", [0, 266, 0xFFFF])
def test_impossible_extended_lengths_are_refused_at_once(length):
    size = length.to_bytes(2, "big")
    parser = FrameParser()
    assert parser.feed(b"\x00\x00\xff\xff\xff" + size + bytes([-sum(size) & 0xFF])) == []
    assert parser.damaged == 1
    assert parser.feed(encode(Signal.ACK)) == [Signal.ACK]


def test_reset_forgets_a_half_frame():
    parser = FrameParser()
    parser.feed(encode(Info(HOST_TO_CHIP, bytes(20)))[:12])
    parser.reset()
    assert parser.feed(encode(Signal.NACK)) == [Signal.NACK]

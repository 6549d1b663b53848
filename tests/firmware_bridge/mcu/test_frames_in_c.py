"""Frames in C are the frames in Python: the vectors both ways, and any bytes at all."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_bridge.frames import MAX_ENCODED, MAX_PAYLOAD, Frame, FrameDecoder, cobs_encode, crc16, encode_frame
from tests.fakes.mcu_reference import Harness

VECTORS = json.loads((Path(__file__).parents[3] / "config/contract/vectors/screen-link.json").read_text())
FRAMES = [*VECTORS["frames"], {"name": "longest", "type": 2, "seq": 255, **VECTORS["longest"]}]
# Runs of any length around the longest frame, zeros among them, so that each limit is met from both sides.
LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.integers(MAX_ENCODED - 3, MAX_ENCODED + 3).map(lambda length: b"\x7f" * length),
        st.builds(
            lambda kind, seq, payload: encode_frame(Frame(kind, seq, payload)),
            st.integers(0, 255),
            st.integers(0, 255),
            st.binary(max_size=MAX_PAYLOAD),
        ),
        st.just(b"\x00"),
    ),
    max_size=12,
).map(b"".join)


def as_hex(data: bytes) -> str:
    return data.hex() or "-"


def decoded(harness: Harness, line: bytes) -> tuple[list[Frame], int]:
    """Frames and count of errors."""
    out = harness(f"decode {as_hex(line)}")[:-2]
    frames = [
        Frame(int(words[2]), int(words[3]), bytes.fromhex(words[4].strip("-")), int(words[1])) for words in out[:-1]
    ]
    return frames, int(out[-1][1])


@pytest.mark.parametrize("vector", FRAMES, ids=[vector["name"] for vector in FRAMES])
def test_each_vector_both_ways(harness: Harness, vector: dict[str, Any]) -> None:
    frames, errors = decoded(harness, bytes.fromhex(vector["line_hex"]))
    assert [frame.payload.hex() for frame in frames] == [vector["payload_hex"]]
    assert errors == 0
    (frame,) = frames
    if "direction" in vector:
        assert (frame.version, frame.type, frame.seq) == (1, vector["type"], vector["seq"])
    sent = harness(f"encode {frame.type} {frame.seq} {vector['payload_hex'] or '-'}")
    assert sent[0] == ["line", vector["line_hex"]]


@pytest.mark.parametrize("vector", VECTORS["no_frames"], ids=[vector["name"] for vector in VECTORS["no_frames"]])
def test_what_is_no_frame_is_dropped_and_counted(harness: Harness, vector: dict[str, Any]) -> None:
    assert decoded(harness, bytes.fromhex(vector["line_hex"])) == ([], 1)


def test_noise_costs_no_frame_behind_the_next_delimiter(harness: Harness) -> None:
    vector = VECTORS["resynchronises"]
    assert len(decoded(harness, bytes.fromhex(vector["line_hex"]))[0]) == vector["frames"]


@pytest.mark.parametrize("size", range(6))
def test_a_body_that_is_too_short_is_no_frame_whatever_its_crc(harness: Harness, size: int) -> None:
    body = b"\x01\x05\x07\x00"[:size]
    line = cobs_encode(body + crc16(body).to_bytes(2, "big")) + b"\x00"
    assert decoded(harness, line) == (([], 1) if size < 3 else ([Frame(5, 7, body[3:])], 0))


@pytest.mark.parametrize("beyond", [1, 2, 100])
@pytest.mark.parametrize("vector", FRAMES, ids=[vector["name"] for vector in FRAMES])
def test_a_last_code_that_points_beyond_the_frame_is_refused(
    harness: Harness, vector: dict[str, Any], beyond: int
) -> None:
    line = bytearray.fromhex(vector["line_hex"])
    at = 0
    while at + line[at] < len(line) - 1:
        at += line[at]
    line[at] += beyond
    assert decoded(harness, bytes(line)) == ([], 1)


def test_a_payload_that_fits_no_frame_is_not_sent(harness: Harness) -> None:
    assert harness(f"encode 2 1 {'55' * (MAX_PAYLOAD + 1)}")[0] == ["line", "-"]


def test_the_count_of_errors_stays_at_its_end(harness: Harness) -> None:
    # A command of the harness holds 65,536 bytes; a session goes on over several.
    harness("init", *["byte 0 " + "0100" * 32_000] * 3)
    assert harness()[-1] == ["errors", "65535"]


@given(st.binary(max_size=300))
@example(b"123456789")
def test_the_crc(harness: Harness, data: bytes) -> None:
    assert harness(f"crc {as_hex(data)}")[0] == ["crc", str(crc16(data))]


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=MAX_PAYLOAD))
@example(2, 0, bytes(MAX_PAYLOAD))
@example(2, 1, b"\xff" * MAX_PAYLOAD)
def test_every_frame_is_encoded_alike(harness: Harness, kind: int, seq: int, payload: bytes) -> None:
    line = encode_frame(Frame(kind, seq, payload))
    assert harness(f"encode {kind} {seq} {as_hex(payload)}")[0] == ["line", line.hex()]


@given(LINES)
def test_every_line_is_read_alike(harness: Harness, line: bytes) -> None:
    decoder = FrameDecoder()
    frames = decoder.feed(line)
    assert decoded(harness, line) == (frames, decoder.errors)


@pytest.mark.proof
@pytest.mark.timeout(580)
def test_ten_million_random_bytes_are_read_alike(harness: Harness) -> None:
    random = Random(5)
    for _ in range(400):
        # Few zeros make long runs, many make short ones.
        rarity = random.randint(2, 300)
        line = bytes(byte if random.randrange(rarity) else 0 for byte in random.randbytes(25_000))
        decoder = FrameDecoder()
        frames = decoder.feed(line)
        assert decoded(harness, line) == (frames, decoder.errors)

"""The frames: read by the bridge's own code, and by a second one written here from the page."""

import json
from pathlib import Path
from typing import Any

import pytest

from firmware_bridge.frames import FrameDecoder
from firmware_bridge.messages import from_host, from_mcu

VECTORS = json.loads((Path(__file__).parents[2] / "config/contract/vectors/screen-link.json").read_text())
EACH = pytest.mark.parametrize("vector", VECTORS["frames"], ids=[vector["name"] for vector in VECTORS["frames"]])


def crc_ccitt_false(data: bytes) -> int:
    """Bit by bit: polynomial 0x1021, start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def uncobs(line: bytes) -> bytes:
    """Undo COBS, delimiter included."""
    assert line[-1] == 0
    assert 0 not in line[:-1]
    out, at = b"", 0
    while at < len(line) - 1:
        code = line[at]
        out += line[at + 1 : at + code] + (b"\0" if code < 0xFF else b"")
        at += code
    return out[:-1]


@EACH
def test_a_second_decoder_reads_the_frame(vector: dict[str, Any]) -> None:
    body = uncobs(bytes.fromhex(vector["line_hex"]))
    assert body[:3] == bytes((1, vector["type"], vector["seq"]))
    assert body[3:-2].hex() == vector["payload_hex"]
    assert int.from_bytes(body[-2:], "big") == crc_ccitt_false(body[:-2])


@EACH
def test_the_bridge_reads_the_frame(vector: dict[str, Any]) -> None:
    (frame,) = FrameDecoder().feed(bytes.fromhex(vector["line_hex"]))
    assert (frame.type, frame.seq, frame.payload.hex()) == (vector["type"], vector["seq"], vector["payload_hex"])
    message = from_host(frame) if vector["direction"] == "to MCU" else from_mcu(frame)
    assert bytes(message).hex() == vector["payload_hex"]


def test_the_check_value_of_the_crc() -> None:
    assert crc_ccitt_false(b"123456789") == 0x29B1


def test_the_longest_frame() -> None:
    longest = VECTORS["longest"]
    assert uncobs(bytes.fromhex(longest["line_hex"]))[3:-2].hex() == longest["payload_hex"]
    assert len(longest["payload_hex"]) == 240


@pytest.mark.parametrize("vector", VECTORS["no_frames"], ids=[vector["name"] for vector in VECTORS["no_frames"]])
def test_what_is_no_frame_is_dropped(vector: dict[str, Any]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(bytes.fromhex(vector["line_hex"])) == []
    assert decoder.errors == 1


def test_noise_costs_no_frame_behind_the_next_delimiter() -> None:
    vector = VECTORS["resynchronises"]
    assert len(FrameDecoder().feed(bytes.fromhex(vector["line_hex"]))) == vector["frames"]

"""Frames on the screen line: COBS, 0x00 delimiter, CRC-16/CCITT-FALSE. Bytes only; must never keep more than a frame.

A body is ``version(1) | type(1) | seq(1) | payload(0-120) | CRC(2, big-endian)``, at most 125 bytes, so that every COBS
block is shorter than 254 bytes and the 0xFF code never occurs.
"""

import binascii
from typing import NamedTuple

DELIMITER = b"\x00"
PROTOCOL_VERSION = 1
MAX_PAYLOAD = 120
_HEAD = 3
_CRC = 2
MIN_BODY = _HEAD + _CRC
MAX_BODY = MIN_BODY + MAX_PAYLOAD
MAX_ENCODED = MAX_BODY + 1
"""Bytes of a frame between two delimiters."""


_CRC_START = 0xFFFF
# What stands before a block: its length and one more.
_CODES = tuple(bytes((code,)) for code in range(1, MAX_ENCODED + 1))


class FrameError(ValueError):
    """Bytes between two delimiters that are no frame; the decoder counts it and goes on."""


class Frame(NamedTuple):
    """One frame without its CRC; ``type`` and ``seq`` 0-255. A NamedTuple, because making one is half of decoding."""

    type: int
    seq: int
    payload: bytes = b""
    version: int = PROTOCOL_VERSION


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF, no reflection; check value 0x29B1 for "123456789"."""
    return binascii.crc_hqx(data, _CRC_START)


def cobs_encode(data: bytes) -> bytes:
    """Encode at most MAX_BODY bytes so that no 0x00 is left; without the delimiter."""
    if len(data) > MAX_BODY:
        raise FrameError(f"{len(data)} bytes do not fit a frame of {MAX_BODY}")
    return b"".join([_CODES[len(block)] + block for block in data.split(DELIMITER)])


def cobs_decode(data: bytes) -> bytes:
    """Undo cobs_encode; raises FrameError for an empty, oversize or inconsistent block chain."""
    size = len(data)
    if not 1 <= size <= MAX_ENCODED:
        raise FrameError(f"{size} encoded bytes")
    blocks = []
    at = 0
    while at < size:
        end = at + data[at]
        if end == at or end > size:
            raise FrameError("a COBS code points outside the frame")
        blocks.append(data[at + 1 : end])
        at = end
    return DELIMITER.join(blocks)


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes for the line, delimiter included; raises FrameError when the payload is too long."""
    kind, seq, payload, version = frame
    if len(payload) > MAX_PAYLOAD:
        raise FrameError(f"payload of {len(payload)} bytes, at most {MAX_PAYLOAD}")
    body = bytes((version, kind, seq)) + payload
    return cobs_encode(body + binascii.crc_hqx(body, _CRC_START).to_bytes(_CRC, "big")) + DELIMITER


def decode_frame(encoded: bytes) -> Frame:
    """Return the frame between two delimiters; raises FrameError (CrcError when only the CRC is wrong)."""
    body = cobs_decode(encoded)
    if not MIN_BODY <= len(body) <= MAX_BODY:
        raise FrameError(f"body of {len(body)} bytes")
    # The CRC over a message followed by its own CRC is zero.
    if binascii.crc_hqx(body, _CRC_START):
        raise CrcError("wrong CRC")
    return Frame(body[1], body[2], body[_HEAD:-_CRC], body[0])


class CrcError(FrameError):
    """A well-formed frame whose CRC is wrong."""


class FrameDecoder:
    """Incremental decoder: feed what the line gave, get whole frames; resynchronises at the next 0x00."""

    def __init__(self) -> None:
        self._buffer = b""
        self._skipping = False
        self.frames = 0
        self.crc_errors = 0
        self.malformed = 0
        self.oversize = 0

    @property
    def errors(self) -> int:
        """All runs of bytes that were thrown away."""
        return self.crc_errors + self.malformed + self.oversize

    def feed(self, data: bytes) -> list[Frame]:
        """Take any number of bytes, return the frames that they complete."""
        *complete, rest = (self._buffer + data).split(DELIMITER)
        found = []
        for encoded in complete:
            if self._skipping:
                self._skipping = False
            elif encoded and (frame := self._decode(encoded)) is not None:
                found.append(frame)
        if self._skipping or len(rest) > MAX_ENCODED:
            self.oversize += not self._skipping
            self._skipping = True
            rest = b""
        self._buffer = rest
        return found

    def _decode(self, encoded: bytes) -> Frame | None:
        if len(encoded) > MAX_ENCODED:
            self.oversize += 1
            return None
        try:
            frame = decode_frame(encoded)
        except CrcError:
            self.crc_errors += 1
        except FrameError:
            self.malformed += 1
        else:
            self.frames += 1
            return frame
        return None

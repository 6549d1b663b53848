"""Frames of the PN532 host link on a serial line (NXP UM0701-02, 6.2.1): pure codec, both directions.

The parser is fed whatever the line brought; it is capped by the longest legal frame and finds the next frame after any
noise. It never raises on bad bytes: a frame that is damaged is counted in ``damaged`` and skipped, as the chip does.
"""

from dataclasses import dataclass
from enum import Enum

HOST_TO_CHIP = 0xD4
CHIP_TO_HOST = 0xD5

# UM0701-02, 6.2.1.2: "The extended information frame [...] theoretically 65535 bytes; the PN532 limits it to 264 bytes
# of PD, 265 with the TFI."
MAX_BODY = 265

_START = b"\x00\xff"
_POSTAMBLE = b"\x00"
# LEN that announces no length but the extended header (LEN and LCS both FF).
_EXTENDED = b"\xff\xff"


class Signal(Enum):
    """Frames without data; the value is the frame as it stands on the wire (6.2.1.3 to 6.2.1.5)."""

    ACK = bytes.fromhex("0000ff00ff00")
    NACK = bytes.fromhex("0000ffff0000")
    ERROR = bytes.fromhex("0000ff01ff7f8100")


@dataclass(frozen=True, slots=True)
class Info:
    """A normal or extended information frame: direction (TFI) and data, 1 to 264 bytes: command code first."""

    tfi: int
    data: bytes


Frame = Signal | Info


def encode(frame: Frame) -> bytes:
    """Return the frame as it stands on the wire, with one preamble and one postamble byte.

    Bodies over 255 bytes take the extended form. Raises ValueError above 264 data bytes.
    """
    if isinstance(frame, Signal):
        return frame.value
    body = bytes([frame.tfi]) + frame.data
    if len(body) > MAX_BODY:
        raise ValueError(f"a PN532 frame holds at most {MAX_BODY - 1} data bytes, not {len(frame.data)}")
    if len(body) <= 0xFF:
        head = bytes([len(body), _complement(len(body))])
    else:
        length = len(body).to_bytes(2, "big")
        head = _EXTENDED + length + bytes([_complement(sum(length))])
    return b"\x00" + _START + head + body + bytes([_complement(sum(body))]) + _POSTAMBLE


class FrameParser:
    """Push parser: ``feed`` bytes in any portions, get the frames that became complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.damaged = 0
        """Frames that began and turned out to be broken (length or data checksum, impossible length)."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the line and return all frames completed by them, in order."""
        self._buffer += data
        frames: list[Frame] = []
        while (step := self._step()) is not None:
            if step is not _SKIPPED:
                frames.append(step)
        return frames

    def reset(self) -> None:
        """Forget a half-received frame."""
        self._buffer.clear()

    def _step(self) -> "Frame | _Skip | None":
        """Take one frame or one false start off the buffer; None when more bytes are needed."""
        start = self._buffer.find(_START)
        if start < 0:
            # Nothing but preamble or noise: only a last 00 can still belong to a start code.
            keep = 1 if self._buffer.endswith(b"\x00") else 0
            del self._buffer[: len(self._buffer) - keep]
            return None
        del self._buffer[:start]
        head = bytes(self._buffer[2:7])
        if len(head) < (5 if head[:2] == _EXTENDED else 2):
            return None
        match head[:2]:
            case b"\x00\xff":
                return self._take(4, Signal.ACK)
            case b"\xff\x00":
                return self._take(4, Signal.NACK)
            case b"\xff\xff":
                return self._body(7, int.from_bytes(head[2:4], "big"), sum(head[2:5]))
        return self._body(4, head[0], sum(head[:2]))

    def _body(self, offset: int, length: int, header_sum: int) -> "Frame | _Skip | None":
        if header_sum & 0xFF or not 1 <= length <= MAX_BODY:
            return self._skip()
        end = offset + length + 1
        if len(self._buffer) < end:
            return None
        checked = bytes(self._buffer[offset:end])
        if sum(checked) & 0xFF:
            return self._skip()
        body = checked[:-1]
        if body == b"\x7f":
            return self._take(end, Signal.ERROR)
        if length < 2:
            return self._skip()
        return self._take(end, Info(body[0], body[1:]))

    def _take(self, size: int, frame: Frame) -> Frame:
        del self._buffer[:size]
        return frame

    def _skip(self) -> "_Skip":
        """Drop the false start code only: a good frame may stand inside what it seemed to announce."""
        self.damaged += 1
        del self._buffer[:1]
        return _SKIPPED


class _Skip(Enum):
    SKIPPED = 0


_SKIPPED = _Skip.SKIPPED


def _complement(total: int) -> int:
    """Return the byte that makes the sum zero modulo 256 (LCS and DCS)."""
    return -total & 0xFF

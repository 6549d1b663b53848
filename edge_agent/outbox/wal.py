"""Tells whether the middle of a write-ahead log is damaged, which SQLite takes for its end without a word. Pure.

SQLite file format, section 4: a header of 32 bytes, then frames of 24 bytes and one page, each with the header's salts
and a checksum over all before it. A power cut can tear the last transaction, for each is synced before the next
begins; so a sound-looking transaction with another one behind it was committed, whatever stands before them. What
failed transactions left behind the last one looks like that, but its checksums do not go on from one to the other.
"""

import struct
from typing import BinaryIO

_HEADER = struct.Struct(">6I2I")
_FRAME = struct.Struct(">II8s2I")
_MAGIC = 0x377F0682  # the lowest bit set: checksums are over big-endian words
_SIZES = {512 << shift for shift in range(8)}


def damaged_inside(log: BinaryIO, page_size: int) -> bool:
    """Whether committed transactions stand behind damaged ones; ``page_size`` serves where the header is damaged."""
    header = log.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return False
    magic, _, size, _, _, _, *checksum = _HEADER.unpack(header)
    order = ">" if magic & 1 else "<"
    sums = _checksum(order, header[:24], (0, 0))
    if magic & ~1 != _MAGIC or size not in _SIZES or sums != tuple(checksum):
        return _holds_frames(log, page_size)
    salts = header[16:24]
    sound, committed = True, False
    while len(frame := log.read(_FRAME.size + size)) == _FRAME.size + size:
        page, pages_after, frame_salts, *frame_sums = _FRAME.unpack_from(frame)
        if frame_salts != salts:
            sound = committed = False
            continue
        goes_on = False
        if page != 0 and (sound or committed):
            goes_on = _checksum(order, frame[_FRAME.size :], _checksum(order, frame[:8], sums)) == tuple(frame_sums)
        if committed and goes_on and not sound:
            return True
        sound = sound and goes_on
        committed = pages_after != 0
        sums = tuple(frame_sums)
    return False


def _holds_frames(log: BinaryIO, page_size: int) -> bool:
    """Whether there is anything behind a header that is none; a new log is all zeros."""
    while len(frame := log.read(_FRAME.size + page_size)) == _FRAME.size + page_size:
        page, _, salts, *_ = _FRAME.unpack_from(frame)
        if page and salts != bytes(8):
            return True
    return False


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    one, two = sums
    for even, odd in struct.iter_unpack(f"{order}II", data):
        one = (one + even + two) & 0xFFFFFFFF
        two = (two + odd + one) & 0xFFFFFFFF
    return one, two

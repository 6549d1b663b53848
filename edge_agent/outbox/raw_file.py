"""Reads a damaged file in pieces, past blocks that the medium cannot read any more."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from edge_agent.outbox.carve import MAX_CELL_BYTES

PIECE_BYTES = 64 * 1024
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one file; the first ``seen`` of them were the end of the piece before."""

    data: bytes = field(repr=False)
    seen: int
    unreadable: int
    """Bytes of it that could not be read; zeros stand for them."""


def pieces(path: Path) -> Iterator[Piece]:
    """Yield the whole file; nothing if it is not there."""
    tail, offset = b"", 0
    while (piece := piece_at(path, offset, tail)) is not None:
        yield piece
        offset += len(piece.data) - piece.seen
        tail = piece.data[-MAX_CELL_BYTES:]


def piece_at(path: Path, offset: int, tail: bytes) -> Piece | None:
    """The piece at ``offset`` behind the end of the one before; None at the end of the file or without a file."""
    try:
        with path.open("rb", buffering=0) as file:
            data, unreadable = _read(file, offset)
    except FileNotFoundError:
        return None
    return Piece(tail + data, len(tail), unreadable) if data else None


def _read(file: FileIO, offset: int) -> tuple[bytes, int]:
    try:
        file.seek(offset)
        return file.read(PIECE_BYTES), 0
    except OSError:
        pass  # somewhere in it; block by block the rest can be had
    length = min(PIECE_BYTES, max(0, os.fstat(file.fileno()).st_size - offset))
    found, unreadable = bytearray(), 0
    for start in range(0, length, _BLOCK):
        wanted = min(_BLOCK, length - start)
        try:
            file.seek(offset + start)
            block = file.read(wanted)
        except OSError:
            block, unreadable = b"", unreadable + wanted
        found += block.ljust(wanted, b"\0")
    return bytes(found), unreadable

"""Finds what an outbox wrote in the raw bytes of a damaged file: rows, chains, gap records. Pure; never raises.

It looks for SQLite's record headers (file format, section 2.1, "Record Format") wherever they stand, so it needs no
page, no index and no page number to be right: database and WAL are all the same to it. A cell is believed only if
its three lengths agree; whether a token is one must be judged by whoever can read tokens.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_CELL_BYTES = 2048
"""No cell is longer; so much of the piece before belongs in front of the next one."""
_MAX_TOKEN_BYTES = 1024

# Serial types: 1-6 integers of 1, 2, 3, 4, 6, 8 bytes, 8 and 9 the constants 0 and 1, from 12 on even ones are blobs.
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_INT = rb"[\x01-\x06\x08\x09]"
_BLOB = rb"(?:[\x0c-\x7f]|[\x81-\x90][\x00-\x7f])"
# rows: key (NULL, for it is the rowid), exp, token.
_ROW = re.compile(rb"[\x04\x05]\x00" + _INT + _BLOB, re.DOTALL)
# chains: number (NULL), id of 8 bytes, state, created_unix, first_seq, next_seq, head of 16 bytes.
_CHAIN = re.compile(rb"\x08\x00\x1c[\x01\x08\x09]" + _INT + rb"{3}\x2c", re.DOTALL)
# records: number (NULL), chain, kind (3 letters), first, last, sent_at (NULL, REAL, or an integer in its place), token.
_RECORD = re.compile(rb"[\x08\x09]\x00" + _INT + rb"\x13" + _INT + rb"{2}[\x00-\x09]" + _BLOB, re.DOTALL)


@dataclass(frozen=True, slots=True)
class CarvedRow:
    """One row of table ``rows`` as it stands in the bytes."""

    key: int
    exp: int
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CarvedChain:
    """One row of table ``chains``; there may be older versions of it, too."""

    id: bytes
    first_seq: int
    next_seq: int
    head: bytes


def rows(data: bytes, seen: int = 0) -> Iterator[CarvedRow]:
    """Yield the rows in ``data``, in order of place; not those that end within the first ``seen`` bytes."""
    for match in _ROW.finditer(data):
        at, types = match.start(), match.group()
        if types[0] != len(types):
            continue
        exp_at = at + types[0]
        token_at = exp_at + _INT_BYTES[types[2]]
        end = token_at + _blob_bytes(types[3:])
        if not seen < end <= len(data) or not token_at < end:
            continue
        key = _rowid_before(data, at, end - at)
        if key is not None:
            yield CarvedRow(key, _integer(types[2], data[exp_at:token_at]), data[token_at:end])


def chains(data: bytes) -> Iterator[CarvedChain]:
    """Yield the rows of table ``chains`` in ``data``."""
    for match in _CHAIN.finditer(data):
        types, at = match.group(), match.end()
        id_ = data[at : at + 8]
        numbers = []
        at += 8
        for kind in types[3:7]:
            numbers.append(_integer(kind, data[at : at + _INT_BYTES[kind]]))
            at += _INT_BYTES[kind]
        head = data[at : at + 16]
        _, _, first_seq, next_seq = numbers
        if len(head) == 16 and 1 <= first_seq <= next_seq < 1 << 40:
            yield CarvedChain(id_, first_seq, next_seq, head)


def gaps(data: bytes, seen: int = 0) -> Iterator[bytes]:
    """Yield the tokens of the gap records in ``data``."""
    for match in _RECORD.finditer(data):
        types, at = match.group(), match.end()
        if types[0] != len(types):
            continue
        at += _INT_BYTES[types[2]]
        kind = data[at : at + 3]
        at += 3 + _INT_BYTES[types[4]] + _INT_BYTES[types[5]]
        at += 8 if types[6] == 7 else _INT_BYTES.get(types[6], 0)
        end = at + _blob_bytes(types[7:])
        if kind == b"gap" and seen < end <= len(data) and at < end:
            yield data[at:end]


def _blob_bytes(kind: bytes) -> int:
    """Length of a blob by its serial type; 0 if it is none that a token could have."""
    number = kind[0] if len(kind) == 1 else (kind[0] & 0x7F) << 7 | kind[1]
    size = (number - 12) // 2
    return size if number % 2 == 0 and 1 <= size <= _MAX_TOKEN_BYTES else 0


def _integer(kind: int, data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True) if _INT_BYTES[kind] else kind - 8


def _rowid_before(data: bytes, at: int, payload: int) -> int | None:
    """The rowid that stands before a record at ``at``, if the payload's length stands before that."""
    if at < 2 or data[at - 1] > 0x7F:
        return None
    start = at - 1
    while start > 0 and data[start - 1] > 0x7F and at - start < 8:
        start -= 1
    length = bytes([payload]) if payload < 0x80 else bytes([payload >> 7 | 0x80, payload & 0x7F])
    if data[max(0, start - len(length)) : start] != length:
        return None
    key = 0
    for byte in data[start:at]:
        key = key << 7 | byte & 0x7F
    return key

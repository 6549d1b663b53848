"""Deterministic CBOR (RFC 8949, 4.2.1): the only bytes that a token, a record or a key may be made of.

The writer is cbor2 over ordered maps. The reader is strict and our own: it refuses whatever the writer would not have
written, and peer bytes never reach code that gives tags a meaning. It must never guess, repair or read past its limit.
"""

from typing import Any, NamedTuple

import cbor2

from edge_agent.errors import TokenError

MAX_DEPTH = 8
TAG_COSE_SIGN1 = 18

CborValue = int | bytes | str | bool | list[Any] | dict[Any, Any] | None
"""What the contract is made of: no floats, no tags inside, no undefined. Map keys are int or str."""

_INT_MIN, _INT_MAX = -(2**64), 2**64 - 1
_UINT, _NINT, _BSTR, _TSTR, _ARRAY, _MAP, _TAG = range(7)
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
# Smallest argument that may use a following 1, 2, 4 or 8 bytes (RFC 8949, 4.2.1: "as short as possible").
_SHORTEST = {24: (1, 24), 25: (2, 0x100), 26: (4, 0x1_0000), 27: (8, 0x1_0000_0000)}


class Tagged(NamedTuple):
    """A tagged item; the contract has one tag, 18 (COSE_Sign1), and only at the top."""

    tag: int
    value: CborValue


def encode(value: CborValue) -> bytes:
    """Write deterministically: shortest heads, definite lengths, map keys in bytewise order of their encoding.

    Raises TypeError or ValueError for what the contract has no use for (floats, tags, other key types, big integers).
    """
    return cbor2.dumps(_ordered(value, MAX_DEPTH))


def encode_ordered(value: CborValue) -> bytes:
    """Write a value whose maps are known to be in order already: the tap path knows, so it need not sort."""
    return cbor2.dumps(value)


def bstr(content: bytes) -> bytes:
    """Write one byte string without going through cbor2: head (major type 2) and content."""
    size = len(content)
    if size < 24:
        return bytes((0x40 | size,)) + content
    if size < 0x100:
        return bytes((0x58, size)) + content
    if size < 0x1_0000:
        return b"\x59" + size.to_bytes(2, "big") + content
    raise ValueError(f"a byte string of {size} bytes has no place in the contract")


def decode(data: bytes, max_bytes: int) -> CborValue | Tagged:
    """Read exactly one item of at most ``max_bytes`` that ``encode`` could have written, or one tagged item.

    Raises TokenError(malformed) with the offset for anything else: trailing bytes, duplicate or unordered keys,
    indefinite lengths, longer heads than needed, floats, other tags, bad UTF-8, more than 8 levels.
    """
    if len(data) > max_bytes:
        raise TokenError(f"{len(data)} bytes of CBOR, at most {max_bytes} are allowed")
    reader = _StrictReader(data)
    value = reader.top()
    if reader.at != len(data):
        raise TokenError(f"{len(data) - reader.at} bytes follow the CBOR item that ends at offset {reader.at}")
    return value


def _ordered(value: Any, depth: int) -> Any:
    """Return a copy whose maps iterate in bytewise order of the encoded keys."""
    kind = type(value)
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise ValueError("integer beyond 64 bits")
        return value
    if kind in (bytes, str, bool) or value is None:
        return value
    if depth == 0:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if kind is list:
        return [_ordered(item, depth - 1) for item in value]
    if kind is dict:
        for key in value:
            if type(key) not in (int, str):
                raise TypeError(f"map key of type {type(key).__name__}")
            if type(key) is int and not _INT_MIN <= key <= _INT_MAX:
                raise ValueError("map key beyond 64 bits")
        return {key: _ordered(value[key], depth - 1) for key in sorted(value, key=cbor2.dumps)}
    raise TypeError(f"{kind.__name__} has no place in the contract")


class _StrictReader:
    """Cursor over one item. Recursion is bounded by MAX_DEPTH, work by the length of the data."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def top(self) -> CborValue | Tagged:
        if self._data[:1] == b"\xd2":
            self.at = 1
            return Tagged(TAG_COSE_SIGN1, self._item(MAX_DEPTH))
        return self._item(MAX_DEPTH)

    def _item(self, depth: int) -> CborValue:
        start = self.at
        major, argument = self._head()
        if major == _UINT:
            return argument
        if major == _NINT:
            return -1 - argument
        if major in (_BSTR, _TSTR):
            return self._take(argument) if major == _BSTR else self._text(argument)
        if major > _TAG:
            return _SIMPLE[argument]
        return self._container(major, argument, start, depth)

    def _container(self, major: int, argument: int, start: int, depth: int) -> CborValue:
        if major == _TAG:
            raise TokenError(f"tag {argument} at offset {start} is not allowed")
        if depth == 0:
            raise TokenError(f"more than {MAX_DEPTH} levels at offset {start}")
        # Every member takes at least one byte: a count beyond the data ends here, before anything is allocated.
        if argument > len(self._data) - self.at:
            raise TokenError(f"cut off: {argument} members promised at offset {start}")
        if major == _ARRAY:
            return [self._item(depth - 1) for _ in range(argument)]
        return self._map(argument, depth - 1)

    def _head(self) -> tuple[int, int]:
        """Read major type and argument; for major type 7 the argument is the whole initial byte."""
        at = self.at
        if at >= len(self._data):
            raise TokenError(f"cut off at offset {at}")
        initial = self._data[at]
        major, info = initial >> 5, initial & 0x1F
        if major > _TAG:
            if initial not in _SIMPLE:
                raise TokenError(f"simple value or float 0x{initial:02x} at offset {at} is not allowed")
            self.at = at + 1
            return major, initial
        if info < 24:
            self.at = at + 1
            return major, info
        if info not in _SHORTEST:
            raise TokenError(f"indefinite or reserved length 0x{initial:02x} at offset {at}")
        width, least = _SHORTEST[info]
        self.at = at + 1
        argument = int.from_bytes(self._take(width), "big")
        if argument < least:
            raise TokenError(f"number {argument} at offset {at} is not in its shortest form")
        return major, argument

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._data):
            raise TokenError(f"cut off: {size} bytes promised at offset {self.at}")
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def _text(self, size: int) -> str:
        start = self.at
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError:
            raise TokenError(f"text at offset {start} is not UTF-8") from None

    def _map(self, pairs: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        last = b""
        for _ in range(pairs):
            start = self.at
            key = self._item(0)
            if type(key) not in (int, str):
                raise TokenError(f"map key at offset {start} is neither an integer nor text")
            encoded = self._data[start : self.at]
            if encoded <= last:
                problem = "appears twice" if encoded == last else "is out of order"
                raise TokenError(f"map key at offset {start} {problem}")
            last = encoded
            found[key] = self._item(depth)
        return found

"""CBOR byte by byte, right or deliberately wrong: for test vectors only. Shares no code with ``tokens.cbor``."""

from collections.abc import Iterable

Pair = tuple[bytes, bytes]
"""Encoded key, encoded value."""


def head(major: int, argument: int, *, width: int | None = None) -> bytes:
    """Return an item's head (RFC 8949, 3); ``width`` forces 1, 2, 4 or 8 following bytes, shortest or not."""
    if width is None and argument < 24:
        return bytes((major << 5 | argument,))
    width = width or next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes((major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width],)) + argument.to_bytes(width, "big")


def integer(value: int, *, width: int | None = None) -> bytes:
    """Return an integer."""
    return head(0, value, width=width) if value >= 0 else head(1, -1 - value, width=width)


def bstr(content: bytes) -> bytes:
    """Return a byte string."""
    return head(2, len(content)) + content


def tstr(content: str) -> bytes:
    """Return a text string."""
    return head(3, len(content.encode())) + content.encode()


def array(*items: bytes) -> bytes:
    """Return an array of encoded items."""
    return head(4, len(items)) + b"".join(items)


def mapping(pairs: Iterable[Pair]) -> bytes:
    """Return a map of encoded pairs in the given order, whatever that order is."""
    listed = list(pairs)
    return head(5, len(listed)) + b"".join(key + value for key, value in listed)


def indefinite_map(pairs: Iterable[Pair]) -> bytes:
    """Return a map of indefinite length, which the contract refuses."""
    return b"\xbf" + b"".join(key + value for key, value in pairs) + b"\xff"


def ordered(pairs: Iterable[Pair]) -> list[Pair]:
    """Return the pairs in bytewise order of their keys (RFC 8949, 4.2.1)."""
    return sorted(pairs)


TRUE, FALSE, NULL = b"\xf5", b"\xf4", b"\xf6"

"""The file that carries an outbox home by hand: a CBOR sequence (RFC 8742) of one header, the items and their count.

Reading streams and is bounded: whatever the file holds, no more than one item of 248 bytes is in memory. Whether a
token is good is the verifier's business. A file that was cut off or is something else is told, never guessed at.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from edge_agent.strict_json import WireError
from edge_agent.uplink.batch import MAX_TOKEN_BYTES
from edge_agent.uplink.topics import Topics

FORMAT = "tap-export/1"
TAP, GAP, CHECKPOINT = SUFFIXES = ("evt/tap", "evt/gap", "evt/chk")
MAX_CONTENT_BYTES = MAX_TOKEN_BYTES
"""Of one token or record: the contract's own limit (section 1)."""

_END = "end"
_UINT, _BYTES, _TEXT, _ARRAY, _MAP = 0, 2, 3, 4, 5
# Smallest argument that may take a following 1, 2, 4 or 8 bytes (RFC 8949, 4.2.1: "as short as possible").
_SHORTEST = {24: 24, 25: 0x100, 26: 0x1_0000, 27: 0x1_0000_0000}


@dataclass(frozen=True, slots=True)
class ExportHeader:
    """Whose outbox it is and when it was written (unix seconds, by the terminal's clock)."""

    fleet: str
    terminal: str
    at: int


@dataclass(frozen=True, slots=True)
class ExportItem:
    """What the terminal would have published under ``suffix``: a token, a gap record or a checkpoint."""

    suffix: str
    content: bytes = field(repr=False)


def write_export(stream: BinaryIO, header: ExportHeader, items: Iterable[ExportItem]) -> int:
    """Write a whole file and return how many items it has; raises WireError for what may not be in one, and OSError."""
    Topics(header.fleet, header.terminal)
    if not 0 <= header.at < 1 << 64:
        raise WireError("the time of the export is out of range")
    fields = {"at": _head(_UINT, header.at), "fleet": _text(header.fleet), "format": _text(FORMAT)}
    fields["terminal"] = _text(header.terminal)
    stream.write(_head(_MAP, len(fields)) + b"".join(_text(name) + value for name, value in fields.items()))
    count = 0
    for item in items:
        if item.suffix not in SUFFIXES or not 1 <= len(item.content) <= MAX_CONTENT_BYTES:
            raise WireError(f"an item of {len(item.content)} bytes under {item.suffix!r} has no place in an export")
        stream.write(_head(_ARRAY, 2) + _text(item.suffix) + _head(_BYTES, len(item.content)) + item.content)
        count += 1
    stream.write(_head(_ARRAY, 2) + _text(_END) + _head(_UINT, count))
    return count


def read_export(stream: BinaryIO) -> tuple[ExportHeader, Iterator[ExportItem]]:
    """Read the header at once and the items as they are asked for; both raise WireError, and OSError of the stream.

    The text of the error says after how many good items the file went wrong: those that were given out may be used.
    """
    source = _Source(stream)
    return source.header(), source.items()


class _Source:
    """Cursor over one export; every length is checked before anything is read by it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._good = 0
        self._began = False

    def header(self) -> ExportHeader:
        if self._head(_MAP) != 4:
            self._wrong("the header is another")
        self._key("at")
        at = self._head(_UINT)
        self._key("fleet")
        fleet = self._text(24)
        self._key("format")
        if self._text(32) != FORMAT:
            self._wrong(f"its format is not {FORMAT}")
        self._key("terminal")
        terminal = self._text(24)
        try:
            Topics(fleet, terminal)
        except WireError as error:
            self._wrong(error.text)
        self._began = True
        return ExportHeader(fleet, terminal, at)

    def items(self) -> Iterator[ExportItem]:
        while True:
            if self._head(_ARRAY) != 2:
                self._wrong("the next item is none of an export")
            suffix = self._text(max(map(len, SUFFIXES)))
            if suffix == _END:
                break
            if suffix not in SUFFIXES:
                self._wrong("the next item is of an unknown kind")
            size = self._head(_BYTES)
            if not 1 <= size <= MAX_CONTENT_BYTES:
                self._wrong(f"the next item has {size} bytes, 1 to {MAX_CONTENT_BYTES} are allowed")
            content = self._take(size)
            self._good += 1
            yield ExportItem(suffix, content)
        if (promised := self._head(_UINT)) != self._good:
            self._wrong(f"the end of the file counts {promised}")
        if self._stream.read(1):
            self._wrong("more bytes follow the end")

    def _key(self, name: str) -> None:
        if self._text(len(name)) != name:
            self._wrong("the header is another")

    def _text(self, longest: int) -> str:
        size = self._head(_TEXT)
        if size > longest:
            self._wrong(f"a text has {size} bytes, at most {longest} are allowed here")
        try:
            return self._take(size).decode("ascii")
        except UnicodeDecodeError:
            self._wrong("a text is not ASCII")

    def _head(self, major: int) -> int:
        """Argument of the next item's head (RFC 8949, section 3), which must be of this major type."""
        first = self._take(1)[0]
        info = first & 0x1F
        if first >> 5 != major or (info > 23 and info not in _SHORTEST):
            self._wrong("the bytes that follow are none of an export")
        if info < 24:
            return info
        argument = int.from_bytes(self._take(1 << (info - 24)), "big")
        if argument < _SHORTEST[info]:
            self._wrong("a number is not in its shortest form")
        return argument

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._stream.read(size - len(data))  # a raw stream may give less than was asked for
            if not piece:
                self._wrong("the file is cut short")
            data += piece
        return data

    def _wrong(self, what: str) -> NoReturn:
        if not self._began:
            raise WireError(f"this is no {FORMAT} file: {what}")
        raise WireError(f"after {self._good} good item{'' if self._good == 1 else 's'}: {what}")


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    info = max(found for found, least in _SHORTEST.items() if argument >= least)
    return bytes((major << 5 | info,)) + argument.to_bytes(1 << (info - 24), "big")


def _text(value: str) -> bytes:
    return _head(_TEXT, len(value)) + value.encode("ascii")

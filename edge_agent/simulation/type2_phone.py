"""A phone that reads an NFC Forum Type 2 Tag, strictly: capability container, TLVs, NDEF records. Pure.

Written against the specifications (Type 2 Tag 1.0, NDEF 1.0, URI and Android application records) and not against our
own encoder, which it is to check. ``reading`` yields commands and is sent the answers: whoever drives it has the air.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum

_PAGE = 4
_DATA_AREA = 16
"""Byte address of page 4."""
_APPLICATION = b"android.com:pkg"
_URI_PREFIXES = ("", "http://www.", "https://www.", "http://", "https://")
"""URI RTD 1.0, table 3, as far as a link to the web goes."""
_TLVS_AT_MOST = 64


class NoTag(Exception):
    """The tag stopped answering, or refused: hold the phone still."""


class Malformed(Exception):
    """What the tag holds is no message of the specification; a phone shows nothing."""


class Step(StrEnum):
    """How a phone reads memory."""

    READ = "read"
    FAST_READ = "fast_read"


@dataclass(frozen=True, slots=True)
class Record:
    """One NDEF record: type name format, type, id, payload."""

    tnf: int
    type: bytes
    id: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What a phone has of a tag: the message (None: an empty tag), its link and the package it opens."""

    message: bytes | None
    url: str | None = None
    app: str | None = None


Reading = Generator[bytes, bytes | None, Seen]


def reading(step: Step = Step.READ) -> Reading:
    """Read a selected tag; raises NoTag, Malformed."""
    head = yield from _pages(0, Step.READ)
    magic, version, size, access = head[12:16]
    if magic != 0xE1 or version >> 4 != 1 or access >> 4:
        raise Malformed("no capability container that lets read")
    memory = _Memory(_DATA_AREA + size * 8, step)
    at = _DATA_AREA
    for _ in range(_TLVS_AT_MOST):
        if at >= memory.end:
            return Seen(None)
        tag, at, length = yield from memory.tlv(at)
        if tag == 0xFE:
            return Seen(None)
        if tag == 0x03:
            return _seen((yield from memory.bytes_at(at, length)) if length else b"")
        if tag not in (0x00, 0x01, 0x02, 0xFD):
            raise Malformed(f"TLV {tag:02x}")
        at += length
    raise Malformed("too many TLVs")


def read_tag(transceive: Callable[[bytes], bytes | None], step: Step = Step.READ) -> Seen:
    """Read a selected tag through ``transceive``; raises NoTag, Malformed."""
    phone = reading(step)
    try:
        command = next(phone)
        while True:
            command = phone.send(transceive(command))
    except StopIteration as done:
        seen: Seen = done.value
        return seen


def parse_message(message: bytes) -> list[Record]:
    """Split an NDEF message into its records (NDEF 1.0, 3.2); raises Malformed. Chunks are refused."""
    records: list[Record] = []
    at = 0
    while True:
        begin = not records
        record, at, end = _record(message, at, begin=begin)
        records.append(record)
        if end:
            break
    if at != len(message):
        raise Malformed("bytes behind the last record")
    return records


class _Memory:
    """The data area as far as it was read."""

    def __init__(self, end: int, step: Step) -> None:
        self.end = end
        self._step = step
        self._known: dict[int, bytes] = {}

    def tlv(self, at: int) -> Generator[bytes, bytes | None, tuple[int, int, int]]:
        """Return tag, address of the value and its length (Type 2 Tag 1.0, 2.3)."""
        tag = (yield from self.bytes_at(at, 1))[0]
        if tag in (0x00, 0xFE):
            return tag, at + 1, 0
        length = (yield from self.bytes_at(at + 1, 1))[0]
        at += 2
        if length == 0xFF:
            length = int.from_bytes((yield from self.bytes_at(at, 2)), "big")
            if length < 0xFF:
                raise Malformed("a long length field for a short value")
            at += 2
        if at + length > self.end:
            raise Malformed("a value beyond the data area")
        return tag, at, length

    def bytes_at(self, at: int, count: int) -> Generator[bytes, bytes | None, bytes]:
        """Return bytes, reading pages that are not known yet."""
        if at + count > self.end:
            raise Malformed("beyond the data area")
        first, last = at // _PAGE, (at + count - 1) // _PAGE
        for page in range(first, last + 1):
            if page in self._known:
                continue
            until = last if self._step is Step.FAST_READ else page + 3
            data = yield from _pages(page, self._step, until)
            for n in range(0, len(data), _PAGE):
                self._known[page + n // _PAGE] = data[n : n + _PAGE]
        joined = b"".join(self._known[page] for page in range(first, last + 1))
        return joined[at - first * _PAGE :][:count]


def _pages(first: int, step: Step, last: int = 3) -> Generator[bytes, bytes | None, bytes]:
    command = bytes((0x30, first)) if step is Step.READ else bytes((0x3A, first, last))
    count = 16 if step is Step.READ else (last - first + 1) * _PAGE
    answer = yield command
    if answer is None or len(answer) != count:
        raise NoTag("no answer" if answer is None else f"refused: {answer[:1].hex()}")
    return answer


def _record(message: bytes, at: int, *, begin: bool) -> tuple[Record, int, bool]:
    def take(count: int) -> bytes:
        nonlocal at
        if at + count > len(message):
            raise Malformed("a record is cut off")
        at += count
        return message[at - count : at]

    flags = take(1)[0]
    if bool(flags & 0x80) != begin or flags & 0x20:
        raise Malformed("message begin or chunk flag")
    tnf = flags & 0x07
    type_length = take(1)[0]
    payload_length = int.from_bytes(take(1 if flags & 0x10 else 4), "big")
    id_length = take(1)[0] if flags & 0x08 else 0
    record = Record(tnf, take(type_length), take(id_length), take(payload_length))
    if tnf >= 6 or (tnf in (1, 2, 3, 4) and not record.type) or (tnf in (0, 5) and record.type):
        raise Malformed("type name format")
    if tnf == 0 and (record.id or record.payload):
        raise Malformed("an empty record with content")
    return record, at, bool(flags & 0x40)


def _seen(message: bytes) -> Seen:
    if not message:
        return Seen(None)
    records = parse_message(message)
    url = app = None
    for record in records:
        if record.tnf == 1 and record.type == b"U" and url is None:
            url = _uri(record.payload)
        if record.tnf == 4 and record.type == _APPLICATION:
            app = record.payload.decode("utf-8", errors="replace")
    return Seen(message, url, app)


def _uri(payload: bytes) -> str:
    if not payload or payload[0] >= len(_URI_PREFIXES):
        raise Malformed("URI prefix")
    try:
        return _URI_PREFIXES[payload[0]] + payload[1:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("URI text") from error

"""A recorded screen line as text: one line for each frame, with its time and direction. Pure: text and values.

    screen-link trace 1
        0.012345 > CUE seq=3 cue=reading ttl_ms=2500 level=100  | 08 01 02 03 02 09 c4 64 03 52 c3 00

The bytes behind the bar are what was on the line; the words before it are for people and are never read back.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from firmware_bridge.frames import DELIMITER, MAX_ENCODED, CrcError, Frame, FrameError, decode_frame
from firmware_bridge.messages import (
    Ack,
    Capability,
    EventCode,
    HostHello,
    HostMessage,
    Level,
    McuEvent,
    McuHello,
    McuMessage,
    MessageError,
    Nak,
    Ping,
    ShowCue,
    Status,
    from_host,
    from_mcu,
)
from firmware_bridge.printable import printable

HEADER = "screen-link trace 1"
MAX_PIECE = 512
"""Bytes of one record; noise that is longer takes several."""
MAX_LINE = 4096
MAX_RECORDS = 250_000
MAX_AT_US = 10**13 - 1
"""115 days."""
_COMMENT = "#"
_LINE = re.compile(r" *([0-9]{1,7})\.([0-9]{6}) ([<>]) \S.{0,2000}?  \| ([0-9a-f]{2}(?: [0-9a-f]{2}){0,511})")
# Noise that is more than this part letters is shown as letters, too: boot loaders speak before the firmware does.
_LETTERS = 0.75


class Direction(StrEnum):
    """Which way bytes went; the mark of it in a trace."""

    TO_MCU = ">"
    TO_HOST = "<"


class TraceError(ValueError):
    """A text that is no trace; ``line`` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Record:
    """Bytes up to and with their delimiter, or noise; ``at_us`` microseconds from the start to the last of them."""

    at_us: int
    direction: Direction
    data: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.at_us <= MAX_AT_US:
            raise ValueError(f"at_us {self.at_us} is outside 0-{MAX_AT_US}")
        if not 1 <= len(self.data) <= MAX_PIECE:
            raise ValueError(f"{len(self.data)} bytes are no record, 1-{MAX_PIECE} are")

    @property
    def frame(self) -> Frame | None:
        """The frame that these bytes are; None for noise and for a delimiter alone."""
        try:
            return decode_frame(self.data[:-1]) if self.data.endswith(DELIMITER) else None
        except FrameError:
            return None

    @property
    def message(self) -> HostMessage | McuMessage | None:
        """What the receiver reads in it; None for all that it would refuse."""
        if (frame := self.frame) is None:
            return None
        try:
            return from_host(frame) if self.direction is Direction.TO_MCU else from_mcu(frame)
        except MessageError:
            return None


class Pieces:
    """Cuts one direction of a line behind each delimiter; feed it what came, get what is complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces that ``data`` completes; none is longer than MAX_PIECE."""
        *complete, rest = (self._rest + data).split(DELIMITER)
        pieces = [part for whole in complete for part in _cut(whole + DELIMITER)]
        *full, self._rest = [*_cut(rest)] or [b""]
        return pieces + full

    def flush(self) -> bytes:
        """Return what no delimiter has ended, b"" for nothing, and forget it."""
        rest, self._rest = self._rest, b""
        return rest


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + MAX_PIECE] for at in range(0, len(data), MAX_PIECE))


def line_of(record: Record) -> str:
    """Return the line of a record, without its end."""
    seconds, micro = divmod(record.at_us, 1_000_000)
    return f"{seconds:5}.{micro:06} {record.direction} {words_of(record)}  | {record.data.hex(' ')}"


def comment(text: str) -> str:
    """Return a line that says something about a trace and that no reader of one minds."""
    return f"{_COMMENT} {printable(text, 200)}"


def read_trace(lines: Iterable[str]) -> list[Record]:
    """Return the records of a trace; raises TraceError for anything that is not laid down.

    Empty lines and those that begin with ``#`` say nothing. Reads no more than MAX_RECORDS lines.
    """
    records: list[Record] = []
    number = 0
    for number, text in enumerate(lines, 1):
        if number > MAX_RECORDS:
            raise TraceError(number, f"a trace has at most {MAX_RECORDS} lines")
        line = text.removesuffix("\n").removesuffix("\r")
        if number == 1:
            if line != HEADER:
                raise TraceError(1, f"a trace begins with {HEADER!r}")
        elif line and not line.startswith(_COMMENT):
            record = _record(number, line)
            if records and record.at_us < records[-1].at_us:
                raise TraceError(number, "the time is earlier than that of the line before")
            records.append(record)
    if number == 0:
        raise TraceError(1, f"a trace begins with {HEADER!r}")
    return records


def _record(number: int, line: str) -> Record:
    found = _LINE.fullmatch(line) if len(line) <= MAX_LINE else None
    if found is None:
        raise TraceError(number, 'expected "SECONDS.MICROS > words  | 01 02 .. 00", > to the MCU, < to the host')
    seconds, micro, mark, digits = found.groups()
    return Record(int(seconds) * 1_000_000 + int(micro), Direction(mark), bytes.fromhex(digits))


def words_of(record: Record) -> str:
    """Say what a record is, in one line without any character that could harm a terminal."""
    if record.data == DELIMITER:
        return "delimiter"
    if not record.data.endswith(DELIMITER):
        return _noise_words(record.data, "noise, not ended")
    try:
        frame = decode_frame(record.data[:-1])
    except CrcError:
        return f"wrong CRC bytes={len(record.data)}"
    except FrameError:
        what = "noise" if len(record.data) <= MAX_ENCODED + 1 else "noise, too long for a frame"
        return _noise_words(record.data, what)
    try:
        message = from_host(frame) if record.direction is Direction.TO_MCU else from_mcu(frame)
    except MessageError as error:
        return f"type={frame.type:#04x} seq={frame.seq} no message: {printable(str(error), 100)}"
    return message_words(message, frame.seq)


def message_words(message: HostMessage | McuMessage, seq: int) -> str:
    """Say what a message is: its name, the seq of its head, its fields."""
    name = _NAMES[message.TYPE]
    fields = "".join(f" {key}={value}" for key, value in _fields(message, seq))
    return f"{name} seq={seq}{fields}"


# By the type's number, as the table of the protocol has them.
_NAMES = MappingProxyType(
    {
        0x01: "HELLO",
        0x02: "CUE",
        0x03: "PING",
        0x04: "LEVEL",
        0x05: "ASK_STATUS",
        0x06: "RESET",
        0x81: "HELLO",
        0x82: "ACK",
        0x83: "NAK",
        0x84: "STATUS",
        0x85: "EVENT",
    }
)


def _fields(message: HostMessage | McuMessage, seq: int) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = []
    match message:
        case HostHello(terminal_id=terminal_id, version=version):
            fields = [("version", version), ("terminal", quoted(terminal_id))]
        case ShowCue(name=name, ttl_ms=ttl_ms, level=level, text=text):
            fields = [("cue", name), ("ttl_ms", ttl_ms), ("level", level)]
            fields += [("text", quoted(text))] if text else []
        case Ping(uptime_ms=uptime_ms):
            fields = [("uptime_ms", uptime_ms)]
        case Level(brightness=brightness):
            fields = [("brightness", brightness)]
        case McuHello(firmware=firmware, capabilities=can, serial=serial, version=version):
            fields = [("version", version), ("firmware", ".".join(str(part) for part in firmware))]
            fields += [("can", ",".join(ability_names(can)) or "none"), ("serial", quoted(serial))]
        case Ack(seq=answered):
            fields = [("answers", answered)] if answered != seq else []
        case Nak(seq=answered, reason=reason):
            fields = [("answers", answered)] if answered != seq else []
            fields += [("reason", reason.name)]
        case Status(cue=cue, uptime_ms=uptime_ms, temperature_c=temperature_c, faults=faults):
            fields = [("cue", cue or "none"), ("uptime_ms", uptime_ms), ("temperature_c", temperature_c)]
            fields += [("faults", f"{faults:#06x}")]
        case McuEvent(code=code, data=data):
            fields = [("event", EventCode(code).name if code in set(EventCode) else code)]
            fields += [("data", data.hex())] if data else []
    return fields


def ability_names(can: Capability) -> list[str]:
    """Return the names of capability bits, in the order of the bits; a bit of a later version is a number."""
    known = [bit.name.lower() for bit in Capability if bit & can and bit.name]
    rest = int(can) & ~sum(Capability)
    return [*known, f"{rest:#04x}"] if rest else known


def quoted(text: str) -> str:
    """Return a text in quotes on one line: what a terminal could take for an order becomes an escape."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


_ESCAPES: dict[str, str] = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"


def _noise_words(data: bytes, what: str) -> str:
    said = data.removesuffix(DELIMITER)
    letters = sum(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in said)
    shown = " text=" + quoted(said[:80].decode("ascii", errors="replace")) if letters > _LETTERS * len(said) else ""
    return f"{what} bytes={len(data)}{shown}"

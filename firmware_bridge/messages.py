"""Messages of the screen link, version 1: dataclasses with strict encoding and decoding; no I/O, no state.

``docs/screen-link.md`` has the table. All integers are big-endian. A payload that is longer or shorter than its fields
is refused: an MCU that disagrees about the layout must not be believed by halves.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Protocol, Self, TypeVar

from firmware_bridge.cues import Cue, CueName, Lang
from firmware_bridge.frames import PROTOCOL_VERSION, Frame, encode_frame
from firmware_bridge.printable import fit_utf8

MAX_TEXT = 64
MAX_TERMINAL_ID = 24
MAX_SERIAL = 16
MAX_EVENT_DATA = 32
# On the line the amount is the first line of the text: an MCU without fonts for it can leave it out.
AMOUNT_SEPARATOR = "\n"

# 0 is left free: an MCU reports it while it has shown nothing yet.
CUE_CODES = {
    CueName.INVITE: 1,
    CueName.READING: 2,
    CueName.THANKS: 3,
    CueName.UNLOCK: 4,
    CueName.RETRY: 5,
    CueName.RESTING: 6,
    CueName.FAULT: 7,
    CueName.IDENTIFY: 8,
    CueName.QUIET: 9,
}
CUE_NAMES = {code: name for name, code in CUE_CODES.items()}


class NakReason(IntEnum):
    """Why a frame was not carried out; the sender repeats it only for BUSY."""

    UNKNOWN_TYPE = 1
    BAD_PAYLOAD = 2
    VERSION = 3
    BUSY = 4
    UNKNOWN_CUE = 5
    HELLO_FIRST = 6


_NAK_REASONS = frozenset(NakReason)


class Capability(IntFlag):
    """What an MCU can do, a bit each."""

    NONE = 0x00
    TEXT = 0x01
    BRIGHTNESS = 0x02
    BUTTON = 0x04
    LIGHT_SENSOR = 0x08
    TAMPER = 0x10
    QUIET = 0x20
    """Knows the cue `quiet`; the others are told `resting` in its place."""


class EventCode(IntEnum):
    """What an MCU tells by itself."""

    BUTTON = 1
    TAMPER = 2
    AMBIENT_LIGHT = 3
    WATCHDOG_RESET = 4


class MessageError(ValueError):
    """A frame that is no message of this version; ``reason`` is the NAK it deserves."""

    def __init__(self, reason: NakReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Message(Protocol):
    """One message: its frame type, and ``bytes(message)``, its payload of at most 120 bytes."""

    TYPE: ClassVar[int]

    def __bytes__(self) -> bytes: ...

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a payload; raises MessageError."""


@dataclass(frozen=True, slots=True)
class HostHello:
    """01, host to MCU: who is talking. Starts a session; the MCU answers ACK, then its own HELLO."""

    TYPE: ClassVar[int] = 0x01
    terminal_id: str
    version: int = PROTOCOL_VERSION

    def __bytes__(self) -> bytes:
        return bytes((self.version,)) + fit_utf8(self.terminal_id, MAX_TERMINAL_ID)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: version u8 | terminal id, 0-24 bytes of UTF-8, to the end."""
        _speaks(payload)
        if not 1 <= len(payload) <= 1 + MAX_TERMINAL_ID:
            raise _bad("HELLO")
        return cls(_text(payload[1:]))


@dataclass(frozen=True, slots=True)
class ShowCue:
    """02, host to MCU: show this cue; without another CUE within ``ttl_ms`` go to the static picture."""

    TYPE: ClassVar[int] = 0x02
    name: CueName
    ttl_ms: int
    level: int = 100
    text: str = ""

    def __bytes__(self) -> bytes:
        text = fit_utf8(self.text, MAX_TEXT)
        return struct.pack(">BHBB", CUE_CODES[self.name], self.ttl_ms, self.level, len(text)) + text

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: cue u8 | ttl_ms u16, from 1 | level u8, 0-100 | length u8, 0-64 | text, ``length`` bytes of UTF-8."""
        if len(payload) < 5 or len(payload) != 5 + payload[4] or payload[4] > MAX_TEXT:
            raise _bad("CUE")
        code, ttl_ms, level, _ = struct.unpack_from(">BHBB", payload)
        if ttl_ms == 0 or level > 100:
            raise _bad("CUE")
        if code not in CUE_NAMES:
            raise MessageError(NakReason.UNKNOWN_CUE, f"cue {code} is not of this version")
        return cls(name=CUE_NAMES[code], ttl_ms=ttl_ms, level=level, text=_text(payload[5:]))


@dataclass(frozen=True, slots=True)
class Ping:
    """03, host to MCU, each second: I am here; ``uptime_ms`` of the host, modulo 2^32."""

    TYPE: ClassVar[int] = 0x03
    uptime_ms: int

    def __bytes__(self) -> bytes:
        return (self.uptime_ms & 0xFFFFFFFF).to_bytes(4, "big")

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: uptime_ms u32 of the host."""
        if len(payload) != 4:
            raise _bad("PING")
        return cls(int.from_bytes(payload, "big"))


@dataclass(frozen=True, slots=True)
class Level:
    """04, host to MCU: brightness 0-100 for what is shown now and from now on."""

    TYPE: ClassVar[int] = 0x04
    brightness: int

    def __bytes__(self) -> bytes:
        return bytes((self.brightness,))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: brightness u8, 0-100."""
        if len(payload) != 1 or payload[0] > 100:
            raise _bad("LEVEL")
        return cls(payload[0])


@dataclass(frozen=True, slots=True)
class _Empty:
    TYPE: ClassVar[int]

    def __bytes__(self) -> bytes:
        return b""

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: no bytes at all."""
        if payload:
            raise _bad(cls.__name__)
        return cls()


@dataclass(frozen=True, slots=True)
class AskStatus(_Empty):
    """05, host to MCU: answer ACK, then STATUS."""

    TYPE: ClassVar[int] = 0x05


@dataclass(frozen=True, slots=True)
class Reset(_Empty):
    """06, host to MCU: answer ACK, then restart."""

    TYPE: ClassVar[int] = 0x06


@dataclass(frozen=True, slots=True)
class McuHello:
    """81, MCU to host: firmware (major, minor, patch), capability bits, serial number of at most 16 bytes."""

    TYPE: ClassVar[int] = 0x81
    firmware: tuple[int, int, int]
    capabilities: Capability = Capability.NONE
    serial: str = ""
    version: int = PROTOCOL_VERSION

    def __bytes__(self) -> bytes:
        return bytes((self.version, *self.firmware, self.capabilities)) + fit_utf8(self.serial, MAX_SERIAL)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: version u8 | major, minor, patch, u8 each | capabilities u8 | serial, 0-16 bytes to the end."""
        _speaks(payload)
        if not 5 <= len(payload) <= 5 + MAX_SERIAL:
            raise _bad("HELLO")
        _, major, minor, patch, capabilities = payload[:5]
        return cls((major, minor, patch), Capability(capabilities), _text(payload[5:]))


@dataclass(frozen=True, slots=True)
class Ack:
    """82, both ways: the frame with this seq was carried out (MCU) or this EVENT was heard (host)."""

    TYPE: ClassVar[int] = 0x82
    seq: int

    def __bytes__(self) -> bytes:
        return bytes((self.seq,))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: seq u8."""
        if len(payload) != 1:
            raise _bad("ACK")
        return cls(payload[0])


@dataclass(frozen=True, slots=True)
class Nak:
    """83, MCU to host: the frame with this seq was not carried out."""

    TYPE: ClassVar[int] = 0x83
    seq: int
    reason: NakReason

    def __bytes__(self) -> bytes:
        return bytes((self.seq, self.reason))

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: seq u8 | reason u8."""
        if len(payload) != 2 or payload[1] not in _NAK_REASONS:
            raise _bad("NAK")
        return cls(payload[0], NakReason(payload[1]))


@dataclass(frozen=True, slots=True)
class Status:
    """84, MCU to host: what is shown (0, here None: nothing yet), uptime, temperature, the maker's fault bits."""

    TYPE: ClassVar[int] = 0x84
    cue: CueName | None
    uptime_ms: int
    temperature_c: int
    faults: int = 0

    def __bytes__(self) -> bytes:
        code = CUE_CODES[self.cue] if self.cue else 0
        return struct.pack(">BIbH", code, self.uptime_ms & 0xFFFFFFFF, self.temperature_c, self.faults)

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: cue u8 | uptime_ms u32 | temperature i8, °C | fault bits u16, the maker's own."""
        if len(payload) != 8:
            raise _bad("STATUS")
        code, uptime_ms, temperature_c, faults = struct.unpack(">BIbH", payload)
        if code != 0 and code not in CUE_NAMES:
            raise _bad("STATUS")
        return cls(CUE_NAMES.get(code), uptime_ms, temperature_c, faults)


@dataclass(frozen=True, slots=True)
class McuEvent:
    """85, MCU to host: button, tamper, ambient light (u16 lux), watchdog reset; a code of the maker stays a number."""

    TYPE: ClassVar[int] = 0x85
    code: int
    data: bytes = b""

    def __bytes__(self) -> bytes:
        return bytes((self.code,)) + self.data[:MAX_EVENT_DATA]

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Layout: code u8 | data, 0-32 bytes, to the end."""
        if not 1 <= len(payload) <= 1 + MAX_EVENT_DATA:
            raise _bad("EVENT")
        return cls(payload[0], payload[1:])


HostMessage = HostHello | ShowCue | Ping | Level | AskStatus | Reset | Ack
McuMessage = McuHello | Ack | Nak | Status | McuEvent
_M = TypeVar("_M")

_FROM_HOST: dict[int, type[HostMessage]] = {
    kind.TYPE: kind for kind in (HostHello, ShowCue, Ping, Level, AskStatus, Reset, Ack)
}
_FROM_MCU: dict[int, type[McuMessage]] = {kind.TYPE: kind for kind in (McuHello, Ack, Nak, Status, McuEvent)}


def encode_message(message: Message, seq: int) -> bytes:
    """Return the line bytes of a message; an answer bears the seq that it answers."""
    return encode_frame(Frame(message.TYPE, seq, bytes(message)))


def from_host(frame: Frame) -> HostMessage:
    """Read a frame as the MCU does; raises MessageError."""
    return _kind(frame, _FROM_HOST).parse(frame.payload)


def from_mcu(frame: Frame) -> McuMessage:
    """Read a frame as the host does; raises MessageError."""
    return _kind(frame, _FROM_MCU).parse(frame.payload)


def show_cue(cue: Cue, ttl_ms: int, *, lang: Lang = Lang.EN, can: Capability = Capability.QUIET) -> ShowCue:
    """Return the CUE message of a cue with ``ttl_ms`` left, for a display of this language that ``can`` so much.

    A text that is too long is cut at a character; a display that does not know `quiet` is told `resting`.
    """
    said = cue.text_in(lang)
    text = said if cue.amount is None else f"{cue.amount}{AMOUNT_SEPARATOR}{said}"
    name = CueName.RESTING if cue.name is CueName.QUIET and Capability.QUIET not in can else cue.name
    return ShowCue(name, ttl_ms, cue.level, text)


def _kind(frame: Frame, table: dict[int, type[_M]]) -> type[_M]:
    if frame.version != PROTOCOL_VERSION:
        raise MessageError(NakReason.VERSION, f"version {frame.version}, this side speaks {PROTOCOL_VERSION}")
    if frame.type not in table:
        raise MessageError(NakReason.UNKNOWN_TYPE, f"type {frame.type:#04x} is not of this version")
    return table[frame.type]


def _speaks(hello: bytes) -> None:
    """Refuse the HELLO of a peer whose messages are of another version, whatever its layout is."""
    if hello and hello[0] != PROTOCOL_VERSION:
        raise MessageError(NakReason.VERSION, f"HELLO of version {hello[0]}, this side speaks {PROTOCOL_VERSION}")


def _bad(name: str) -> MessageError:
    return MessageError(NakReason.BAD_PAYLOAD, f"{name} payload is not as laid down")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageError(NakReason.BAD_PAYLOAD, "text is not UTF-8") from error

"""Checks of what must be refused: unknown types, other versions, payloads that are not as laid down."""

from firmware_bridge.conformance.base import FRAME, MESSAGES, check, rule
from firmware_bridge.conformance.talk import Talk
from firmware_bridge.cues import MAX_LEVEL
from firmware_bridge.frames import Frame
from firmware_bridge.messages import (
    MAX_TERMINAL_ID,
    MAX_TEXT,
    AskStatus,
    HostHello,
    Level,
    NakReason,
    Ping,
    Reset,
    ShowCue,
)

_INVITE = 1
_TTL = b"\x27\x10"


def _refused(talk: Talk, kind: int, payload: bytes, what: str) -> None:
    talk.refused(Frame(kind, talk.next_seq(), payload), NakReason.BAD_PAYLOAD, what)


def _cue(text: bytes, *, length: int | None = None, ttl: bytes = _TTL, level: int = MAX_LEVEL) -> bytes:
    return bytes((_INVITE, *ttl, level, len(text) if length is None else length)) + text


@check(
    "limits.type",
    "an unknown type is refused",
    clause=rule(4),
    hint="NAK UNKNOWN_TYPE (1), also for the types that only an MCU sends",
)
def unknown_type(talk: Talk) -> None:
    """A message of a later version does no harm, and its sender learns that it was not carried out."""
    talk.greet()
    for kind in (0x00, 0x07, 0x55, 0x81, 0x83, 0x84, 0x85, 0xFF):
        frame = Frame(kind, talk.next_seq())
        talk.refused(frame, NakReason.UNKNOWN_TYPE, f"type {kind:02x}")
    talk.acked(Ping(1))


@check(
    "limits.version",
    "another version is refused",
    clause=FRAME,
    hint="look first at the first byte of the body, and of a HELLO: NAK VERSION (3), in a frame of version 1",
)
def version(talk: Talk) -> None:
    """A frame of another version is never read as one of this."""
    talk.greet()
    for number in (0, 2, 255):
        for message in (Ping(1), HostHello("v")):
            frame = Frame(message.TYPE, talk.next_seq(), bytes(message), number)
            talk.refused(frame, NakReason.VERSION, f"a frame of version {number}")
        for rest in (b"v", b"v" * 30):  # only the first byte of a HELLO is laid down for all versions
            frame = Frame(HostHello.TYPE, talk.next_seq(), bytes((number,)) + rest)
            talk.refused(frame, NakReason.VERSION, f"a HELLO of version {number}")
    talk.acked(Ping(1))


@check(
    "limits.length",
    "payloads of a wrong length are refused",
    clause=FRAME,
    hint="compare the length with the table, not only with a minimum: NAK BAD_PAYLOAD (2)",
)
def length(talk: Talk) -> None:
    """A host that disagrees about the layout is not believed by halves; a RESET with a payload is no RESET."""
    talk.greet()
    for kind, payload, what in (
        (Ping.TYPE, b"\x01\x02\x03", "a PING of 3 bytes"),
        (Ping.TYPE, b"\x01\x02\x03\x04\x05", "a PING of 5 bytes"),
        (Ping.TYPE, b"", "a PING without payload"),
        (Level.TYPE, b"", "a LEVEL without payload"),
        (Level.TYPE, b"\x20\x20", "a LEVEL of 2 bytes"),
        (AskStatus.TYPE, b"\x01", "an ASK_STATUS with a payload"),
        (Reset.TYPE, b"\x01", "a RESET with a payload"),
    ):
        _refused(talk, kind, payload, what)
    talk.acked(Ping(1))


@check(
    "limits.cue_length",
    "a CUE whose text length lies is refused",
    clause=MESSAGES,
    hint="the payload has 5 bytes and as many as the fifth says, not one more or less",
)
def cue_length(talk: Talk) -> None:
    """No byte behind the payload is ever read, and none of it is left over."""
    talk.greet()
    for payload, what in (
        (b"", "a CUE without payload"),
        (_cue(b"")[:4], "a CUE of 4 bytes"),
        (_cue(b"hello", length=6), "a CUE with a text of 5 bytes that says 6"),
        (_cue(b"hello", length=4), "a CUE with a text of 5 bytes that says 4"),
        (_cue(b"", length=64), "a CUE without a text that says 64"),
        (_cue(b"", length=255), "a CUE without a text that says 255"),
    ):
        _refused(talk, ShowCue.TYPE, payload, what)
    talk.acked(Ping(1))


@check(
    "limits.text",
    "a text of more than 64 bytes is refused",
    clause=MESSAGES,
    hint="NAK BAD_PAYLOAD (2) instead of a cut: a buffer of 64 bytes must not overflow",
)
def text(talk: Talk) -> None:
    """No text is longer than the firmware's buffer."""
    talk.greet()
    for size in (MAX_TEXT + 1, 115):
        _refused(talk, ShowCue.TYPE, _cue(b"x" * size), f"a text of {size} bytes")
    talk.acked(Ping(1))


@check(
    "limits.utf8",
    "a text that is not UTF-8 is refused",
    clause=FRAME,
    hint="RFC 3629, section 4: no lone, missing or overlong bytes, no surrogates, nothing above U+10FFFF",
)
def utf8(talk: Talk) -> None:
    """No text draws rubbish or reads behind its end."""
    talk.greet()
    for text_bytes in (
        b"\x80",
        b"ok\xe8\xb0",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xff",
        b"\xe8a\xa2",
    ):
        _refused(talk, ShowCue.TYPE, _cue(text_bytes), f"a CUE with the text {text_bytes.hex(' ')}")
    talk.acked(Ping(1))


@check(
    "limits.cue_ttl",
    "a CUE with no time to live is refused",
    clause=MESSAGES,
    hint="ttl_ms is at least 1: a cue without an end does not exist",
)
def cue_ttl(talk: Talk) -> None:
    """No display is ever stuck on a cue that has no end."""
    talk.greet()
    _refused(talk, ShowCue.TYPE, _cue(b"", ttl=b"\x00\x00"), "a CUE with ttl 0")


@check(
    "limits.cue_level",
    "a CUE with a level over 100 is refused",
    clause=MESSAGES,
    hint="the level is a percentage, not 0 to 255",
)
def cue_level(talk: Talk) -> None:
    """Host and firmware mean the same by a level."""
    talk.greet()
    for value in (101, 255):
        _refused(talk, ShowCue.TYPE, _cue(b"", level=value), f"a CUE with level {value}")


@check(
    "limits.level",
    "a LEVEL over 100 is refused",
    clause=MESSAGES,
    hint="the level is a percentage, not 0 to 255",
)
def level(talk: Talk) -> None:
    """Host and firmware mean the same by a level."""
    talk.greet()
    for value in (101, 255):
        _refused(talk, Level.TYPE, bytes((value,)), f"LEVEL {value}")


@check(
    "limits.hello",
    "a HELLO that is not as laid down is refused",
    clause=MESSAGES,
    hint="at least the version byte, at most 24 bytes of UTF-8 behind it",
)
def hello(talk: Talk) -> None:
    """No terminal id is longer than the firmware's buffer."""
    talk.greet()
    for payload, what in (
        (b"", "a HELLO without payload"),
        (b"\x01" + b"i" * (MAX_TERMINAL_ID + 1), "a HELLO with an id of 25 bytes"),
        (b"\x01" + b"i" * 119, "a HELLO with an id of 119 bytes"),
        (b"\x01\xff", "a HELLO with an id that is not UTF-8"),
    ):
        _refused(talk, HostHello.TYPE, payload, what)
    talk.acked(Ping(1))


CHECKS = (unknown_type, version, length, cue_length, text, utf8, cue_ttl, cue_level, level, hello)

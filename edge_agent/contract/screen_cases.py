"""Vectors for the screen link: frames as they are on the line, messages behind them, and bytes that are no frame."""

from typing import Any

from firmware_bridge.cues import CueName
from firmware_bridge.frames import Frame, encode_frame
from firmware_bridge.manual import EXAMPLES
from firmware_bridge.messages import (
    Ack,
    AskStatus,
    Capability,
    EventCode,
    HostHello,
    Level,
    McuEvent,
    McuHello,
    Message,
    Nak,
    NakReason,
    Ping,
    Reset,
    ShowCue,
    Status,
    encode_message,
)


def messages() -> list[tuple[str, str, int, Message]]:
    """Return (name, direction, seq, message)."""
    down: list[tuple[str, Message]] = [
        ("hello", HostHello("sh-000123-a")),
        ("cue-invite", ShowCue(CueName.INVITE, 60_000)),
        ("cue-reading", ShowCue(CueName.READING, 2_000)),
        ("cue-thanks-with-text", ShowCue(CueName.THANKS, 3_000, 80, "谢谢")),
        ("cue-fault", ShowCue(CueName.FAULT, 60_000, 100, "reader")),
        ("ping", Ping(86_461_000)),
        ("level", Level(40)),
        ("ask-status", AskStatus()),
        ("reset", Reset()),
        ("ack-of-an-event", Ack(9)),
        ("cue-quiet", ShowCue(CueName.QUIET, 12_000)),
    ]
    up: list[tuple[str, Message]] = [
        ("mcu-hello", McuHello((1, 4, 2), Capability.TEXT | Capability.BRIGHTNESS, "MCU-0042")),
        ("ack", Ack(1)),
        ("nak-unknown-type", Nak(200, NakReason.UNKNOWN_TYPE)),
        ("status", Status(CueName.INVITE, 3_600_000, -7, 0x0001)),
        ("event-light", McuEvent(EventCode.AMBIENT_LIGHT, (300).to_bytes(2, "big"))),
    ]
    listed = [(name, "to MCU", seq, message) for seq, (name, message) in enumerate(down)]
    listed += [(name, "to host", seq, message) for seq, (name, message) in enumerate(up, 250)]
    # The examples of docs/screen-link.md.
    return listed + [
        (name, "to host" if message.TYPE & 0x80 else "to MCU", seq, message) for name, _, seq, message in EXAMPLES
    ]


def document() -> dict[str, Any]:
    """Return the vector file."""
    good = encode_message(ShowCue(CueName.READING, 2_000), 7)
    wrong_crc = bytes((*good[:-2], good[-2] ^ 0x80, 0))
    return {
        "about": "Frames of the screen link: COBS of version, type, seq, payload and CRC-16/CCITT-FALSE "
        "(big-endian), then the delimiter 00. Receivers drop what is no frame and go on behind the next 00.",
        "frames": [
            {
                "name": name,
                "direction": direction,
                "type": message.TYPE,
                "seq": seq & 0xFF,
                "payload_hex": bytes(message).hex(),
                "line_hex": encode_message(message, seq & 0xFF).hex(),
            }
            for name, direction, seq, message in messages()
        ],
        "longest": {
            "payload_hex": (bytes(range(1, 121))).hex(),
            "line_hex": encode_frame(Frame(0x02, 255, bytes(range(1, 121)))).hex(),
        },
        "no_frames": [
            {"name": "wrong-crc", "line_hex": wrong_crc.hex()},
            {"name": "cut-off", "line_hex": (good[:5] + b"\x00").hex()},
            {"name": "code-points-outside", "line_hex": "ff0100"},
            {"name": "too-short", "line_hex": "05010203" + "0400"},
            {"name": "127-bytes", "line_hex": (b"\x7f" * 127 + b"\x00").hex()},
        ],
        "resynchronises": {
            "line_hex": (b"\x55\xaa\x00" + good + b"noise\x00" + good).hex(),
            "frames": 2,
        },
    }

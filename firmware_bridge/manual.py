"""The generated parts of the OEM's manual: tables and examples, made from the code that they are about.

``python -m firmware_bridge.manual docs/screen-link.md`` renews them between their marks and touches nothing else.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

from firmware_bridge.conformance.report import conditions
from firmware_bridge.conformance.runner import CHECKS
from firmware_bridge.cues import HOLD_S, LASTING, CueName
from firmware_bridge.frames import Frame, cobs_encode, crc16, encode_frame
from firmware_bridge.messages import (
    CUE_CODES,
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

_PART = re.compile(
    r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n)(?P<body>.*?)(?P<close><!-- end of generated -->)", re.DOTALL
)

# name of the vector, what it is, seq, message
EXAMPLES: tuple[tuple[str, str, int, Message], ...] = (
    ("example-hello", "host HELLO: terminal `sh-000123-a`", 1, HostHello("sh-000123-a")),
    ("example-ack", "ACK of it", 1, Ack(1)),
    (
        "example-mcu-hello",
        "MCU HELLO: firmware 1.4.2, can text, brightness and quiet, `LX-7`",
        1,
        McuHello((1, 4, 2), Capability.TEXT | Capability.BRIGHTNESS | Capability.QUIET, "LX-7"),
    ),
    ("example-invite", "CUE invite, 12 s, full brightness", 2, ShowCue(CueName.INVITE, 12_000)),
    ("example-reading", "CUE reading, 2.5 s", 3, ShowCue(CueName.READING, 2_500)),
    (
        "example-thanks",
        "CUE thanks, 3.5 s, amount `¥2.00`, text `谢谢`",
        4,
        ShowCue(CueName.THANKS, 3_500, 100, "¥2.00\n谢谢"),
    ),
    ("example-quiet", "CUE quiet, 12 s, half brightness", 5, ShowCue(CueName.QUIET, 12_000, 50)),
    ("example-ping", "PING, host up for 1 s", 42, Ping(1000)),
    ("example-level", "LEVEL 60", 6, Level(60)),
    ("example-ask-status", "ASK_STATUS", 7, AskStatus()),
    ("example-status", "STATUS: invite, up 3661 s, 41 °C, no faults", 7, Status(CueName.INVITE, 3_661_000, 41)),
    ("example-reset", "RESET", 8, Reset()),
    ("example-nak", "NAK of seq 9: unknown type", 9, Nak(9, NakReason.UNKNOWN_TYPE)),
    ("example-event", "EVENT: button 1, seq of the MCU's own count", 1, McuEvent(EventCode.BUTTON, b"\x01")),
)
_MESSAGES: tuple[tuple[str, str, type[Message]], ...] = (
    ("host → MCU", "HELLO", HostHello),
    ("host → MCU", "CUE", ShowCue),
    ("host → MCU", "PING", Ping),
    ("host → MCU", "LEVEL", Level),
    ("host → MCU", "ASK_STATUS", AskStatus),
    ("host → MCU", "RESET", Reset),
    ("MCU → host", "HELLO", McuHello),
    ("both ways", "ACK", Ack),
    ("MCU → host", "NAK", Nak),
    ("MCU → host", "STATUS", Status),
    ("MCU → host", "EVENT", McuEvent),
)
_CUES = MappingProxyType(
    {
        CueName.INVITE: ("nothing going on; the advert's own invitation may follow", "tap your phone here"),
        CueName.READING: ("a phone is in the field", "hold still"),
        CueName.THANKS: ("the tap is kept; text and amount may follow", "it worked"),
        CueName.UNLOCK: ("the phone is locked", "unlock it, tap again"),
        CueName.RETRY: ("moved away too soon", "once more, a little longer"),
        CueName.RESTING: ("taps are paused", "not now, nothing is broken"),
        CueName.FAULT: (
            "the reader is lost, the disk fails, ...",
            "the invitation is gone; a small corner mark names the fault class for a technician",
        ),
        CueName.IDENTIFY: ("a technician asked which screen this is", "the text: terminal id, report id"),
        CueName.QUIET: (
            "the advert that is showing has no reward",
            "no invitation; a tap is taken all the same. Needs capability bit 5, others are told `resting`",
        ),
    }
)
_CAPABILITIES = MappingProxyType(
    {
        Capability.TEXT: "shows the text of a CUE",
        Capability.BRIGHTNESS: "can be dimmed by LEVEL and by the level of a CUE",
        Capability.BUTTON: "has a button and tells EVENT BUTTON",
        Capability.LIGHT_SENSOR: "measures the light and tells EVENT AMBIENT_LIGHT",
        Capability.TAMPER: "notices when it is opened and tells EVENT TAMPER",
        Capability.QUIET: "knows the cue `quiet`",
    }
)
_NAKS = MappingProxyType(
    {
        NakReason.UNKNOWN_TYPE: ("no message of this version", "notes it, does not repeat the message"),
        NakReason.BAD_PAYLOAD: ("length, range or UTF-8 not as laid down", "the same"),
        NakReason.VERSION: (
            "another version, in the head of the frame or in HELLO",
            "gives the link up if it was HELLO",
        ),
        NakReason.BUSY: ("cannot do it now", "repeats as if nothing had been heard"),
        NakReason.UNKNOWN_CUE: ("a cue that this firmware does not know", "notes it"),
        NakReason.HELLO_FIRST: (
            "anything else before the first HELLO",
            "says HELLO, then the current cue: this is how an MCU that has restarted gets back",
        ),
    }
)
_EVENTS = MappingProxyType(
    {
        EventCode.BUTTON: "number of the button, u8",
        EventCode.TAMPER: "-",
        EventCode.AMBIENT_LIGHT: "lux, u16",
        EventCode.WATCHDOG_RESET: "-",
    }
)


def with_generated_parts(page: str) -> str:
    """Return the manual with every generated part renewed; raises ValueError for a wrong set of parts."""
    made = {name: part() for name, part in _PARTS.items()}
    found = [match["name"] for match in _PART.finditer(page)]
    if sorted(found) != sorted(made):
        raise ValueError(f"the page has the generated parts {sorted(found)}, not {sorted(made)}")
    return _PART.sub(lambda match: f"{match['open']}{made[match['name']]}\n{match['close']}", page)


def _table(head: str, rows: Iterable[Sequence[object]]) -> str:
    columns = head.count("|") + 1
    lines = [f"| {head} |", "|" + "---|" * columns]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cues() -> str:
    def falls_back(cue: CueName) -> str:
        return "while it lasts" if cue in LASTING else f"{HOLD_S[cue]:.0f} s" if cue in HOLD_S else "-"

    rows = [(code, f"`{cue}`", _CUES[cue][0], falls_back(cue), _CUES[cue][1]) for cue, code in CUE_CODES.items()]
    return _table("code | cue | when | falls back after | what a person should understand", rows)


def _messages() -> str:
    rows = []
    for direction, name, kind in _MESSAGES:
        layout = " ".join((kind.parse.__doc__ or "").split()).removeprefix("Layout: ").rstrip(".")
        about = " ".join((kind.__doc__ or "").split()).partition(": ")[2].rstrip(".")
        payload = layout.replace(" | ", " · ").replace("``", "`")
        rows.append((f"`{kind.TYPE:02x}`", direction, name, payload, about.replace("``", "`")))
    return _table("type | direction | message | payload | meaning", rows)


def _capabilities() -> str:
    rows = [(bit.bit_length() - 1, bit.name, _CAPABILITIES[bit]) for bit in Capability if bit]
    return _table("bit | capability | the display", rows)


def _naks() -> str:
    return _table(
        "reason | NAK | what was wrong | what the host does", [(*_numbered(one), *_NAKS[one]) for one in NakReason]
    )


def _events() -> str:
    return _table("code | EVENT | data", [(*_numbered(one), _EVENTS[one]) for one in EventCode])


def _numbered(one: NakReason | EventCode) -> tuple[int, str]:
    return int(one), one.name


def _examples() -> str:
    rows = [(what, seq, f"`{encode_message(message, seq).hex(' ')}`") for _, what, seq, message in EXAMPLES]
    return _table("message | seq | bytes", rows)


def _frame() -> str:
    seq, cue = 3, ShowCue(CueName.READING, 2_500)
    body = bytes((1, cue.TYPE, seq)) + bytes(cue)
    fields = (
        ("version 1", 1),
        ("type CUE", 1),
        (f"seq {seq}", 1),
        (f"cue {cue.name}", 1),
        (f"ttl_ms {cue.ttl_ms}", 2),
        (f"level {cue.level}", 1),
        ("length of the text", 1),
    )
    rows = []
    at = 0
    for name, size in fields:
        rows.append((name, f"`{body[at : at + size].hex(' ')}`"))
        at += size
    if at != len(body):
        raise AssertionError("the fields are not the whole body")
    check = crc16(body).to_bytes(2, "big")
    line = encode_frame(Frame(cue.TYPE, seq, bytes(cue)))
    if line != cobs_encode(body + check) + b"\x00":
        raise AssertionError("a frame is not what this table says")
    rows.append((f"CRC of these {len(body)} bytes", f"`{check.hex(' ')}`"))
    rows.append(("the same in COBS, and the delimiter", f"`{line.hex(' ')}`"))
    return _table("field | bytes", rows)


def _checks() -> str:
    rows = [(f"`{one.id}`", one.title + conditions(one), one.clause, one.proves) for one in CHECKS]
    return _table("check | what must be true | clause | what it proves", rows)


_PARTS: MappingProxyType[str, Callable[[], str]] = MappingProxyType(
    {
        "cues": _cues,
        "frame": _frame,
        "messages": _messages,
        "capabilities": _capabilities,
        "nak-reasons": _naks,
        "events": _events,
        "examples": _examples,
        "checks": _checks,
    }
)


def main(arguments: Sequence[str]) -> int:
    """Renew the parts of the page that is named; 2 for wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m firmware_bridge.manual PAGE\n")
        return 2
    page = Path(arguments[0])
    page.write_text(with_generated_parts(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

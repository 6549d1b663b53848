"""docs/screen-link.md says what the code does: every table is compared."""

import re
from pathlib import Path

from firmware_bridge.cues import HOLD_S, LASTING, CueName
from firmware_bridge.links.ble import ACK_WITHIN_S
from firmware_bridge.links.nus import NUS_RX, NUS_SERVICE, NUS_TX, SMALLEST_PIECE, Timeouts
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

PAGE = (Path(__file__).parents[2] / "docs" / "screen-link.md").read_text(encoding="utf-8")
EXAMPLES: list[tuple[str, Message, int]] = [
    ("host HELLO", HostHello("sh-000123-a"), 1),
    ("ACK of it", Ack(1), 1),
    ("MCU HELLO", McuHello((1, 4, 2), Capability.TEXT | Capability.BRIGHTNESS, "LX-7"), 1),
    ("CUE invite", ShowCue(CueName.INVITE, 12_000), 2),
    ("CUE reading", ShowCue(CueName.READING, 2_500), 3),
    ("CUE thanks", ShowCue(CueName.THANKS, 3_500, 100, "¥2.00\n谢谢"), 4),
    ("PING", Ping(1000), 42),
    ("LEVEL 60", Level(60), 5),
    ("ASK_STATUS", AskStatus(), 6),
    ("STATUS", Status(CueName.INVITE, 3_661_000, 41), 6),
    ("RESET", Reset(), 7),
    ("NAK", Nak(8, NakReason.UNKNOWN_TYPE), 8),
    ("EVENT", McuEvent(1, b"\x01"), 1),
]
MESSAGES = (HostHello, ShowCue, Ping, Level, AskStatus, Reset, McuHello, Ack, Nak, Status, McuEvent)


def table(heading: str) -> list[list[str]]:
    """Rows of the table whose head begins with ``heading``."""
    lines = PAGE.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_cues() -> None:
    rows = {row[1].strip("`"): (int(row[0]), row[3]) for row in table("code | cue")}
    assert {name: code for name, (code, _) in rows.items()} == {name.value: code for name, code in CUE_CODES.items()}
    for name in CueName:
        falls_back = rows[name][1]
        if name in LASTING:
            assert falls_back == "while it lasts"
        else:
            assert falls_back == (f"{HOLD_S[name]:.0f} s" if name in HOLD_S else "-")


def test_message_types() -> None:
    assert [int(row[0].strip("`"), 16) for row in table("type | direction")] == [kind.TYPE for kind in MESSAGES]


def test_reasons_and_events() -> None:
    assert [(int(row[0]), row[1]) for row in table("reason | NAK")] == [(reason, reason.name) for reason in NakReason]
    assert [(int(row[0]), row[1]) for row in table("code | EVENT")] == [(code, code.name) for code in EventCode]


def test_examples_are_what_the_code_sends() -> None:
    rows = table("message | seq")
    assert len(rows) == len(EXAMPLES)
    for (what, seq, line), (name, message, sent_seq) in zip(rows, EXAMPLES, strict=True):
        assert what.startswith(name)
        assert (int(seq), line.strip("`")) == (sent_seq, encode_message(message, sent_seq).hex(" "))


def test_bluetooth() -> None:
    rows = table("| UUID")
    assert [row[1].strip("`") for row in rows] == [NUS_SERVICE, NUS_RX, NUS_TX]
    limits = Timeouts()
    said = "Scan {0.scan_s:g} s, connection with its services {0.connect_s:g} s, a write {0.write_s:g} s"
    assert f"{said}, anything else {{0.ask_s:g}} s".format(limits) in PAGE
    assert limits.ask_s == limits.leave_s
    assert f"{SMALLEST_PIECE} as long as the MTU is not known" in PAGE
    assert f"repeated after {ACK_WITHIN_S * 1000:.0f} ms" in PAGE


def test_links_inside_the_page_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors

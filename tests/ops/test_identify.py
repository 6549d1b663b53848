import pytest

from edge_agent.errors import ControlError
from edge_agent.ops.identify import OP, identify_ops
from edge_agent.report_id import ReportId
from firmware_bridge.bridge import Bridge
from firmware_bridge.messages import MAX_TERMINAL_ID, MAX_TEXT
from firmware_bridge.printable import fit_utf8


async def test_it_shows_the_terminal_and_says_so() -> None:
    shown: list[str] = []
    assert await identify_ops(shown.append, "sh-1")[OP]({"op": OP}) == {"terminal": "sh-1"}
    assert shown == ["sh-1"]


async def test_a_report_stands_beside_it_however_it_was_typed() -> None:
    shown: list[str] = []
    answer = await identify_ops(shown.append, "sh-1")[OP]({"op": OP, "report": "k7qf 2m4d"})
    assert answer == {"terminal": "sh-1", "report": "K7QF-2M4D"}
    assert shown == ["sh-1 · K7QF-2M4D"]


@pytest.mark.parametrize("report", ["call 555-1234", "", 7, ["K7QF-2M4D"], {}, "K7QF-2M4D\n\x1b[2J"])
async def test_no_other_words_come_onto_a_screen(report: object) -> None:
    shown: list[str] = []
    with pytest.raises(ControlError, match="report id"):
        await identify_ops(shown.append, "sh-1")[OP]({"op": OP, "report": report})
    assert shown == []


async def test_the_longest_ids_reach_an_mcu_whole() -> None:
    bridge = Bridge([], terminal_id="x")
    terminal = "t" * MAX_TERMINAL_ID
    identify = identify_ops(lambda text: bridge.show("identify", text=text), terminal)[OP]
    await identify({"op": OP, "report": ReportId.of(b"\xff" * 5)})
    text = bridge._machine.current.text
    assert text == f"{terminal} · ZZZZ-ZZZZ"
    assert fit_utf8(text, MAX_TEXT).decode() == text

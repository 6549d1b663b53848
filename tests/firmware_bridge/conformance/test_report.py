"""The report: 80 columns, colour only where it is wanted, nothing of the firmware's that could harm a terminal."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.conformance.base import Outcome, Verdict
from firmware_bridge.conformance.report import Report, as_json, firmware_name, fold
from firmware_bridge.conformance.runner import CHECKS
from firmware_bridge.messages import Capability, McuHello
from firmware_bridge.paper import columns

FAIL = Outcome(
    CHECKS[0],
    Verdict.FAIL,
    0.5,
    "ACK seq=1",
    "NAK seq=1 reason=BUSY  | 08 01",
    trace=("  0.0 > HELLO seq=1  | 12 01",),
    hint=CHECKS[0].hint,
)


class Stream(io.TextIOWrapper):
    def __init__(self, encoding: str, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        self.flush()
        self.seek(0)
        return self.read()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name in ("LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm")


def test_a_failure_says_what_was_expected_what_came_where_it_stands_and_what_is_usually_wrong() -> None:
    out = Stream("utf-8")
    Report(out).tell(FAIL)
    shown = out.text()
    assert "  FAIL  hello.answer           HELLO is answered with ACK, then HELLO\n" in shown
    assert "expected  ACK seq=1\n" in shown
    assert "got       NAK seq=1 reason=BUSY" in shown
    assert f"hint      {CHECKS[0].hint}"[:50] in shown
    assert "clause    docs/screen-link.md, What the MCU must do, 2\n" in shown
    assert "| 0.0 > HELLO seq=1" in shown


def test_colour_on_a_terminal_only_and_not_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, pipe, plain = Stream("utf-8", terminal=True), Stream("utf-8"), Stream("utf-8", terminal=True)
    Report(terminal).tell(FAIL)
    Report(pipe).tell(FAIL)
    monkeypatch.setenv("NO_COLOR", "1")
    Report(plain).tell(FAIL)
    assert "\x1b[1;31mFAIL\x1b[0m" in terminal.text()
    assert "\x1b" not in pipe.text() + plain.text()


@given(
    st.sampled_from(CHECKS),
    st.sampled_from(Verdict),
    st.text(max_size=300),
    st.text(max_size=900),
    st.sampled_from(["utf-8", "ascii"]),
)
def test_no_text_of_a_firmware_leaves_80_columns(
    check: object, verdict: Verdict, some: str, more: str, code: str
) -> None:
    out = Stream(code)
    report = Report(out)
    outcome = Outcome(check, verdict, 1.0, some, more, some, (more,))  # type: ignore[arg-type]  # one of CHECKS
    report.begin(some, 60)
    report.tell(outcome)
    report.end([outcome], McuHello((1, 2, 3), Capability.TEXT, some[:16]), 3)
    shown = out.text()
    for line in shown.splitlines():
        assert columns(line) <= 80, line
        assert all(char.isprintable() or unicodedata.category(char) == "Zs" for char in line)
    assert code == "utf-8" or shown.isascii()


@given(st.text(st.characters(exclude_categories=["C", "M"]), max_size=200), st.integers(2, 70))
def test_folding_loses_nothing_but_spaces_between_lines(text: str, width: int) -> None:
    lines = fold(text, width)
    assert all(columns(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_the_list_names_each_check_with_its_clause_and_condition() -> None:
    out = Stream("utf-8")
    Report(out).catalogue(CHECKS)
    shown = out.text()
    for check in CHECKS:
        assert check.id in shown
        assert check.title in shown
    assert "Cues (only with quiet)" in shown
    assert "Sequence (only with button; a person at the screen)" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_json_has_all_of_it() -> None:
    passed = Outcome(CHECKS[1], Verdict.PASS, 0.1, note="slowest of 5: 0.1 ms")
    hello = McuHello((1, 4, 2), Capability.TEXT | Capability.QUIET, "LX\x1b-7")
    document = json.loads(json.dumps(as_json("/dev/ttyUSB0", [FAIL, passed], hello, 2)))
    assert document["firmware"] == {"serial": "LX?-7", "version": "1.4.2", "capabilities": ["text", "quiet"]}
    assert (document["pass"], document["fail"], document["skip"], document["unreadable"]) == (1, 1, 0, 2)
    first, second = document["checks"]
    assert (first["id"], first["verdict"], first["expected"]) == ("hello.answer", "fail", "ACK seq=1")
    assert (second["verdict"], second["note"]) == ("pass", "slowest of 5: 0.1 ms")
    assert "expected" not in second
    assert as_json("x", [], None, 0)["firmware"] is None
    assert firmware_name(None) == "a firmware that said no HELLO"

"""The report of a conformance run for people (80 columns, colour where it is wanted) and for machines. Text only."""

from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from firmware_bridge.conformance.base import Check, Outcome, Verdict
from firmware_bridge.messages import McuHello
from firmware_bridge.paper import MAX_WIDTH, Paper, columns
from firmware_bridge.printable import printable
from firmware_bridge.trace import ability_names

PAGE = "docs/screen-link.md"
_COLOURS = {Verdict.PASS: "32", Verdict.FAIL: "1;31", Verdict.SKIP: "33"}
_ID_WIDTH = 22
_INDENT = " " * 8
_MAX_TEXT = 600


def firmware_name(hello: McuHello | None) -> str:
    """Return serial number and version of a firmware, printable."""
    if hello is None:
        return "a firmware that said no HELLO"
    return f"{printable(hello.serial)} {'.'.join(str(part) for part in hello.firmware)}".strip()


class Report:
    """Prints each outcome as it comes, under the name of its group."""

    def __init__(self, out: TextIO) -> None:
        self._paper = Paper(out)
        self._group = ""

    def begin(self, device: str, checks: int) -> None:
        """Say what is going to happen."""
        number = "1 check" if checks == 1 else f"{checks} checks"
        self._folded("", f"conformance of {printable(device)}: screen link version 1, {number}")

    def tell(self, outcome: Outcome) -> None:
        """Print one outcome; a failure with what was expected, what came, a hint and the last frames."""
        check = outcome.check
        if check.group != self._group:
            self._group = check.group
            self._print(f"\n{check.group}")
        word = outcome.verdict.upper()
        self._folded(f"  {word}  {check.id:<{_ID_WIDTH}} ", check.title, paint=(word, _COLOURS[outcome.verdict]))
        if outcome.verdict is not Verdict.FAIL:
            self._folded(" " * (9 + _ID_WIDTH), outcome.note)
            return
        for name, text in (
            ("expected", outcome.expected),
            ("got", outcome.got),
            ("hint", outcome.hint),
            ("clause", f"{PAGE}, {check.clause}"),
        ):
            self._folded(f"{_INDENT}{name:<10}", text)
        for line in outcome.trace:
            self._folded(f"{_INDENT}| ", line)

    def end(self, outcomes: Sequence[Outcome], hello: McuHello | None, unreadable: int) -> None:
        """Print the sum of it."""
        counts = {verdict: sum(1 for outcome in outcomes if outcome.verdict is verdict) for verdict in Verdict}
        seconds = sum(outcome.seconds for outcome in outcomes)
        self._print("")
        self._folded(
            "",
            f"{counts[Verdict.PASS]} passed, {counts[Verdict.FAIL]} failed, {counts[Verdict.SKIP]} skipped"
            f" in {seconds:.1f} s: {firmware_name(hello)}",
        )
        if unreadable:
            self._folded("", f"{unreadable} runs of bytes from the firmware were no frames: noise, or its own messages")

    def catalogue(self, checks: Iterable[Check]) -> None:
        """Print what each check is, for ``--list``."""
        for check in checks:
            self._folded(f"{check.id:<{_ID_WIDTH}} ", check.title)
            self._folded(" " * (_ID_WIDTH + 1), f"{check.clause}{conditions(check)}")

    def _folded(self, before: str, text: str, *, paint: tuple[str, str] = ("", "")) -> None:
        """Print a text behind ``before``, within 80 columns; nothing for an empty text."""
        if not text:
            return
        word, colour = paint
        painted = before.replace(word, self._paper.paint(word, colour)) if word else before
        for number, line in enumerate(fold(self._paper.fit(printable(text, _MAX_TEXT)), MAX_WIDTH - len(before))):
            self._print((" " * len(before) if number else painted) + line)

    def _print(self, line: str) -> None:
        self._paper.print(line.rstrip())


def conditions(check: Check) -> str:
    """Say in brackets when a check applies; nothing for one that always does."""
    words = [f"only with {', '.join(ability_names(check.needs))}"] if check.needs else []
    words += ["a person at the screen"] if check.person else []
    return f" ({'; '.join(words)})" if words else ""


def fold(text: str, width: int) -> list[str]:
    """Cut a text into lines of at most ``width`` columns: between words, within one where it is longer than a line."""
    lines = [""]
    for word in text.split(" "):
        if columns(lines[-1]) + columns(word) + 1 > width and lines[-1]:
            lines.append("")
        elif lines[-1]:
            lines[-1] += " "
        for char in word:
            if columns(lines[-1]) + columns(char) > width:
                lines.append("")
            lines[-1] += char
    return lines


def as_json(device: str, outcomes: Sequence[Outcome], hello: McuHello | None, unreadable: int) -> dict[str, Any]:
    """Return the whole run as one JSON document."""
    return {
        "device": printable(device, 200),
        "version": 1,
        "firmware": None
        if hello is None
        else {
            "serial": printable(hello.serial),
            "version": ".".join(str(part) for part in hello.firmware),
            "capabilities": ability_names(hello.capabilities),
        },
        **{verdict.value: sum(1 for outcome in outcomes if outcome.verdict is verdict) for verdict in Verdict},
        "unreadable": unreadable,
        "checks": [
            {
                "id": outcome.check.id,
                "title": outcome.check.title,
                "clause": outcome.check.clause,
                "verdict": outcome.verdict.value,
                "seconds": round(outcome.seconds, 3),
                "note": printable(outcome.note, _MAX_TEXT),
                **(
                    {
                        "expected": printable(outcome.expected, _MAX_TEXT),
                        "got": printable(outcome.got, _MAX_TEXT),
                        "hint": outcome.hint,
                        "trace": list(outcome.trace),
                    }
                    if outcome.verdict is Verdict.FAIL
                    else {}
                ),
            }
            for outcome in outcomes
        ],
    }

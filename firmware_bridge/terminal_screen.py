"""A small framed screen in a terminal, redrawn in place, with the cues that were shown scrolling away above it.

Needs 80 columns and 14 lines; who has less gets the lines of ``terminal_view``. Must never leave the cursor hidden.
"""

import os
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from firmware_bridge.cues import MAX_LEVEL, WITHOUT_INVITATION, CueName
from firmware_bridge.device import Display
from firmware_bridge.messages import AMOUNT_SEPARATOR
from firmware_bridge.paper import MAX_WIDTH, Paper, columns, cut, padded
from firmware_bridge.printable import printable
from firmware_bridge.terminal_pictures import COLUMNS, LOOKS, ROWS
from firmware_bridge.terminal_view import line_of

MIN_LINES = 14
_WIDTH = MAX_WIDTH - 2
_TEXT_WIDTH = _WIDTH - COLUMNS - 7
_MAX_TEXT = 64
_METER = 10
_STANDING = WITHOUT_INVITATION | {CueName.INVITE}
_HIDE, _UNHIDE = "\x1b[?25l", "\x1b[?25h"
_TO_LINE_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"


class TerminalScreen:
    """Draws what a display shows. ``show`` at each change, ``tick`` a few times a second, ``close`` at the end."""

    def __init__(
        self,
        out: TextIO,
        *,
        env: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._paper = Paper(out, env)
        self._true_colour = env.get("COLORTERM") in ("truecolor", "24bit")
        self._clock = clock
        self._size = size
        self._start = clock()
        self._shown: tuple[Display, float, float | None] | None = None
        self._drawn = 0
        """Lines of the frame that stand above the cursor."""
        self._hidden = False

    @property
    def in_place(self) -> bool:
        """Whether there is a terminal that is large enough for the frame."""
        width, lines = self._size or self._paper.size()
        return self._paper.on_terminal and width >= MAX_WIDTH and lines >= MIN_LINES

    def show(self, display: Display, until: float | None = None) -> None:
        """Show this from now on; ``until`` (of the clock) is when the display will fall back by itself."""
        now = self._clock()
        if self._shown and self._shown[0] == display and display.cue in _STANDING:
            self._shown = (display, self._shown[1], until)  # sent again by the host to keep it, nothing new
            self.tick()
            return
        self._shown = (display, now, until)
        self._write(line_of(self._paper, display, now - self._start))

    def tick(self) -> None:
        """Draw the frame again: time has passed."""
        if self._shown and self.in_place:
            self._write()

    def close(self) -> None:
        """Leave the frame as it is and give the cursor back. Idempotent."""
        if self._hidden:
            self._hidden = False
            self._paper.out.write(_UNHIDE)
            self._paper.out.flush()

    def _write(self, *above: str) -> None:
        frame = self._frame() if self.in_place else []
        end = _TO_LINE_END if self._drawn or frame else ""
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        clear = _TO_SCREEN_END if above and self._drawn else ""
        hide = _HIDE if frame and not self._hidden else ""
        self._hidden = self._hidden or bool(frame)
        self._drawn = len(frame)
        self._paper.out.write(hide + up + clear + "".join(f"{line}{end}\n" for line in (*above, *frame)))
        self._paper.out.flush()

    def _frame(self) -> list[str]:
        assert self._shown is not None  # noqa: S101 - who calls has looked
        display, since, until = self._shown
        now = self._clock()
        shade = self._shade(display)
        signs = self._sign(display, now - since)
        corners, across, beside = ("╭╮╰╯", "─", "│") if self._paper.unicode else ("++++", "-", "|")
        edge = self._paper.paint(beside, "2")
        rows = []
        for sign, (text, style) in zip(signs, self._texts(display), strict=True):
            said = self._paper.paint(padded(text, _TEXT_WIDTH), f"{style};{shade}" if style else shade)
            rows.append(f" {edge} {self._paper.paint(padded(sign, COLUMNS), shade)}   {said} {edge}")
        top = f"{corners[0]}{across * (_WIDTH - 2)}{corners[1]}"
        bottom = f"{corners[2]}{across * (_WIDTH - 2)}{corners[3]}"
        foot = self._foot(display, now - since, None if until is None else until - now)
        return [f" {self._paper.paint(top, '2')}", *rows, f" {self._paper.paint(bottom, '2')}", foot]

    def _sign(self, display: Display, age_s: float) -> tuple[str, ...]:
        look = LOOKS[display.cue]
        return look.moves[int(age_s * 4) % len(look.moves)] if self._paper.unicode else look.plain

    def _texts(self, display: Display) -> list[tuple[str, str]]:
        """Five lines beside the sign, each with its SGR code: words, amount, text; in the middle of the five."""
        words = LOOKS[display.cue].words
        amount, separator, text = display.text.partition(AMOUNT_SEPARATOR)
        if not separator:
            amount, text = "", display.text
        lines = [(words.zh, "1"), (words.en, "")] if self._paper.unicode else [(words.en, "1")]
        if amount:
            lines.append((self._paper.fit(printable(amount, _MAX_TEXT)), "1"))
        lines += [(line, "") for line in _wrapped(self._paper.fit(printable(text, _MAX_TEXT)))]
        lines = lines[:ROWS]
        before = (ROWS - len(lines)) // 2
        return [("", "")] * before + lines + [("", "")] * (ROWS - len(lines) - before)

    def _shade(self, display: Display) -> str:
        """Return the SGR code of a cue's colour at its brightness."""
        look = LOOKS[display.cue]
        if self._true_colour:
            bright = 0.25 + 0.75 * display.level / MAX_LEVEL
            return "38;2;" + ";".join(str(round(part * bright)) for part in look.colour)
        return look.sgr if display.level > MAX_LEVEL // 3 else f"2;{look.sgr}"

    def _foot(self, display: Display, age_s: float, left_s: float | None) -> str:
        lit = round(display.level / MAX_LEVEL * _METER)
        full, empty = ("▮", "▯") if self._paper.unicode else ("#", ".")
        meter = f"level {display.level:3} {full * lit}{empty * (_METER - lit)}"
        if display.static:
            ends = "its own picture, no host speaks"
        elif left_s is not None:
            ends = f"falls back in {max(left_s, 0.0):4.1f} s"
        else:
            ends = ""
        foot = f"  {display.cue:<9} {age_s:6.1f} s   {ends:<32}   {meter}"
        return self._paper.paint(foot, "2")


def _wrapped(text: str) -> list[str]:
    """Break a text at its words; a Chinese one, which has none, where the columns end."""
    if columns(text) == len(text):
        return textwrap.wrap(text, _TEXT_WIDTH)
    first = cut(text, _TEXT_WIDTH)
    return [first, *([rest] if (rest := text[len(first) :]) else [])]

"""Draws a cue as one line of a terminal or a log, 80 columns. Plain ASCII where there is no more."""

from firmware_bridge.cues import CueName
from firmware_bridge.device import Display
from firmware_bridge.messages import AMOUNT_SEPARATOR
from firmware_bridge.paper import Paper, cut
from firmware_bridge.printable import printable
from firmware_bridge.terminal_pictures import LOOKS

_TEXT_WIDTH = 37
_SIGN_WIDTH = 8
_SIGNS = {
    CueName.INVITE: ("(((•)))", "(((*)))"),
    CueName.READING: ("◜ ◠ ◝", ". o ."),
    CueName.THANKS: ("✔", "OK"),
    CueName.UNLOCK: ("▣", "[lock]"),
    CueName.RETRY: ("↻", "again"),
    CueName.RESTING: ("☾", "zzz"),
    CueName.FAULT: ("▲", "!"),
    CueName.IDENTIFY: ("◉", "@"),
    CueName.QUIET: ("·", "."),
}


def line_of(paper: Paper, display: Display, seconds: float) -> str:
    """Return the line of what a display shows from now on: time, sign, cue, text."""
    fancy, plain = _SIGNS[display.cue]
    look = LOOKS[display.cue]
    sign = paper.paint((fancy if paper.unicode else plain).center(_SIGN_WIDTH), f"1;{look.sgr}")
    amount, separator, rest = display.text.partition(AMOUNT_SEPARATOR)
    text = f"{amount} {rest}" if separator else display.text
    said = cut(paper.fit(printable(text, _TEXT_WIDTH)), _TEXT_WIDTH) or look.words.en
    note = " (by itself)" if display.static else ""
    return f"{seconds:8.2f}  {sign}  {display.cue:<9} {said}{note}"

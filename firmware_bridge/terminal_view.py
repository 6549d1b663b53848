"""Draws a cue in a terminal, 80 columns, for ``firmware-bridge simulate``. Plain ASCII where the terminal needs it."""

import os
import time
import unicodedata
from typing import TextIO

from firmware_bridge.cues import CueName
from firmware_bridge.device import Display
from firmware_bridge.messages import AMOUNT_SEPARATOR
from firmware_bridge.printable import printable

_TEXT_WIDTH = 37
# cue: sign, ASCII sign, SGR colour, what a person is told
_LOOKS = {
    CueName.INVITE: ("(((•)))", "(((*)))", "36", "tap here"),
    CueName.READING: ("◜ ◠ ◝", ". o .", "34", "hold still"),
    CueName.THANKS: ("✔", "OK", "32", "thank you"),
    CueName.UNLOCK: ("🔒︎", "[lock]", "33", "unlock your phone"),
    CueName.RETRY: ("↻", "again", "33", "tap once more"),
    CueName.RESTING: ("☾", "zzz", "35", "taking a break"),
    CueName.FAULT: ("▲", "!", "31", "invitation withdrawn"),
    CueName.IDENTIFY: ("◉", "@", "35", "this is the screen"),
    CueName.QUIET: ("·", ".", "2", "no invitation with this advert"),
}
_SIGN_WIDTH = 8


class Drawer:
    """One line for each cue as it comes: time, sign, cue, text."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._unicode = (out.encoding or "").lower().replace("-", "") == "utf8"
        # https://no-color.org: "when present and not an empty string"
        self._colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()

    def draw(self, display: Display) -> None:
        """Print what the screen shows from now on."""
        fancy, plain, colour, meaning = _LOOKS[display.cue]
        sign = (fancy if self._unicode else plain).center(_SIGN_WIDTH)
        if self._colour:
            sign = f"\x1b[1;{colour}m{sign}\x1b[0m"
        amount, separator, rest = display.text.partition(AMOUNT_SEPARATOR)
        text = f"{amount} {rest}" if separator else display.text
        said = _fit(printable(text, _TEXT_WIDTH)) or meaning
        if not self._unicode:
            said = said.encode("ascii", errors="replace").decode("ascii")
        note = " (by itself)" if display.static else ""
        seconds = time.monotonic() - self._start
        print(f"{seconds:8.2f}  {sign}  {display.cue:<9} {said}{note}", file=self._out, flush=True)


def _fit(text: str) -> str:
    """Cut a text at the columns that it may take: a Chinese character takes two."""
    columns = 0
    for at, char in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns > _TEXT_WIDTH:
            return text[:at]
    return text

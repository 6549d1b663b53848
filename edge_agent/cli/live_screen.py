"""Redraws a few lines of a terminal in place, and only what has changed: a serial console has 960 bytes a second.

Pure: takes lines, returns what is to be written. Uses nothing but what every terminal since the VT100 knows.
"""

import unicodedata
from itertools import groupby

Segment = tuple[str, str]
"""A text and the colour of render.Paper that it has; "" for none."""
_Cell = tuple[str, str]

_CODES = {"good": "32", "warn": "33", "bad": "31", "bold": "1", "dim": "2"}
_GAP = 6
"""Characters that stayed the same between two changes: moving the cursor costs about as much as writing them."""
HIDE = "\x1b[?25l"
LEAVE = "\x1b[0m\r\x1b[K\x1b[?25h"
"""Wherever it was cut off: plain ink, the ^C of Ctrl-C gone, and the cursor back."""


class LiveScreen:
    """``height`` lines; the cursor rests in the first column of the line below them."""

    def __init__(self, height: int, *, colour: bool) -> None:
        self._height = height
        self._colour = colour
        self._shown: list[list[_Cell]] | None = None
        self._width = 0

    def frame(self, lines: list[list[Segment]], width: int) -> str:
        """What to write so that these lines are shown, each cut at ``width`` columns; "" where nothing has changed."""
        cells = [_cells(line, width, colour=self._colour) for line in (lines + [[]] * self._height)[: self._height]]
        before, self._shown = self._shown, cells
        out: list[str] = []
        if before is None:
            out = ["\r", *("".join(_painted(row)) + "\x1b[K\r\n" for row in cells)]
        elif width != self._width:
            out = [f"\r\x1b[{self._height}A", *("".join(_painted(row)) + "\x1b[K\r\n" for row in cells)]
        else:
            for up, (old, new) in zip(range(self._height, 0, -1), zip(before, cells, strict=True), strict=True):
                if old != new:
                    out.append(f"\x1b[{up}A{_changed(old, new)}\x1b[{up}B\r")
        self._width = width
        return "".join(out)


def _cells(line: list[Segment], width: int, *, colour: bool) -> list[_Cell]:
    cells = [(_narrow(char), kind if colour else "") for text, kind in line for char in text]
    return cells[:width]


def _narrow(char: str) -> str:
    """What takes two columns, or none, would put everything behind it out of its place."""
    odd = unicodedata.east_asian_width(char) in "WF" or unicodedata.combining(char) or not char.isprintable()
    return "?" if odd else char


def _painted(cells: list[_Cell]) -> list[str]:
    out = []
    for kind, run in groupby(cells, key=lambda cell: cell[1]):
        text = "".join(char for char, _ in run)
        out.append(f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if kind else text)
    return out


def _changed(old: list[_Cell], new: list[_Cell]) -> str:
    """From the first column of the line: what turns ``old`` into ``new``."""
    out, column = [], 0
    for start, end in _runs(old, new):
        if start > column:
            out.append(f"\x1b[{start - column}C")
        out += _painted(new[start:end])
        column = end
    if len(new) < len(old):
        if len(new) > column:
            out.append(f"\x1b[{len(new) - column}C")
        out.append("\x1b[K")
    return "".join(out)


def _runs(old: list[_Cell], new: list[_Cell]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for at, cell in enumerate(new):
        if at < len(old) and old[at] == cell:
            continue
        if runs and at - runs[-1][1] <= _GAP:
            runs[-1] = (runs[-1][0], at + 1)
        else:
            runs.append((at, at + 1))
    return runs

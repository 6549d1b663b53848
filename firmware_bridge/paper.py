"""What a terminal or a file can show: colours, Unicode, width. Must never raise because of a character."""

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TextIO

MAX_WIDTH = 80
_LABEL_WIDTH = 13
# What the commands write beyond ASCII, and what stands for it on a serial console.
_FALLBACK = str.maketrans({"·": "-", "…": "...", "→": "->", "°": "deg ", "¥": "CNY ", "é": "e"})


class Paper:
    """One output stream and what can be written on it."""

    def __init__(self, out: TextIO, env: Mapping[str, str] = os.environ) -> None:
        self.out = out
        self.on_terminal = out.isatty() and env.get("TERM") != "dumb"
        # https://no-color.org: "when present and not an empty string"
        self.colour = self.on_terminal and not env.get("NO_COLOR")
        # In the C locale Python writes UTF-8 all the same (PEP 540); its user said that the terminal has ASCII only.
        locale = next((env[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if env.get(name)), "")
        encoding = (out.encoding or "").lower().replace("-", "")
        self.unicode = encoding == "utf8" and locale not in ("C", "POSIX")

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal at this moment; 80 and 24 where it does not say."""
        return shutil.get_terminal_size((MAX_WIDTH, 24)) if self.on_terminal else (MAX_WIDTH, 24)

    def paint(self, text: str, codes: str) -> str:
        """Wrap a text in SGR codes ("1;36") where the terminal shows colours."""
        return f"\x1b[{codes}m{text}\x1b[0m" if self.colour and codes and text else text

    def fit(self, text: str) -> str:
        """Return the text as this stream can show it."""
        if self.unicode:
            return text
        return text.translate(_FALLBACK).encode("ascii", errors="replace").decode("ascii")

    def print(self, text: str = "") -> None:
        """Write one line, or several, at once."""
        print(self.fit(text), file=self.out, flush=True)

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Write labels and texts in two columns within 80; a long text goes on in its column."""
        for label, text in rows:
            lines = textwrap.wrap(self.fit(text), MAX_WIDTH - _LABEL_WIDTH - 2, break_on_hyphens=False) or [""]
            for number, line in enumerate(lines):
                self.print(f"  {'' if number else label:<{_LABEL_WIDTH}}{line}")


def columns(text: str) -> int:
    """Return how many columns a text takes: a Chinese character takes two."""
    return sum(_width(char) for char in text)


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that fits these columns."""
    taken = 0
    for at, char in enumerate(text):
        taken += _width(char)
        if taken > width:
            return text[:at]
    return text


def padded(text: str, width: int) -> str:
    """Return a text cut or filled with spaces to exactly these columns."""
    fitting = cut(text, width)
    return fitting + " " * (width - columns(fitting))


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1

"""Plain text for people: 80 columns, a word beside every colour, ASCII where the terminal has no more."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import TextIO

MAX_WIDTH = 80
_CODES = {"good": "32", "warn": "33", "bad": "31", "bold": "1", "dim": "2"}
# What the commands write beyond ASCII, and what stands for it on a serial console.
_FALLBACK = str.maketrans({"·": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "µ": "u", "°": " deg "})


class Paper:
    """One output stream with what it can show."""

    def __init__(self, stream: TextIO, env: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self.on_terminal = stream.isatty() and env.get("TERM", "") not in {"", "dumb"}
        """Whether it understands more than lines of text: nobody knows what a terminal without a name does."""
        self.colour = self.on_terminal and not env.get("NO_COLOR")
        self.ascii = "utf" not in (stream.encoding or "").lower() or (stream.isatty() and _has_ascii_only(env))
        self.width = (
            min(MAX_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns) if self.on_terminal else MAX_WIDTH
        )
        self.width = max(self.width, 40)

    def paint(self, text: str, kind: str) -> str:
        """Colour ``text`` good, warn, bad, bold or dim where the stream shows colours."""
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self.colour else text

    def print(self, text: str = "") -> None:
        """Write one line as the stream can show it."""
        self._stream.write(self.plain(text) + "\n")

    def plain(self, text: str) -> str:
        """Return ``text`` as the stream can show it."""
        return text.translate(_FALLBACK).encode("ascii", "replace").decode("ascii") if self.ascii else text

    def wrapped(self, text: str, indent: str = "", kind: str | None = None) -> None:
        """Write a paragraph; further lines are indented as the first one.

        ``edge-agent`` is one word, and a path stays whole, so that both can be copied.
        """
        shape = textwrap.TextWrapper(self.width, indent, indent, break_on_hyphens=False, break_long_words=False)
        for line in shape.wrap(text) or [""]:
            self.print(self.paint(line, kind) if kind else line)

    def fields(self, rows: Iterable[tuple[str, str]], indent: str = "  ") -> None:
        """Write label and text in two columns; long texts go on in their column."""
        rows = list(rows)
        column = max((len(label) for label, _ in rows), default=0) + 2
        for label, text in rows:
            hang = indent + " " * column
            lines = textwrap.wrap(text, max(self.width - len(hang), 20), break_on_hyphens=False) or [""]
            self.print(f"{indent}{label:<{column}}{lines[0]}".rstrip())
            for line in lines[1:]:
                self.print(hang + line)


def _has_ascii_only(env: Mapping[str, str]) -> bool:
    """Whether who sits there said so, by the C locale, or sits at a serial console that nobody told a locale.

    In the C locale Python writes UTF-8 all the same, and puts LC_CTYPE=C.UTF-8 into its own environment (PEP 538, 540).
    """
    said = [env[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if env.get(name)]
    if not env.get("LC_ALL") and env.get("LC_CTYPE") == "C.UTF-8":
        said.remove("C.UTF-8")
    return said[0] in {"C", "POSIX"} if said else env.get("TERM", "").startswith("vt")


def ago(seconds: float) -> str:
    """Write a duration the way people say it: ``45 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{days} d {hours % 24} h"


def counted(number: int, what: str) -> str:
    """Write a number with what is counted, in the right number."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")

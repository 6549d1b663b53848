"""A terminal of which a test reads what stands on it: cursor up, erasing, colours; anything else is an error."""

import io
import re
import unicodedata


class TinyTerminal(io.StringIO):
    """Lines as they stand, the newest last; nothing scrolls away."""

    encoding = "utf-8"

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self.encoding = encoding
        self.lines = [""]
        self.row = 0
        self.cursor = True
        self.orders: set[str] = set()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|[^\x1b\n]+|.", text):
            self._take(part)
        return super().write(text)

    def _take(self, part: str) -> None:
        if part == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
            self._column = 0
        elif part.startswith("\x1b"):
            self._obey(part)
        else:
            assert all(char.isprintable() or unicodedata.category(char) == "Zs" for char in part), repr(part)
            self.lines[self.row] = (self.lines[self.row] if self._column else "") + part
            self._column = 1

    _column = 0

    def _obey(self, order: str) -> None:
        kind = order[-1]
        self.orders.add(kind)
        if kind == "F":
            self.row -= int(order[2:-1])
            self._column = 0
            assert self.row >= 0
        elif kind == "J":
            del self.lines[self.row + 1 :]
            self.lines[self.row] = ""
        elif order in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = kind == "h"
        else:
            assert kind in "Km", repr(order)

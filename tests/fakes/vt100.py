"""A terminal, as far as the live view uses one: printable text, CR, LF, cursor moves, erase to the end of the line.

Anything else is refused: a console may not know it.
"""

import re

_TOKEN = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Vt100:
    """What the screen shows, with the colour of each place; the cursor starts at the top left."""

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.rows: dict[int, dict[int, tuple[str, str]]] = {}
        self.row = self.column = 0
        self.colour = ""
        self.cursor_shown = True

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            assert found, f"not for every terminal: {text[at : at + 12]!r}"
            at = found.end()
            private, numbers, letter, cr, lf, written = found.groups()
            if cr:
                self.column = 0
            elif lf:
                self.row += 1
            elif written:
                self._write(written)
            else:
                self._control(private, numbers, letter)

    def _write(self, text: str) -> None:
        for char in text:
            assert char.isprintable()
            assert self.column < self.columns, "it would wrap"
            self.rows.setdefault(self.row, {})[self.column] = (char, self.colour)
            self.column += 1

    def _control(self, private: str, numbers: str, letter: str) -> None:
        if private:
            assert numbers == "25"
            self.cursor_shown = letter == "h"
            return
        count = int(numbers or 1) if letter != "m" else 0
        match letter:
            case "A":
                self.row -= count
            case "B":
                self.row += count
            case "C":
                self.column += count
            case "K":
                row = self.rows.setdefault(self.row, {})
                self.rows[self.row] = {column: cell for column, cell in row.items() if column < self.column}
            case "m":
                self.colour = "" if numbers in {"", "0"} else numbers
            case _:
                raise AssertionError(f"not for every terminal: CSI {letter}")
        assert self.row >= 0

    def line(self, row: int) -> str:
        """The text of one line."""
        cells = self.rows.get(row, {})
        return "".join(cells.get(column, (" ", ""))[0] for column in range(max(cells, default=-1) + 1))

    def lines(self) -> list[str]:
        """All lines above the cursor's."""
        return [self.line(row) for row in range(self.row)]

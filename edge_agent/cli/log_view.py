"""How a line of the log looks on a terminal: time, level in words, event, fields; the same told again is counted."""

import json
import sys
import textwrap
from datetime import datetime, tzinfo

from edge_agent.cli.render import Paper, ago, counted
from edge_agent.diag.log_lines import Group, LogLine
from edge_agent.sanitize import printable

_KINDS = {"debug": "dim", "warning": "warn", "error": "bad", "critical": "bad"}
_MAX_VALUE = 300
_LEVEL_WIDTH = 8
_TIME_WIDTH = 8


class LogView:
    """Prints lines one below the other; a new day is said once, with the zone of all times."""

    def __init__(self, paper: Paper, zone: tzinfo | None = None, *, wrap: bool | None = None) -> None:
        """``zone`` None: this machine's. ``wrap``: on a terminal; a pipe gets one line for each event."""
        self._paper = paper
        self._zone = zone
        self._wrap = sys.stdout.isatty() if wrap is None else wrap
        self._day = ""

    def group(self, group: Group) -> None:
        """Print what was told once or many times in a row."""
        self.line(group.first, f"x {group.count} in {ago(group.lasted_s)}" if group.count > 1 else "")

    def again(self, group: Group) -> None:
        """Say, below its first line, how often the same came again."""
        if group.count > 1:
            text = f"the same {counted(group.count - 1, 'time')} more in {ago(group.lasted_s)}"
            self._paper.print(self._paper.paint(f"{'':{_TIME_WIDTH}} {text}", "dim"))

    def line(self, line: LogLine, told: str = "") -> None:
        """Print one line; ``told`` stands at its end."""
        time = self._time(line)
        level = f"{line.level or '-':<{_LEVEL_WIDTH}}"
        words = [
            printable(line.event, _MAX_VALUE),
            *(f"{printable(name)}={_value(item)}" for name, item in line.fields),
        ]
        if line.trace:
            words.append(f"exception={_value(line.trace)}")
        if told:
            words.append(f"({told})")
        source = f"{printable(line.source, 24)}: " if line.source else ""
        text = source + " ".join(words)
        lead = f"{time:<{_TIME_WIDTH}} {level} "
        rows = [text]
        if self._wrap:
            room = max(self._paper.width - len(lead), 20)
            rows = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
        shown = self._paper.paint(level, _KINDS[line.level]) if line.level in _KINDS else level
        self._paper.print(f"{time:<{_TIME_WIDTH}} {shown} {rows[0]}".rstrip())
        for row in rows[1:]:
            self._paper.print(" " * len(lead) + row)

    def _time(self, line: LogLine) -> str:
        if line.at is None:
            return ""
        try:
            at = datetime.fromtimestamp(line.at, self._zone).astimezone(self._zone)
        except (ValueError, OverflowError, OSError):
            return "?"
        if (day := f"{at:%Y-%m-%d} ({at:%Z})") != self._day:
            self._day = day
            self._paper.print(self._paper.paint(day, "bold"))
        return f"{at:%H:%M:%S}"


def _value(value: object) -> str:
    """A word as it is, anything else as JSON: what it is stays clear."""
    if isinstance(value, str) and value and not set(value) & set(' "=\\') and value.isprintable():
        return printable(value, _MAX_VALUE)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if text.isprintable() and len(text) <= _MAX_VALUE else printable(text, _MAX_VALUE)

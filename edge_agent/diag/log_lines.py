"""The agent's log read back: journal entries, its own JSON lines or any text become lines for people. Pure.

Whatever stands in a log, reading it never fails: what is not understood is a line of text.
"""

import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

LEVELS = ("debug", "info", "warning", "error", "critical")
_OF_PRIORITY = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")  # syslog(3)
_ITS_OWN = frozenset({"event", "level", "timestamp", "exception"})
MAX_LINE = 65_536
_EMPTY = f"{string.whitespace}\0"
_LAST_SECOND = 253_402_214_400  # of the year 9999 but for a day, whatever the zone
_SPANS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event. ``at`` in unix seconds where the line tells it; ``level`` one of LEVELS, or empty.

    ``source`` is empty for the agent, else who logged: systemd, the kernel. ``trace``: the last line of a traceback.
    """

    event: str
    level: str = ""
    at: float | None = None
    fields: tuple[tuple[str, object], ...] = ()
    source: str = ""
    trace: str = ""

    @property
    def kind(self) -> object:
        """What two lines have in common that tell the same: numbers count, all else tells them apart."""
        told = tuple((name, str(value)) for name, value in self.fields if not _is_number(value))
        return self.level, self.event, self.source, told, tuple(name for name, _ in self.fields)

    def as_json(self) -> dict[str, object]:
        """One object; ``at`` is null where the line has no time."""
        told: dict[str, object] = {"at": self.at, "level": self.level, "event": self.event}
        told |= {"source": self.source or "edge-agent", "fields": dict(self.fields)}
        return told | ({"exception": self.trace} if self.trace else {})


def is_empty(text: str) -> bool:
    """Whether `read_line` finds nothing in it."""
    return not text.strip(_EMPTY)


def read_line(text: str) -> LogLine | None:
    """Read one line of a log; None for an empty one. A power cut leaves NULs in a file, which say nothing."""
    text = text.strip(_EMPTY)[:MAX_LINE]
    if not text:
        return None
    found = _object(text)
    if found is None:
        # What syslog or `journalctl -o short` put before it: "Nov 23 06:14:02 host edge-agent[77]: {...}".
        prefix = re.match(r"(?:<[0-7]>|[^{]{0,200}: )(?=\{)", text)
        found = _object(text[prefix.end() :]) if prefix else None
    if found is None:
        return LogLine(text)
    if "__REALTIME_TIMESTAMP" in found or "MESSAGE" in found:
        return _of_journal(found)
    return _of_agent(found) if "event" in found else LogLine(text)


def _of_journal(entry: Mapping[str, object]) -> LogLine:
    """An entry of `journalctl -o json`: systemd.journal-fields(7); text that is no UTF-8 is a list of bytes there."""
    message = entry.get("MESSAGE")
    if isinstance(message, list):
        message = bytes(byte for byte in message if isinstance(byte, int) and 0 <= byte < 256).decode(
            "utf-8", "replace"
        )
    at = _number(entry.get("__REALTIME_TIMESTAMP"))
    place = _number(entry.get("PRIORITY"))
    level = _OF_PRIORITY[int(place)] if place is not None and 0 <= place < 8 else ""
    source = str(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "")
    source = "" if source == "edge-agent" else source
    text = message if isinstance(message, str) else ""
    told = _object(text)
    if told is None or "event" not in told:
        line = LogLine(text.strip() or "(a message without text)", level, source=source)
    else:
        line = _of_agent(told)
        line = replace(line, level=line.level or level)
    return line if at is None or at / 1e6 > _LAST_SECOND else replace(line, at=at / 1e6)


def agents_record(entry: str) -> dict[str, object]:
    """Return an entry of `journalctl -o json` as the agent itself writes one: event, level, timestamp, fields.

    A record of the agent stays whole, its traceback, too; what others say gets its ``source``. Reading it back with
    `read_line` tells the same.
    """
    line = read_line(entry) or LogLine("")
    outer = _object(entry.strip()) or {}
    message = outer.get("MESSAGE")
    inner = _object(message) if isinstance(message, str) else None
    when = {} if line.at is None else {"timestamp": datetime.fromtimestamp(line.at, UTC).isoformat()}
    if inner is not None and "event" in inner:
        return {**inner, **when}
    return {"event": line.event, "level": line.level, **({"source": line.source} if line.source else {}), **when}


def _of_agent(told: Mapping[str, object]) -> LogLine:
    level = told.get("level")
    trace = str(told.get("exception") or "").strip().splitlines()
    return LogLine(
        event=str(told["event"]),
        level=level if isinstance(level, str) and level in LEVELS else "",
        at=_unix(told.get("timestamp")),
        fields=tuple((name, value) for name, value in told.items() if name not in _ITS_OWN),
        trace=trace[-1] if trace else "",
    )


def is_at_least(line: LogLine, level: str) -> bool:
    """Whether a line is as grave as ``level``; one that does not tell its level always is."""
    return not line.level or LEVELS.index(line.level) >= LEVELS.index(level)


@dataclass(frozen=True, slots=True)
class Group:
    """The same thing told ``count`` times in a row: its first line, and when the last one came."""

    first: LogLine
    count: int = 1
    last_at: float | None = None

    @property
    def lasted_s(self) -> float:
        """Seconds from the first to the last; 0 where the lines tell no time."""
        return max(0.0, (self.last_at or 0.0) - self.first.at) if self.first.at is not None else 0.0


class Folding:
    """Takes lines one by one and gives back each group when it is over."""

    def __init__(self) -> None:
        self.open: Group | None = None

    def add(self, line: LogLine) -> Group | None:
        """Take one line; returns the group that it ended."""
        before = self.open
        if before is not None and before.first.kind == line.kind:
            self.open = Group(before.first, before.count + 1, line.at if line.at is not None else before.last_at)
            return None
        self.open = Group(line, last_at=line.at)
        return before

    def end(self) -> Group | None:
        """Return the last group; none is open after that."""
        before, self.open = self.open, None
        return before


def moment(text: str, now: datetime) -> float:
    """Return in unix seconds what a person means by ``text`` at ``now`` (with its time zone).

    ``90s``, ``30min``, ``2h``, ``1d``: so long ago; ``14:05``: today, or yesterday if that is still to come;
    ``today``, ``yesterday``; a date or date and time of ISO 8601. Raises ValueError for anything else.
    """
    word = text.strip().lower()
    if span := re.fullmatch(r"([0-9]{1,6}) ?(s|m|min|h|d)", word, re.ASCII):
        return now.timestamp() - int(span[1]) * _SPANS[span[2]]
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if word in {"today", "yesterday"}:
        return (midnight - timedelta(days=int(word == "yesterday"))).timestamp()
    try:
        if clock := re.fullmatch(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", word, re.ASCII):
            at = midnight.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0))
            return (at if at <= now else at - timedelta(days=1)).timestamp()
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("expected 90s, 30min, 2h, 1d, 14:05, today, yesterday or 2026-11-23 14:05") from None


def _object(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    text = str(value)
    return float(text) if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) else None


def _unix(value: object) -> float | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return at.timestamp() if at is not None and at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None

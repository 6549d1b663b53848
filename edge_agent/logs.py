"""Structured logs to standard error: JSON under journald and in pipes, coloured text on a terminal.

Nothing secret may pass: bytes, raw UIDs, tickets, secrets, unknown objects, and what is named like a secret are
replaced here, as the last gate, whatever the caller did. Text from outside loses its control characters.
"""

import contextlib
import enum
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from edge_agent.readers.base import RawUid
from edge_agent.redaction import REDACTED, TICKET, names_a_secret
from edge_agent.sanitize import printable

_MAX_TEXT = 500
_MAX_ITEMS = 32
_MAX_DEPTH = 4

_LEVEL_PRIORITY = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # sd-daemon(3)


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 -- the word of the configuration file
    *,
    stream: TextIO | None = None,
    env: Mapping[str, str] = os.environ,
) -> None:
    """Set up structlog and the standard library's logging once, at start. ``level`` and ``format`` as in [logging]."""
    out = sys.stderr if stream is None else stream
    on_terminal = out.isatty() and env.get("TERM") != "dumb"
    as_console = format == "console" or (format == "auto" and on_terminal)
    render: list[Processor]
    if as_console:
        plain = structlog.dev.plain_traceback  # the default would import rich and print the values of variables
        colors = on_terminal and not env.get("NO_COLOR")
        render = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    else:
        render = [
            structlog.processors.format_exc_info,
            _redact_trace,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if _is_journal(out, env):
            render.append(cast("Processor", _with_priority))  # comes after the renderer: takes its text
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_console else "iso", utc=not as_console),
            redact,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Steadfast(out))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryLogs)]:
        root.removeHandler(handler)
    root.addHandler(_LibraryLogs())
    root.setLevel(logging.WARNING)
    # nfcpy logs whole frames, UIDs among them.
    logging.getLogger("nfc").setLevel(logging.CRITICAL + 1)
    logging.captureWarnings(capture=True)


class _Steadfast:
    """A stream that never fails its writer: a full disk or a reader that went away costs log lines, never a tap.

    The first line that can be written again is followed by one that says how many were lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> None:
        """Write, or count the text as lost."""
        try:
            self._stream.write(text)
            self._stream.flush()
            if self._lost:
                lost, self._lost = self._lost, 0
                self._stream.write(json.dumps({"event": "log_lines_lost", "count": lost, "level": "warning"}) + "\n")
        except (OSError, ValueError):  # ValueError: the file is closed
            self._lost += 1

    def flush(self) -> None:
        """Flush, or leave it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _LibraryLogs(logging.Handler):
    """Warnings of libraries in our own form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        level = "warning" if record.levelno < logging.ERROR else "error"
        log = structlog.get_logger()
        getattr(log, level)("library", source=record.name, text=record.getMessage(), exc_info=record.exc_info or None)


def _is_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether ``stream`` is connected to the journal: systemd.exec(5), $JOURNAL_STREAM is its device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return env.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _with_priority(_logger: WrappedLogger, method: str, line: str) -> str:
    return f"<{_LEVEL_PRIORITY.get(method, 6)}>{line}"


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be logged; the last processor before the text is made."""
    for name, value in event.items():
        if name not in {"exc_info", "level", "timestamp"}:
            event[name] = _clean(name, value, 0)
    return event


def _redact_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if isinstance(trace := event.get("exception"), str):
        event["exception"] = TICKET.sub(REDACTED, trace)
    return event


def _clean(name: str, value: object, depth: int) -> object:
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, RawUid) or hasattr(value, "get_secret_value") or names_a_secret(name):
        return REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if isinstance(value, str | PurePath | BaseException):
        text = TICKET.sub(REDACTED, str(value))
        return text if text.isprintable() and len(text) <= _MAX_TEXT else printable(text, _MAX_TEXT)
    return _clean_container(name, value, depth)


def _clean_container(name: str, value: object, depth: int) -> object:
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            items = list(value.items())[:_MAX_ITEMS]
            return {printable(str(key)): _clean(str(key), item, depth + 1) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [_clean(name, item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
    return f"<{type(value).__name__}>"  # its repr might hold anything


class _Log(Protocol):
    """The part of a structlog logger that Repeats needs."""

    def warning(self, event: str, **fields: object) -> object: ...

    def debug(self, event: str, **fields: object) -> object: ...

    def info(self, event: str, **fields: object) -> object: ...


class Repeats:
    """One kind of failure that may go on for hours: WARNING first, DEBUG with a count after, INFO when it is over."""

    def __init__(self, log: _Log, failed: str, recovered: str) -> None:
        self._log = log
        self._failed = failed
        self._recovered = recovered
        self._reason: str | None = None
        self.count = 0

    def failed(self, reason: str, **fields: object) -> None:
        """Log one failure; another ``reason`` than the last one is news, and a WARNING again."""
        self.count += 1
        if reason != self._reason:
            self._reason = reason
            self._log.warning(self._failed, reason=reason, count=self.count, **fields)
        else:
            self._log.debug(self._failed, reason=reason, count=self.count, **fields)

    def recovered(self, **fields: object) -> None:
        """Log the end of a failure; says nothing if there was none."""
        if self.count:
            self._log.info(self._recovered, failures=self.count, **fields)
        self.count = 0
        self._reason = None

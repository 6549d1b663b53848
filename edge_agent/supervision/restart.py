"""Why the agent ends itself: kept on disk before it does, told once by its successor, and not done too often.

The file is small, written atomically, and worth nothing to the taps: if it cannot be written or read, that is logged
and the agent goes on. Its times are uptimes of one boot, so that no step of the wall clock makes a limit lie.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from edge_agent.clock import Clock
from edge_agent.durable import sync_directory
from edge_agent.sanitize import printable
from edge_agent.small_file import read_small

log = structlog.get_logger(__name__)

FILE_NAME = "restart.json"
LIMIT_PER_HOUR = 3
"""More restarts heal nothing: a terminal that serves without one of its parts is better than one that only starts."""
_HOUR_S = 3600
_MAX_BYTES = 4096
_MAX_TEXT = 200  # of `restart` in the retained state
_MAX_CODE = 32
_MAX_LATE = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the agent restarted itself; ``late`` are the parts without a sign of life, ``count`` the restarts lately.

    The texts may come from a file that somebody wrote: only ``line`` is safe for a terminal.
    """

    code: str
    text: str
    late: tuple[str, ...] = ()
    uptime_s: int = 0
    count: int = 1

    @property
    def line(self) -> str:
        """One line of at most 200 characters, for the retained state and for people."""
        times = f" (restart {self.count} within an hour)" if self.count > 1 else ""
        return printable(f"{self.code}: {self.text}", _MAX_TEXT - len(times)) + times


@dataclass(frozen=True, slots=True)
class _Kept:
    reason: Reason | None = None
    boot: str = ""
    recent: tuple[int, ...] = field(default=())
    """Uptimes, in seconds, at which the agent restarted itself in this boot."""


class RestartFile:
    """``restart.json``; ``before`` is why the process before ended itself, None if it did not. No method raises.

    ``save`` may be called from any thread, even when the event loop is dead.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._started = clock.monotonic()
        kept = self._read()
        self.before = kept.reason
        self._told = kept.reason is None
        self._announced = False
        self._counted = True
        self._recent = kept.recent if kept.boot == clock.read().boot.hex() else ()
        if kept.reason is not None:
            log.warning("restarted_itself", code=kept.reason.code, text=kept.reason.text, late=list(kept.reason.late))

    @property
    def news(self) -> str:
        """What the cloud has not been told yet; empty if there is nothing to tell."""
        return "" if self.before is None or self._told else self.before.line

    def allows(self) -> bool:
        """Whether one more restart within this hour may heal something.

        Where none can be counted, because the file cannot be written, the age of this process stands for the count.
        """
        old_enough = self._clock.monotonic() - self._started >= _HOUR_S / LIMIT_PER_HOUR
        return len(self._lately()) < LIMIT_PER_HOUR and (self._counted or old_enough)

    def save(self, code: str, text: str, late: Sequence[str] = ()) -> Reason:
        """Keep the reason of the restart that comes now."""
        recent = (*self._lately(), self._clock.read().up)
        reason = Reason(
            code=code,
            text=text[:_MAX_TEXT],
            late=tuple(late[:_MAX_LATE]),
            uptime_s=round(self._clock.monotonic() - self._started),
            count=len(recent),
        )
        self._announced = True
        self._counted = self._write(reason, recent)
        return reason

    def withdraw(self) -> None:
        """The restart that ``save`` announced does not come: all is well again."""
        self._announced = False
        self._write(None if self._told else self.before, self._lately())

    def forget(self) -> None:
        """The cloud has been told why; how often it happened is kept for as long as it counts."""
        if not self._told:
            self._told = True
            if not self._announced:  # else the file is the next one's by now
                self._write(None, self._lately())

    def _lately(self) -> tuple[int, ...]:
        up = self._clock.read().up
        return tuple(at for at in self._recent if 0 <= up - at < _HOUR_S)

    def _read(self) -> _Kept:
        try:
            data, _ = read_small(self._path, _MAX_BYTES)
            return _parse(data)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("restart_reason_unreadable", path=str(self._path), error=str(error))
        return _Kept()

    def _write(self, reason: Reason | None, recent: tuple[int, ...]) -> bool:
        try:
            if reason is None and not recent:
                self._path.unlink(missing_ok=True)
                return True
            value: dict[str, Any] = {"boot": self._clock.read().boot.hex(), "recent": list(recent)}
            if reason is not None:
                value |= {
                    "code": reason.code,
                    "text": reason.text,
                    "late": list(reason.late),
                    "uptime_s": reason.uptime_s,
                    "count": reason.count,
                }
            _replace(self._path, json.dumps(value).encode())
        except OSError as error:
            log.warning("restart_reason_not_kept", path=str(self._path), error=str(error))
            return False
        return True


def _parse(data: bytes) -> _Kept:
    """Raises ValueError for what this program has not written."""
    if len(data) > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES} bytes")
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the file is wrong, not the program
    boot, recent = value.get("boot"), value.get("recent")
    if not isinstance(boot, str) or not isinstance(recent, list) or not all(type(at) is int for at in recent):
        raise ValueError("no boot and recent restarts")
    return _Kept(_reason(value) if "code" in value else None, boot, tuple(recent[-LIMIT_PER_HOUR:]))


def _reason(value: dict[str, Any]) -> Reason:
    late, uptime_s, count = value.get("late"), value.get("uptime_s"), value.get("count")
    if not isinstance(late, list) or type(uptime_s) is not int or type(count) is not int:
        raise ValueError("an incomplete reason")
    return Reason(
        code=str(value["code"])[:_MAX_CODE],
        text=str(value.get("text", ""))[:_MAX_TEXT],
        late=tuple(str(name)[:_MAX_CODE] for name in late[:_MAX_LATE]),
        uptime_s=uptime_s,
        count=min(max(count, 1), 99),
    )


def _replace(path: Path, content: bytes) -> None:
    """Atomically: a reader sees the old file or the new one, after a power cut, too."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    sync_directory(path.parent)

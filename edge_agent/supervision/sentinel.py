"""A thread that sees the event loop stop: it keeps the reason with the loop's stack and ends the process.

A blocked loop can neither answer nor stop in order; what was committed is on disk. The thread must never wait for
anything without a bound, and says nothing but function names and lines: values on a stack may be secrets.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from edge_agent.errors import ExitCode

log = structlog.get_logger(__name__)

BEAT_EVERY_S = 1.0
BLOCKED_S = 8.0
"""A loop that is this late does not serve phones any more; a slow machine under load is late by a second or two."""
_LAST_WORDS_S = 2.0
LEAVE_WITHIN_S = 10.0
"""An orderly end takes 5 s at most; a thread that hangs may keep it for ever."""
_STACK_DEPTH = 6


@dataclass(slots=True)
class Stillness:
    """How long the loop stood still, as seen by somebody who looks now and then. Times are CLOCK_MONOTONIC seconds.

    A look that comes late itself (SIGSTOP, a suspended machine) counts for no more than one that was on time: while
    both slept nothing can be told.
    """

    beat: int = -1
    looked_at: float = 0.0
    silent_s: float = 0.0

    def look(self, beat: int, now: float) -> float:
        """Return the seconds without a beat."""
        since = 0.0 if self.beat < 0 else min(max(now - self.looked_at, 0.0), 2 * BEAT_EVERY_S)
        self.silent_s = self.silent_s + since if beat == self.beat else 0.0
        self.beat, self.looked_at = beat, now
        return self.silent_s


class Sentinel:
    """Watches the loop where ``watch`` runs. ``save`` keeps code and text of the reason, ``end`` ends the process."""

    def __init__(
        self,
        save: Callable[[str, str], object],
        *,
        blocked_s: float = BLOCKED_S,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._save = save
        self._blocked_s = blocked_s
        self._end = end
        self._beat = 0
        self._over = threading.Event()
        self._loop_thread = 0

    async def watch(self) -> None:
        """Beat, and have the beat watched, until cancelled."""
        self._loop_thread = threading.get_ident()
        self._over = threading.Event()
        threading.Thread(target=self._guard, args=(self._over,), name="loop-sentinel", daemon=True).start()
        try:
            while True:
                self._beat += 1
                await asyncio.sleep(BEAT_EVERY_S / 2)
        finally:
            self._over.set()

    async def leave_after(self, restarting: asyncio.Event) -> None:
        """Once it is set the process ends within 10 s, in order or not."""
        await restarting.wait()
        last_way_out = threading.Timer(LEAVE_WITHIN_S, self._end, (ExitCode.RESTART,))
        last_way_out.daemon = True
        last_way_out.start()

    def _guard(self, over: threading.Event) -> None:
        stillness = Stillness()
        while not over.wait(BEAT_EVERY_S):
            silent_s = stillness.look(self._beat, time.monotonic())
            if silent_s >= self._blocked_s and not over.is_set():
                self._cry(f"the event loop stood still for {silent_s:.0f} s in {self._where()}")
                return

    def _cry(self, text: str) -> None:
        # The disk or the log may be what blocks the loop: neither may keep us.
        words = threading.Thread(target=self._last_words, args=(text,), name="last-words", daemon=True)
        words.start()
        words.join(_LAST_WORDS_S)
        self._end(ExitCode.RESTART)

    def _last_words(self, text: str) -> None:
        self._save("loop_blocked", text)
        log.critical("loop_blocked", text=text)

    def _where(self) -> str:
        """Innermost functions first."""
        frame: FrameType | None = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, for debuggers
        steps: list[str] = []
        while frame is not None and len(steps) < _STACK_DEPTH:
            code = frame.f_code
            steps.append(f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})")
            frame = frame.f_back
        return " < ".join(steps) or "nowhere"

"""A clock that stands still while the process does: a machine that stops for some seconds is nobody's silence."""

import threading
import time
from typing import Self

TICK_S = 0.02
MOST_S = 0.2
"""What one tick may count for at most, however late it is."""


class LivedTime:
    """``monotonic`` in seconds that the process ran, to 20 ms; use it as a context manager."""

    def __init__(self) -> None:
        self._lived = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="lived-time", daemon=True)

    def monotonic(self) -> float:
        """Seconds lived since the start; as a stand-in for the module ``time``, too."""
        return self._lived

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._over.wait(TICK_S):
            now = time.monotonic()
            self._lived += min(now - before, MOST_S)
            before = now

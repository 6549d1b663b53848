"""A SerialLine whose bytes come at set times of a fake clock: what no two threads can be told to do."""

from edge_agent.clock import FakeClock


class ScriptedLine:
    """``script`` holds (seconds since the opening, bytes); waiting for nothing passes the time."""

    def __init__(self, clock: FakeClock, script: list[tuple[float, bytes]]) -> None:
        self._clock = clock
        self._script = script
        self.opened_at = 0.0
        self.waits: list[float] = []
        self.awake = False
        self.closed = False

    def open(self) -> None:
        self.opened_at = self._clock.monotonic()

    def read(self, wait_s: float) -> bytes:
        self.waits.append(wait_s)
        now = self._clock.monotonic() - self.opened_at
        if self._script and self._script[0][0] <= now + wait_s + 1e-9:
            at, data = self._script.pop(0)
            self._clock.advance(max(0.0, at - now))
            return data
        self._clock.advance(wait_s)
        return b""

    def wake(self) -> None:
        self.awake = True

    def close(self) -> None:
        self.closed = True

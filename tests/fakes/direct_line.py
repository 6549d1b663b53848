"""The emulated PN532 without a line: what the driver writes is executed at once, what it waits for turns the clock.

Thousands of taps a minute, each as long as it would be, none of it waited for. It stands where pyserial's port does.
"""

from collections import deque

from edge_agent.clock import FakeClock
from edge_agent.simulation.pn532_chip import Pn532Chip, Reply, SyntaxFault
from edge_agent.simulation.pn532_frames import CHIP_TO_HOST, HOST_TO_CHIP, Frame, FrameParser, Info, Signal, encode


class DirectPort:
    """Has what nfcpy's transport and our driver use of a ``serial.Serial``."""

    def __init__(self, chip: Pn532Chip, clock: FakeClock) -> None:
        self.chip = chip
        self.baudrate = 115_200
        self.timeout = 0.05
        self.write_timeout: float | None = None
        self.exclusive = False
        self.port = "direct"
        self._clock = clock
        self._parser = FrameParser()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._arrived = bytearray()

    def set_low_latency_mode(self, on: bool) -> None:
        """Nothing is late here."""

    def flushInput(self) -> None:  # noqa: N802 - pyserial's name
        self._arrived.clear()
        while self._waiting and self._waiting[0][0] <= self._clock.monotonic():
            self._waiting.popleft()

    def reset_output_buffer(self) -> None:
        """Everything is out."""

    def close(self) -> None:
        """Nothing to release."""

    def write(self, data: bytes) -> int:
        for frame in self._parser.feed(self.chip.wake(bytes(data))):
            self._take(frame)
        return len(data)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; waits for ``timeout`` seconds of the clock at most."""
        deadline = self._clock.monotonic() + self.timeout
        while len(self._arrived) < size and self._waiting and self._waiting[0][0] <= deadline:
            due, data = self._waiting.popleft()
            self._clock.mono = max(self._clock.mono, due)
            self._arrived += data
        if len(self._arrived) < size:
            self._clock.mono = deadline
        taken, self._arrived = bytes(self._arrived[:size]), self._arrived[size:]
        return taken

    def _take(self, frame: Frame) -> None:
        match frame:
            case Signal.ACK:
                self._waiting.clear()
                self.chip.acknowledged()
            case Info(tfi, data) if tfi == HOST_TO_CHIP:
                self._waiting.clear()
                self._answer(Signal.ACK.value, 0.0)
                try:
                    self._reply(self.chip.execute(data))
                except SyntaxFault:
                    self._answer(Signal.ERROR.value, 0.0)

    def _reply(self, reply: Reply) -> None:
        if reply.payload is not None:
            self._answer(encode(Info(CHIP_TO_HOST, reply.payload)), reply.delay_s)

    def _answer(self, data: bytes, delay_s: float) -> None:
        self._waiting.append((self._clock.monotonic() + delay_s, data))

"""The line of a simulated serial reader: a pty, a thread that sleeps while nothing happens, noise, unplug and replug.

What is spoken belongs to the readers built on it (``serial_readers``, ``acs_reader``). Hands may act from any thread.
"""

import time

from edge_agent.simulation.pty_device import PtyDevice
from edge_agent.simulation.uart import received

_BITS_PER_CHARACTER = 10


class SerialEmulator(PtyDevice):
    """A device at ``baud``, plugged in from ``start`` (or ``with``) to ``close``.

    ``timed``: each byte takes its time on the wire and comes alone; else all come at once. A host at another speed
    reads what a UART makes of it, and is not understood.
    """

    def __init__(self, *, baud: int = 9600, timed: bool = False) -> None:
        super().__init__("nfc-serial0")
        self.baud = baud
        self._timed = timed
        self._out_busy = 0.0

    # -- hands --------------------------------------------------------------------------------------------------------

    def noise(self, data: bytes) -> None:
        """Let these bytes come in at the host, as they are."""
        with self._changed:
            self._transmit(data)
        self._wake()

    # -- for the readers; all called with the lock held ----------------------------------------------------------------

    def _heard(self, data: bytes) -> None:
        """Take what the host sent; a reader that listens to nobody leaves it."""

    def _forget(self) -> None:
        """Lose power: the cable was pulled."""

    def _send(self, data: bytes) -> None:
        """Send to the host, at our speed."""
        rate = self._port.host_rate() if self._port.plugged else None
        self._transmit(data if rate is None else received(data, sent_at=self.baud, read_at=rate))

    def _transmit(self, data: bytes) -> None:
        if not self._timed:
            self._write(data)
            return
        for byte in data:
            self._out_busy = max(time.monotonic(), self._out_busy) + _BITS_PER_CHARACTER / self.baud
            self._at(self._out_busy, lambda byte=byte: self._write(bytes([byte])))  # type: ignore[misc] # mypy cannot infer a lambda with a default

    def _write(self, data: bytes) -> None:
        if self._port.plugged and data:
            self._port.write(data)

    def _lose_power(self) -> None:
        self._out_busy = 0.0
        self._forget()

    def _receive(self) -> None:
        data = self._port.read()
        if self._port.host_rate() == self.baud:
            self._heard(data)

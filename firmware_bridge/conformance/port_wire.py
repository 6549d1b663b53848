"""The wire of the conformance run over a real port: blocking, with a bound for each wait. Must never hang."""

import select
import time
from types import TracebackType
from typing import Self

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.port import Port, open_port
from firmware_bridge.protocol import DEFAULT_BAUD

_WRITE_WITHIN_S = 3.0
_REOPEN_WITHIN_S = 10.0
_REOPEN_EVERY_S = 0.2


class PortWire:
    """``with PortWire("/dev/ttyUSB0") as wire``; raises LinkError where the port cannot be opened."""

    def __init__(self, device: str, baud: int = DEFAULT_BAUD) -> None:
        self._device = device
        self._baud = baud
        self._port: Port = open_port(device, baud)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._port.close()

    def now(self) -> float:
        """Return CLOCK_MONOTONIC seconds."""
        return time.monotonic()

    def write(self, data: bytes) -> None:
        """Hand over all bytes; raises LinkError when the line takes none for three seconds."""
        end = self.now() + _WRITE_WITHIN_S
        while data:
            data = data[self._port.write(data) :]
            if data and not select.select([], [self._port], [], max(0.0, end - self.now()))[1]:
                raise LinkError(LinkFault.IO, f"{self._device} takes no bytes for {_WRITE_WITHIN_S:.0f} s")

    def read(self, until: float) -> bytes:
        """Return what has come, or wait for it until that moment: then b""; raises LinkError."""
        if select.select([self._port], [], [], max(0.0, until - self.now()))[0]:
            return self._port.read()
        return b""

    def reopen(self) -> None:
        """Open the line anew, for at most ten seconds; raises LinkError."""
        self._port.close()
        end = self.now() + _REOPEN_WITHIN_S
        while True:
            try:
                self._port = open_port(self._device, self._baud)
            except LinkError:
                if self.now() >= end:
                    raise
                time.sleep(_REOPEN_EVERY_S)
            else:
                return

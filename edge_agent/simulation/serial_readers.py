"""Readers that only say numbers, simulated: RDM6300, ID-12LA, an AA..BB module, a reader that prints lines.

Each writes its frames by itself, without the parsers of the real driver: two hands, one data sheet.
"""

import time
from collections.abc import Callable
from functools import reduce
from operator import xor

from edge_agent.simulation.serial_port import SerialEmulator

RDM6300_REPEATS_S = 0.065


class NumberReader(SerialEmulator):
    """Says ``frame(number)`` when a card comes, and every ``repeat_s`` seconds while it stays (None: once)."""

    def __init__(
        self, frame: Callable[[bytes], bytes], *, repeat_s: float | None, baud: int = 9600, timed: bool = False
    ) -> None:
        super().__init__(baud=baud, timed=timed)
        self.frame = frame
        self._repeat_s = repeat_s
        self._card: bytes | None = None
        self._stay = 0
        self.said = 0
        """Frames so far."""

    def place(self, number: bytes) -> None:
        """Hold a card to it, instead of the one before."""
        with self._changed:
            self._card = number
            self._stay += 1
            self._say(self._stay)
        self._wake()

    def remove(self) -> None:
        """Take the card away."""
        with self._changed:
            self._card = None
            self._stay += 1
        self._wake()

    def tap(self, number: bytes) -> None:
        """Hold a card to it for a moment: it is read once."""
        self.place(number)
        self.remove()

    def _say(self, stay: int) -> None:
        if stay != self._stay or self._card is None or not self._port.plugged:
            return
        self.said += 1
        self._send(self.frame(self._card))
        if self._repeat_s is not None:
            self._at(time.monotonic() + self._repeat_s, lambda: self._say(stay))

    def _forget(self) -> None:
        self._stay += 1


def rdm6300(*, timed: bool = False) -> NumberReader:
    """Return an RDM6300: 14 bytes every 65 ms; a number is five bytes."""
    return NumberReader(_stx_etx, repeat_s=RDM6300_REPEATS_S, timed=timed)


def id12la(*, timed: bool = False) -> NumberReader:
    """Return an ID-12LA: 16 bytes, once for each card."""
    return NumberReader(lambda number: _stx_etx(number, b"\r\n"), repeat_s=None, timed=timed)


def aa_bb(*, repeat_s: float | None = 0.2, baud: int = 9600, timed: bool = False) -> NumberReader:
    """Return a module that answers AA 00 length status flag UID BCC BB."""
    return NumberReader(_aa_bb, repeat_s=repeat_s, baud=baud, timed=timed)


def ascii_line(
    *, prefix: bytes = b"", suffix: bytes = b"", end: bytes = b"\r", baud: int = 9600, timed: bool = False
) -> NumberReader:
    """Return a reader that prints the UID in hexadecimal, once for each card."""
    return NumberReader(
        lambda number: prefix + number.hex().upper().encode() + suffix + end, repeat_s=None, baud=baud, timed=timed
    )


def _stx_etx(number: bytes, line_end: bytes = b"") -> bytes:
    checked = number + bytes([reduce(xor, number)])
    return b"\x02" + checked.hex().upper().encode("ascii") + line_end + b"\x03"


def _aa_bb(number: bytes) -> bytes:
    body = bytes([0x00, len(number) + 2, 0x00, 0x00]) + number
    return b"\xaa" + body + bytes([reduce(xor, body)]) + b"\xbb"

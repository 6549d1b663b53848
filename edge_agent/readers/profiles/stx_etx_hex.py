"""Profile `stx_etx_hex`: STX, ten hexadecimal digits, two of their check byte, CR LF where the reader sends it, ETX.

RDM630 and RDM6300 (14 bytes without CR LF, repeated about every 65 ms while the card stays, as its users measured:
github.com/arduino12/rdm6300) and ID-Innovations ID-2LA/12LA/20LA ("Datasheet X1, 11.04.2013", 4: STX, DATA, CHECK SUM,
CR, LF, ETX: 16 bytes, once for each card), 9600 8N1. The latter's text calls 6E the check of 0C000621A5; its own sum
and frame say 8E.
"""

import re

from edge_agent.readers.base import RawUid
from edge_agent.readers.profiles.base import Event, Fault, FaultKind, Reading, Stray

MAX_FRAME = 16

_STX = 0x02
_FRAME = re.compile(rb"\x02([0-9A-Fa-f]{10})([0-9A-Fa-f]{2})(?:\r\n)?\x03")
# Everything that can still become a frame.
_BEGUN = re.compile(rb"\x02(?:[0-9A-Fa-f]{0,12}|[0-9A-Fa-f]{12}\r\n?)")


class StxEtxHex:
    """Parser of one number of five bytes (EM4100: version or customer byte, then 32 bits).

    No byte of a frame but its first is an STX, so a good frame is taken at its last byte, whatever came before it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stray = Stray()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Parser``."""
        self._buffer += data
        events: list[Event] = []
        position = 0
        while True:
            start = self._buffer.find(_STX, position)
            end = len(self._buffer) if start < 0 else start
            events += self._stray.add(end - position)
            position = end
            if start < 0:
                break
            found = _FRAME.match(self._buffer, start)
            if found is not None:
                events.append(self._judge(bytes.fromhex(found[1].decode("ascii")), int(found[2], 16)))
                position = found.end()
            elif _BEGUN.fullmatch(self._buffer, start):
                break
            else:
                events.append(Fault(FaultKind.FORM))
                position = start + 1
        del self._buffer[:position]
        return events

    def idle(self) -> list[Event]:
        """See ``Parser``: nothing but a frame that began can be held back."""
        torn = bool(self._buffer)
        self.resync()
        return [Fault(FaultKind.TORN)] if torn else []

    def resync(self) -> None:
        """See ``Parser``."""
        self._buffer.clear()

    def _judge(self, number: bytes, check: int) -> Event:
        xor = 0
        for byte in number:
            xor ^= byte
        if xor != check:
            return Fault(FaultKind.CHECKSUM)
        self._stray.excuse()
        return Reading(RawUid(number))

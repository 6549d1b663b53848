"""Profile `aa_bb`: head, address, length, payload, check byte, tail, as many 13.56 MHz modules answer. Pure.

Modules of the RDM880 kind (AA 00 06 00 00 16 0F F4 7F 94 BB: address 00, six bytes, status 00, flag 00, UID, XOR of
address to payload, BB); with head 02, tail 03 the binary protocol of ACG and Elatec TWN3 readers (ACG 13.56 MHz
Multitag Reader 0.9v, 5.2: STX, station, length, data, BCC, ETX). It may have to be set to tell numbers by itself.
"""

from functools import reduce
from operator import xor
from typing import Literal

from edge_agent.readers.profiles.base import UID_SIZES, Event, Fault, FaultKind, Reading, Stray, uid_of

MAX_PAYLOAD = 64
LEAST_NUMBER = 4
"""A payload of fewer bytes is a status (01 83: no tag), never a number."""

# Status 00 (done) and a flag (00: one tag), before the UID.
_STATUS_AND_FLAG = 2


class AaBb:
    """Parser of framed numbers.

    ``head`` and ``tail`` are 1 to 4 bytes each; ``length`` says what the length byte counts, ``checksum`` how the
    check byte is made from address, length and payload. A good frame after noise is taken at its last byte; or, where
    the noise ended in what could begin a frame, once the line brought ``max_frame`` bytes from there or fell silent.
    """

    def __init__(
        self,
        *,
        head: bytes = b"\xaa",
        tail: bytes = b"\xbb",
        length: Literal["payload", "frame"] = "payload",
        checksum: Literal["xor", "sum", "none"] = "xor",
    ) -> None:
        self._head = head
        self._tail = tail
        self._checksum = checksum
        self._check_size = 0 if checksum == "none" else 1
        self._overhead = len(head) + 2 + self._check_size + len(tail)
        self._counted = self._overhead if length == "frame" else 0
        self.max_frame = self._overhead + MAX_PAYLOAD
        """Bytes of the longest frame."""
        self._buffer = bytearray()
        self._stray = Stray()

    def feed(self, data: bytes) -> list[Event]:
        """See ``Parser``."""
        self._buffer += data
        return self._parse()

    def idle(self) -> list[Event]:
        """See ``Parser``: gives up the frame that is waited for, and looks for whole ones in what it seemed to hold."""
        events: list[Event] = []
        while self._buffer:
            if self._buffer.startswith(self._head):
                events.append(Fault(FaultKind.TORN))
            else:
                events += self._stray.add(1)
            del self._buffer[:1]
            events += self._parse()
        return events

    def resync(self) -> None:
        """See ``Parser``."""
        self._buffer.clear()

    def _parse(self) -> list[Event]:
        events: list[Event] = []
        position = 0
        while (start := self._begin(position)) is not None:
            events += self._stray.add(start - position)
            position = start
            taken, event = self._frame(start)
            if event is None:
                break
            events.append(event)
            position += taken
        else:
            # Only a piece of a head at the end can still belong to a frame.
            end = len(self._buffer) - self._open_end(position)
            events += self._stray.add(end - position)
            position = end
        del self._buffer[:position]
        return events

    def _begin(self, position: int) -> int | None:
        start = self._buffer.find(self._head, position)
        return start if start >= 0 else None

    def _open_end(self, position: int) -> int:
        """Bytes at the end of the buffer that a head could begin with."""
        for size in range(min(len(self._head) - 1, len(self._buffer) - position), 0, -1):
            if self._buffer.endswith(self._head[:size]):
                return size
        return 0

    def _frame(self, start: int) -> tuple[int, Event | None]:
        """Return how many bytes from ``start`` are done with, and what they are; no event while bytes are missing.

        Of what turns out to be no frame only the first byte is done with: a good one may stand inside.
        """
        address = start + len(self._head)
        if len(self._buffer) < address + 2:
            return 0, None
        size = self._buffer[address + 1] - self._counted
        if not 1 <= size <= MAX_PAYLOAD:
            return 1, Fault(FaultKind.LENGTH)
        end = start + self._overhead + size
        if len(self._buffer) < end:
            return 0, None
        if not self._buffer.endswith(self._tail, start, end):
            return 1, Fault(FaultKind.FORM)
        checked = bytes(self._buffer[address : address + 2 + size])
        if self._check_size and self._check(checked) != self._buffer[address + 2 + size]:
            return 1, Fault(FaultKind.CHECKSUM)
        self._stray.excuse()
        return end - start, _number(checked[2:])

    def _check(self, checked: bytes) -> int:
        return reduce(xor, checked) if self._checksum == "xor" else sum(checked) & 0xFF


def _number(payload: bytes) -> Event:
    if len(payload) < LEAST_NUMBER:
        return Fault(FaultKind.NO_CARD)
    if payload[0] == 0 and len(payload) - _STATUS_AND_FLAG in UID_SIZES:
        return Reading(uid_of(payload[_STATUS_AND_FLAG:]))
    return Reading(uid_of(payload))

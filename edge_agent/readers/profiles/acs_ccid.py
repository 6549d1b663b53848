"""Profile `acs_ccid`: the frames of ACS readers that speak CCID on a serial line. Pure codec of the host's side.

ACS ACR1281S Specification V1.01 (2010-12-15), "Serial communication protocol (CCID-liked frame format)": STX, a bulk
header of USB CCID Rev 1.1 (6.1, 6.2; 10 bytes), data, XOR of header and data, ETX; each frame of the host is
acknowledged by 02 00 00 03 first. 8N1, 9600 as delivered. ACR122L 1.03 and ACR122S 2.01 have the same frames.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import reduce
from operator import xor

from edge_agent.readers.profiles.base import Fault, FaultKind, Stray

HEADER = 10
# 11: "Length Error Frame [...] the length dwLength is greater than 0x0105 bytes."
MAX_DATA = 0x105
MAX_FRAME = 1 + HEADER + MAX_DATA + 2
PICC_SLOT = 0x00
"""8.1: 00h is the contactless interface, 01h the contact one."""

_STX, _ETX = 0x02, 0x03
_SLOT_CHANGE = 0x50
_SLOT_CHANGE_SIZE = 5
_STATUS_SIZE = 4

# Host to reader; asks for the last answer once more (11).
NAK_FRAME = b"\x02" + bytes(11) + b"\x03"


class Command(IntEnum):
    """bMessageType, host to reader."""

    ICC_POWER_ON = 0x62
    ICC_POWER_OFF = 0x63
    GET_SLOT_STATUS = 0x65
    ESCAPE = 0x6B
    XFR_BLOCK = 0x6F


class Answer(IntEnum):
    """bMessageType, reader to host."""

    DATA_BLOCK = 0x80
    SLOT_STATUS = 0x81
    PARAMETERS = 0x82
    ESCAPE = 0x83


_ANSWERS = frozenset(Answer)


class Status(StrEnum):
    """A status frame: whether the reader took the command (11; FC is ACR122L 1.03, page 10)."""

    ACK = "ack"
    CHECKSUM = "checksum"
    LENGTH = "length"
    ETX = "etx"
    TIMEOUT = "timeout"
    SLOT = "slot"


_STATUSES = {
    0x00: Status.ACK,
    0xFF: Status.CHECKSUM,
    0xFE: Status.LENGTH,
    0xFD: Status.ETX,
    0xFC: Status.TIMEOUT,
    0x99: Status.TIMEOUT,
    0xFB: Status.SLOT,
}


class Outcome(IntEnum):
    """bmCommandStatus (CCID Rev 1.1, 6.2.6); 3 is RFU."""

    DONE = 0
    FAILED = 1
    TIME_EXTENSION = 2
    RFU = 3


ICC_MUTE = 0xFE
"""bError of a failed command: the card does not answer (CCID Rev 1.1, 6.2.6)."""
_ICC_ABSENT = 2


@dataclass(frozen=True, slots=True)
class Message:
    """An answer of the reader; ``data`` may hold a UID and is not shown."""

    kind: Answer
    slot: int
    seq: int
    status: int
    error: int
    data: bytes = field(repr=False)

    @property
    def outcome(self) -> Outcome:
        """What became of the command; ``error`` only counts where it failed (ACS sends 81h with success)."""
        return Outcome(self.status >> 6)

    @property
    def card_there(self) -> bool:
        """bmICCStatus: 0 active, 1 inactive, 2 absent."""
        return self.status & 3 < _ICC_ABSENT


@dataclass(frozen=True, slots=True)
class SlotChange:
    """RDR_to_PC_NotifySlotChange; readers send it only where it was switched on."""

    card_there: bool


Frame = Message | SlotChange | Status
Event = Frame | Fault


def encode(command: Command, seq: int, data: bytes = b"", *, slot: int = PICC_SLOT) -> bytes:
    """Return the frame of a command; raises ValueError above MAX_DATA bytes."""
    if len(data) > MAX_DATA:
        raise ValueError(f"a frame holds at most {MAX_DATA} bytes, not {len(data)}")
    body = bytes([command]) + len(data).to_bytes(4, "little") + bytes([slot, seq & 0xFF, 0, 0, 0]) + data
    return bytes([_STX]) + body + bytes([reduce(xor, body), _ETX])


class AcsCcidParser:
    """Push parser of what the reader sends.

    A good frame after noise is taken at its last byte; or, where the noise ended in what could begin a frame, once the
    line has brought MAX_FRAME bytes from there or fell silent (``idle``).
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stray = Stray()

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the frames and faults that they completed, in order."""
        self._buffer += data
        return self._parse()

    def idle(self) -> list[Event]:
        """Nothing came for longer than a frame takes: give up what is half received, look for whole frames in it."""
        events: list[Event] = []
        while self._buffer:
            events.append(Fault(FaultKind.TORN))
            del self._buffer[:1]
            events += self._parse()
        return events

    def resync(self) -> None:
        """Forget all."""
        self._buffer.clear()

    def _parse(self) -> list[Event]:
        events: list[Event] = []
        position = 0
        while True:
            start = self._buffer.find(_STX, position)
            end = len(self._buffer) if start < 0 else start
            events += self._stray.add(end - position)
            position = end
            if start < 0:
                break
            taken, event = self._frame(start)
            if event is None:
                break
            events.append(event)
            position += taken
        del self._buffer[:position]
        return events

    def _frame(self, start: int) -> tuple[int, Event | None]:
        """Return how many bytes from ``start`` are done with, and what they are; no event while bytes are missing.

        Of what turns out to be no frame only its STX is done with: a good one may stand inside.
        """
        size = self._size(start)
        if isinstance(size, FaultKind):
            return 1, Fault(size)
        if size is None or len(self._buffer) - start < size:
            return 0, None
        body = bytes(self._buffer[start + 1 : start + size - 1])
        if self._buffer[start + size - 1] != _ETX:
            return 1, Fault(FaultKind.FORM)
        if reduce(xor, body):
            return 1, Fault(FaultKind.CHECKSUM)
        self._stray.excuse()
        return size, _frame_of(body[:-1])

    def _size(self, start: int) -> int | FaultKind | None:
        """Return the length of the frame that seems to begin at ``start``, as far as that is known."""
        head = self._buffer[start + 1 : start + 6]
        if not head:
            return None
        if head[0] in _STATUSES:
            return _STATUS_SIZE
        if head[0] == _SLOT_CHANGE:
            return _SLOT_CHANGE_SIZE
        if head[0] not in _ANSWERS:
            return FaultKind.FORM
        if len(head) < 5:
            return None
        size = int.from_bytes(head[1:], "little")
        return FaultKind.LENGTH if size > MAX_DATA else 1 + HEADER + size + 2


def _frame_of(body: bytes) -> Frame:
    if body[0] in _STATUSES:
        return _STATUSES[body[0]]
    if body[0] == _SLOT_CHANGE:
        return SlotChange(bool(body[1] & 1))
    return Message(Answer(body[0]), body[5], body[6], body[7], body[8], body[HEADER:])

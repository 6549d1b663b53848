"""An ACS reader with CCID frames on a serial line, simulated (ACR1281S Specification V1.01), with a card in its field.

Does ISO-DEP itself, as its firmware does: an application gets APDUs, a storage card is only asked for its UID. On
request it has mishaps, as a line in a cabinet has.
"""

import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from functools import reduce
from operator import xor

from edge_agent.simulation.cards import PlainCard
from edge_agent.simulation.iso_dep import ENDLESS, IsoDepCard, Response
from edge_agent.simulation.serial_port import SerialEmulator

Card = IsoDepCard | PlainCard

FIRMWARE = b"ACR1281S V103"
_ACK, _BAD_CHECK, _BAD_LENGTH, _BAD_END, _BAD_SLOT = 0x00, 0xFF, 0xFE, 0xFD, 0xFB
_NAK = b"\x02" + bytes(11) + b"\x03"
_HEADER = 10
_MAX_DATA = 0x105
_DATA_BLOCK, _SLOT_STATUS, _ESCAPED = 0x80, 0x81, 0x83
_FAILED, _MORE_TIME = 0x40, 0x80
_MUTE, _UNKNOWN_COMMAND = 0xFE, 0x00
_OKAY = 0x81  # what the specification's examples have in bError of a command that was done
_MUTE_AFTER_S = 0.1
_EXTENSION_EVERY_S = 0.04
_GIVES_UP_AFTER_S = 5.0  # more than the longest frame waiting time of a card, 4.95 s
_LATE_S = 2.0
_ATR_STORAGE = bytes.fromhex("3B8F8001804F0CA00000030603000100000000")


class Mishap(Enum):
    """What happens to the next command."""

    COMMAND_LOST = auto()
    """The reader sees nothing of it."""
    COMMAND_DAMAGED = auto()
    """The reader refuses it: wrong checksum."""
    ACK_LOST = auto()
    ANSWER_DAMAGED = auto()
    ANSWER_LATE = auto()
    """It comes, but seconds later."""


class AcsReader(SerialEmulator):
    """The reader; ``notify`` makes it tell of cards by itself."""

    def __init__(self, *, baud: int = 9600, timed: bool = False, notify: bool = False) -> None:
        super().__init__(baud=baud, timed=timed)
        self._notify = notify
        self._card: Card | None = None
        self._active = False
        self._heard_so_far = bytearray()
        self._last = b""
        self._epoch = 0
        self._busy = False
        self.mishaps: deque[Mishap] = deque()
        """One for each of the next commands."""
        self.commands: deque[int] = deque(maxlen=1000)
        """Types of the last 1000 commands that were carried out."""
        self.apdus: deque[bytes] = deque(maxlen=1000)
        """The last 1000 APDUs that reached an application."""

    def place(self, card: Card) -> None:
        """Hold a card or phone to it, instead of the one before."""
        with self._changed:
            self._take_away()
            self._card = card
            self._tell(present=True)
        self._wake()

    def remove(self) -> None:
        """Take it away."""
        with self._changed:
            there = self._card is not None
            self._take_away()
            if there:
                self._tell(present=False)
        self._wake()

    def _take_away(self) -> None:
        card, self._card = self._card, None
        active, self._active = self._active, False
        self._epoch += 1
        if card is None:
            return
        if active and isinstance(card, IsoDepCard):
            card.application.link_lost()
        card.field_off()

    def _forget(self) -> None:
        self._heard_so_far.clear()
        self._last = b""
        self._epoch += 1
        self._active = self._busy = False

    def _tell(self, *, present: bool) -> None:
        if self._notify:
            self._send(_framed(bytes([0x50, 0x02 | present])))

    # -- commands -----------------------------------------------------------------------------------------------------

    def _heard(self, data: bytes) -> None:
        if self._busy:
            return  # 11: "The RDR will not receive any more frames while the command is being processed."
        self._heard_so_far += data
        while (frame := self._next_frame()) is not None:
            self._command(frame)

    def _next_frame(self) -> bytes | None:
        buffer = self._heard_so_far
        start = buffer.find(0x02)
        del buffer[: len(buffer) if start < 0 else start]
        if len(buffer) < 1 + _HEADER + 2:
            return None
        size = int.from_bytes(buffer[2:6], "little")
        if size > _MAX_DATA:
            del buffer[:]
            self._status(_BAD_LENGTH)
            return None
        whole = 1 + _HEADER + size + 2
        if len(buffer) < whole:
            return None
        frame = bytes(buffer[:whole])
        del buffer[:whole]
        return frame

    def _command(self, frame: bytes) -> None:
        if frame == _NAK:
            self._send(self._last)
            return
        mishap = self.mishaps.popleft() if self.mishaps else None
        if mishap is Mishap.COMMAND_LOST:
            return
        body = frame[1:-2]
        if frame[-1] != 0x03:
            self._status(_BAD_END)
        elif reduce(xor, body) != frame[-2] or mishap is Mishap.COMMAND_DAMAGED:
            self._status(_BAD_CHECK)
        elif body[5] > 1:
            self._status(_BAD_SLOT)
        else:
            if mishap is not Mishap.ACK_LOST:
                self._status(_ACK)
            self.commands.append(body[0])
            self._carry_out(body[0], body[5], body[6], body[_HEADER:], mishap)

    def _carry_out(self, kind: int, slot: int, seq: int, data: bytes, mishap: Mishap | None) -> None:
        answer = self._answers(slot, seq, mishap)
        match kind:
            case 0x62:  # IccPowerOn
                atr = self._activate()
                answer(_DATA_BLOCK, atr) if atr else answer(_DATA_BLOCK, b"", _FAILED, _MUTE)
            case 0x63 | 0x65:  # IccPowerOff (8.2: "For PICC, it does nothing."), GetSlotStatus
                answer(_SLOT_STATUS)
            case 0x6B if data == bytes.fromhex("E000001800"):  # Escape: firmware version
                answer(_ESCAPED, bytes.fromhex("E1000000") + bytes([len(FIRMWARE)]) + FIRMWARE)
            case 0x6F:  # XfrBlock
                self._exchange(data, answer)
            case _:
                answer(_SLOT_STATUS, b"", _FAILED, _UNKNOWN_COMMAND)

    def _answers(self, slot: int, seq: int, mishap: Mishap | None) -> Callable[..., None]:
        """Return what sends an answer to one command: message type, data, bmCommandStatus, bError."""

        def answer(kind: int, data: bytes = b"", status: int = 0, error: int = _OKAY) -> None:
            there = 0 if self._active else 1 if self._card is not None else 2
            header = bytes([kind]) + len(data).to_bytes(4, "little") + bytes([slot, seq, status | there, error, 0])
            frame = _framed(header + data)
            if status & _MORE_TIME:
                self._send(frame)
                return
            self._last = frame
            if mishap is Mishap.ANSWER_DAMAGED:
                frame = frame[:7] + bytes([frame[7] ^ 0x10]) + frame[8:]
            if mishap is Mishap.ANSWER_LATE:
                self._busy = True
                self._at(time.monotonic() + _LATE_S, lambda: self._done(frame))
            else:
                self._done(frame)

        return answer

    def _activate(self) -> bytes:
        card = self._card
        found = None if card is None else card.activate()
        if card is None or found is None:
            return b""
        self._active = True
        if not isinstance(card, IsoDepCard):
            atr = _ATR_STORAGE
        else:
            history = card.timing.historical
            atr = bytes([0x3B, 0x80 | len(history), 0x80, 0x01]) + history
        return atr + bytes([reduce(xor, atr[1:])])

    def _exchange(self, apdu: bytes, answer: Callable[..., None]) -> None:
        card = self._card
        if card is None or not self._active:
            answer(_DATA_BLOCK, b"", _FAILED, _MUTE)
        elif apdu == bytes.fromhex("FFCA000000"):
            found = card.activate()
            answer(_DATA_BLOCK, found.uid + b"\x90\x00" if found else b"\x63\x00")
        elif not isinstance(card, IsoDepCard):
            answer(_DATA_BLOCK, b"\x6a\x81")
        else:
            self.apdus.append(apdu)
            self._wait_for(card.application.command(apdu), answer)

    def _wait_for(self, response: Response | None, answer: Callable[..., None]) -> None:
        """Answer when the application does; ask for more time as often as it does; mute, or gone, is a failure."""
        epoch, until = self._epoch, time.monotonic() + _GIVES_UP_AFTER_S
        self._busy = True

        def later(delay_s: float, extensions: float) -> None:
            now = time.monotonic()
            if epoch != self._epoch or now >= until:
                answer(_DATA_BLOCK, b"", _FAILED, _MUTE)
            elif extensions > 0:
                answer(_DATA_BLOCK, b"", _MORE_TIME, 0x01)
                left = ENDLESS if extensions == ENDLESS else extensions - 1
                self._at(now + _EXTENSION_EVERY_S, lambda: later(delay_s, left))
            elif delay_s > 0:
                self._at(now + delay_s, lambda: later(0.0, 0))
            elif response is None:
                answer(_DATA_BLOCK, b"", _FAILED, _MUTE)
            else:
                answer(_DATA_BLOCK, response.data)

        if response is None:
            later(_MUTE_AFTER_S, 0)
        else:
            later(response.delay_s, response.extensions)

    def _done(self, frame: bytes) -> None:
        self._busy = False
        self._send(frame)

    def _status(self, code: int) -> None:
        self._send(bytes([0x02, code, code, 0x03]))


def _framed(body: bytes) -> bytes:
    return b"\x02" + body + bytes([reduce(xor, body), 0x03])

"""ISO/IEC 14443-4 block protocol, card side: ATS, chaining both ways, acknowledgements, waiting time extension.

Pure. Below it speaks frames without CRC (``Picc``), above it one command APDU in, one ``Response`` out.
Clauses are those of ISO/IEC 14443-4:2018; "rule n" is its 7.5.5.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.simulation.picc import CARRIER_HZ, SAK_ISO_DEP, Answer, TypeA

FRAME_SIZES = (16, 24, 32, 40, 48, 64, 96, 128, 256)
"""FSCI and FSDI to bytes, CRC and prologue included (5.2.3, table 1)."""
MAX_WTXM = 59
ENDLESS = math.inf

_CID_FOLLOWS = 0x08
_NAD_FOLLOWS = 0x04
_CHAINING = 0x10
_WTX = 0xF2
_DESELECT = 0xC2


@dataclass(frozen=True, slots=True)
class Ats:
    """Answer to select (5.2); the defaults are those of a common Android phone. ``encode`` gives it with TL."""

    fsci: int = 8
    fwi: int = 7
    """Frame waiting time is 256 * 16 / fc * 2^FWI: 39 ms at 7."""
    ta: int | None = 0x80
    tc: int = 0x02
    historical: bytes = b""

    @property
    def frame_waiting_s(self) -> float:
        """FWT in seconds (7.2)."""
        return 256 * 16 / CARRIER_HZ * (1 << self.fwi)

    def encode(self) -> bytes:
        """Return TL, T0, [TA], TB, TC, historical bytes."""
        t0 = 0x60 | (0x10 if self.ta is not None else 0) | self.fsci
        ta = b"" if self.ta is None else bytes([self.ta])
        body = bytes([t0]) + ta + bytes([self.fwi << 4, self.tc]) + self.historical
        return bytes([len(body) + 1]) + body


@dataclass(frozen=True, slots=True)
class Response:
    """What an application answers: bytes (any length: the block layer chains), when, and after how many S(WTX).

    ``extensions`` forces that many waiting time extensions, ENDLESS for one after the other; without it the card asks
    for extensions by itself when ``delay_s`` outlasts the frame waiting time, as a phone's NFC controller does.
    """

    data: bytes
    delay_s: float = 0.0
    extensions: float = 0


class Application(Protocol):
    """What runs on the card."""

    def command(self, apdu: bytes) -> Response | None:
        """Answer one command APDU; None: the card falls silent."""

    def link_lost(self) -> None:
        """The field is gone or the reader deselected the card (Android: onDeactivated)."""


def random_uid(rng: random.Random) -> Callable[[], bytes]:
    """Return a source of random 4-byte UIDs: "uid0 = 08: the UID is a random number" (ISO/IEC 14443-3, 6.5.4)."""
    return lambda: b"\x08" + rng.randbytes(3)


@dataclass
class _Block:
    """Volatile state of one activation."""

    fsd: int
    cid: int
    fresh: bool = True
    number: int = 1  # rule C: "the PICC block number shall be initialized to 1 at activation"
    last: Answer | None = None
    received: bytes = b""
    sending: bytes = b""
    pending: Response | None = None
    wtxm: int = 0


@dataclass
class IsoDepCard:
    """A Type 4A card around an application.

    ``uid`` is asked once per power-up. ``ats`` may be raw bytes for a card that does not know how to write one; then
    ``timing`` still says how it behaves.
    """

    application: Application
    uid: Callable[[], bytes]
    atqa: bytes = b"\x04\x00"
    sak: int = SAK_ISO_DEP
    ats: bytes | None = None
    timing: Ats = field(default_factory=Ats)
    _uid: bytes | None = field(default=None, init=False)
    _block: _Block | None = field(default=None, init=False)
    _halted: bool = field(default=False, init=False)

    def activate(self) -> TypeA | None:
        """Answer the poll, unless halted or in the protocol state (ISO/IEC 14443-3, 6.3)."""
        if self._halted or self._block is not None:
            return None
        if self._uid is None:
            self._uid = self.uid()
        return TypeA(self.atqa, self.sak, self._uid)

    def field_off(self) -> None:
        """Lose power."""
        talking = self._block is not None
        self._uid, self._block, self._halted = None, None, False
        if talking:
            self.application.link_lost()

    def receive(self, frame: bytes) -> Answer | None:
        """Take RATS, PPS or a block; None is silence."""
        block = self._block
        if block is None:
            return self._rats(frame)
        fresh, block.fresh = block.fresh, False
        parts = _split(frame)
        if parts is None or len(frame) + 2 > FRAME_SIZES[self.timing.fsci]:
            return None
        pcb, cid, inf = parts
        if (cid or 0) != block.cid:
            return None  # 7.1.2.2: a block for another card
        if fresh and pcb & 0xF0 == 0xD0:
            return Answer(frame[:1])  # PPS (5.3): accepted; nothing here depends on the bit rate
        answer = self._dispatch(block, pcb, inf)
        if answer is not None and cid is not None:
            answer = Answer(bytes([answer.frame[0] | _CID_FOLLOWS, cid]) + answer.frame[1:], answer.delay_s)
        if answer is not None and pcb == _DESELECT:
            self._block, self._halted = None, True
            self.application.link_lost()
        return answer

    def _rats(self, frame: bytes) -> Answer | None:
        if self._halted or self._uid is None or len(frame) != 2 or frame[0] != 0xE0 or frame[1] & 0x0F == 0x0F:
            return None
        self._block = _Block(fsd=FRAME_SIZES[min(frame[1] >> 4, 8)], cid=frame[1] & 0x0F)
        return Answer(self.timing.encode() if self.ats is None else self.ats)

    def _dispatch(self, block: _Block, pcb: int, inf: bytes) -> Answer | None:
        if pcb & 0xE2 == 0x02 and not pcb & _NAD_FOLLOWS:
            return self._information(block, inf, more=bool(pcb & _CHAINING))
        if pcb & 0xE6 == 0xA2:
            return self._acknowledge(block, number=pcb & 1, nak=bool(pcb & 0x10))
        if pcb == _DESELECT:
            return Answer(bytes([_DESELECT]))
        if pcb == _WTX and block.pending is not None and inf[:1] and inf[0] & 0x3F == block.wtxm:
            return self._respond(block, block.pending, extended=True)
        return None

    def _information(self, block: _Block, inf: bytes, *, more: bool) -> Answer | None:
        block.number ^= 1  # rule D: toggled by each I-block, whatever its number
        block.sending, block.pending = b"", None
        block.received += inf
        if more:
            return self._keep(block, Answer(bytes([0xA2 | block.number])))  # rule 2
        apdu, block.received = block.received, b""
        response = self.application.command(apdu)
        if response is None:
            block.last = None
            return None
        return self._respond(block, response, extended=False)

    def _acknowledge(self, block: _Block, *, number: int, nak: bool) -> Answer | None:
        if number == block.number:
            return block.last  # rule 11: "its last block shall be re-transmitted"
        if nak:
            return Answer(bytes([0xA2 | block.number]))  # rule 12; a reader's presence check lives by it
        if not block.sending:
            return None
        block.number ^= 1  # rule E
        return self._send_part(block, 0.0)  # rule 13

    def _respond(self, block: _Block, response: Response, *, extended: bool) -> Answer | None:
        """Send the answer, or S(WTX) while it is not ready: forced ones first, then by the frame waiting time."""
        wait = self.timing.frame_waiting_s
        ready_within = wait * (block.wtxm if extended else 1) * 0.75
        left = response.delay_s
        if response.extensions:
            block.pending = Response(response.data, response.delay_s, response.extensions - 1)
            block.wtxm = 1
            return self._keep(block, Answer(bytes([_WTX, block.wtxm])))
        if left <= ready_within:
            block.pending, block.sending = None, response.data
            return self._send_part(block, left)
        # Not in time: ask at three quarters of the time granted, for as much as is still needed.
        left -= ready_within
        block.wtxm = min(MAX_WTXM, max(1, math.ceil(left / (wait * 0.75))))
        block.pending = Response(response.data, left)
        return self._keep(block, Answer(bytes([_WTX, block.wtxm]), ready_within))

    def _send_part(self, block: _Block, delay_s: float) -> Answer:
        room = block.fsd - 3 - (1 if block.cid else 0)
        part, block.sending = block.sending[:room], block.sending[room:]
        pcb = 0x02 | block.number | (_CHAINING if block.sending else 0)
        return self._keep(block, Answer(bytes([pcb]) + part, delay_s))

    def _keep(self, block: _Block, answer: Answer) -> Answer:
        # A block that is asked for again comes at once.
        block.last = Answer(answer.frame)
        return answer


def _split(frame: bytes) -> tuple[int, int | None, bytes] | None:
    """Return PCB without its CID bit, CID if one follows, and the rest; None for a torn prologue (7.1.2)."""
    if not frame:
        return None
    pcb = frame[0]
    # A PPS start byte (D0 to DF) has its CID in the low nibble and none behind it.
    if pcb & 0xF0 == 0xD0 or not pcb & _CID_FOLLOWS:
        return pcb, (pcb & 0x0F if pcb & 0xF0 == 0xD0 else None), frame[1:]
    if len(frame) < 2:
        return None
    return pcb & ~_CID_FOLLOWS, frame[1] & 0x0F, frame[2:]

"""Cards that are no phone: plain contactless cards and tags, and a payment card that must never be asked for more."""

import random
from dataclasses import dataclass, field

from edge_agent.simulation.iso_dep import Ats, IsoDepCard, Response
from edge_agent.simulation.phones import SW_NOT_FOUND, SW_OK, split_apdu, tlv
from edge_agent.simulation.picc import Answer, TypeA

PPSE = b"2PAY.SYS.DDF01"

_READ = 0x30
_HALT = b"\x50\x00"
_NAK = Answer(b"\x00", bits=4)
_PAGE = 4


@dataclass
class PlainCard:
    """A card without ISO/IEC 14443-4. The default is an access card (SAK 08, 4-byte UID) that reads nothing out.

    With ``memory`` it is a Forum Type 2 tag: READ gives 16 bytes and wraps around at the end.
    """

    uid: bytes
    sak: int = 0x08
    atqa: bytes = b"\x04\x00"
    memory: bytes = b""
    commands: list[bytes] = field(default_factory=list)
    _active: bool = field(default=False, init=False)
    _halted: bool = field(default=False, init=False)

    def activate(self) -> TypeA | None:
        """Answer the poll unless halted."""
        if self._halted:
            return None
        self._active = True
        return TypeA(self.atqa, self.sak, self.uid)

    def field_off(self) -> None:
        """Lose power."""
        self._active = self._halted = False

    def receive(self, frame: bytes) -> Answer | None:
        """Answer READ; a command that the card does not know gets a NAK and ends the activation."""
        if not self._active or not frame:
            return None
        self.commands.append(frame)
        if frame == _HALT:
            self._active, self._halted = False, True
            return None
        if frame[0] == _READ and len(frame) == 2 and frame[1] * _PAGE < len(self.memory):
            start = frame[1] * _PAGE
            return Answer((self.memory[start:] + self.memory)[:16])
        self._active = False
        return _NAK


def type2_tag(rng: random.Random, pages: int = 16) -> PlainCard:
    """Return an NFC Forum Type 2 tag with a 7-byte UID of an unnamed maker and an empty NDEF area."""
    uid = b"\x05" + rng.randbytes(6)
    bcc0 = 0x88 ^ uid[0] ^ uid[1] ^ uid[2]
    bcc1 = uid[3] ^ uid[4] ^ uid[5] ^ uid[6]
    head = uid[:3] + bytes([bcc0]) + uid[3:] + bytes([bcc1]) + b"\x00\x00\x00"
    capability = bytes([0xE1, 0x10, (pages - 4) * _PAGE // 8, 0x00])
    memory = (head + capability + b"\x03\x00\xfe").ljust(pages * _PAGE, b"\x00")
    return PlainCard(uid, sak=0x00, atqa=b"\x44\x00", memory=memory)


@dataclass
class PaymentApp:
    """Answers SELECT PPSE with a directory of one scheme, everything else with 6A82; it keeps what it was asked."""

    commands: list[bytes] = field(default_factory=list)

    def command(self, apdu: bytes) -> Response | None:
        """Answer one command."""
        self.commands.append(apdu)
        parts = split_apdu(apdu)
        if parts is None or parts[0] != b"\x00\xa4\x04\x00" or parts[1] != PPSE:
            return Response(SW_NOT_FOUND)
        entry = tlv(0x61, tlv(0x4F, bytes.fromhex("f0000000031010")) + tlv(0x87, b"\x01"))
        directory = b"\xbf\x0c" + bytes([len(entry)]) + entry
        return Response(tlv(0x6F, tlv(0x84, PPSE) + tlv(0xA5, directory)) + SW_OK)

    def link_lost(self) -> None:
        """Nothing is kept over a link."""


class PaymentCard(IsoDepCard):
    """A payment card: fixed UID, slow ATS with historical bytes, PPSE only."""

    def __init__(self, uid: bytes) -> None:
        self.app = PaymentApp()
        super().__init__(self.app, lambda: uid, timing=Ats(fsci=5, fwi=8, ta=0x00, historical=b"\x80\x31\x80\x66"))

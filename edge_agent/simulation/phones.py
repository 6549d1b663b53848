"""The phone of the demo and the tests: host card emulation with the tap application of the contract, version 1, mode 1.

A phone remembers what it received, so that a test can ask it. Odd and hostile behaviour is not a flag here: it is an
application of ``odd_phones`` around or instead of ``TapApp``.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.simulation.iso_dep import Ats, IsoDepCard, Response, random_uid

TAP_AID = bytes.fromhex("f05441504544474501")

SW_OK = b"\x90\x00"
SW_WRONG_LENGTH = b"\x67\x00"
SW_CONDITIONS = b"\x69\x85"
SW_NOT_FOUND = b"\x6a\x82"
SW_WRONG_P1P2 = b"\x6a\x86"
SW_NO_INSTRUCTION = b"\x6d\x00"
SW_NO_CLASS = b"\x6e\x00"

CONTRACT_VERSION = 1
NONCE_BYTES = 12


def tlv(tag: int, value: bytes) -> bytes:
    """BER-TLV with a one-byte tag and the shortest length (ISO/IEC 7816-4, 5.2.2)."""
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    elif size < 0x100:
        length = bytes([0x81, size])
    else:
        length = b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + value


def split_apdu(apdu: bytes) -> tuple[bytes, bytes] | None:
    """Return the 4-byte header and the data of a short command APDU (cases 1 to 4); None if the lengths do not fit."""
    if len(apdu) < 4:
        return None
    header, rest = apdu[:4], apdu[4:]
    if len(rest) <= 1:
        return header, b""
    if rest[0] and len(rest) in (rest[0] + 1, rest[0] + 2):
        return header, rest[1 : rest[0] + 1]
    return None


class AppEvent(StrEnum):
    """What happened to the application, for whoever watches it."""

    SELECTED = "selected"
    REFUSED = "refused"
    DELIVERED = "delivered"
    LINK_LOST = "link_lost"


@dataclass
class TapApp:
    """The app's side of the contract, section 2.

    One nonce lasts until its token arrived and the link ended after it; so a phone that was moved away too soon shows
    the same nonce again. ``watcher`` is called by the thread that owns the line: it must not block.
    """

    rng: random.Random
    sub: bytes | None = None
    aid: bytes = TAP_AID
    capabilities: int | None = None
    latency_s: float = 0.0
    locked: bool = False
    receipt: Callable[[bytes], bytes] = lambda token: token[-16:]
    """Makes the receipt (at most 32 bytes) from the token."""
    watcher: Callable[[AppEvent], None] = lambda _event: None

    def __post_init__(self) -> None:
        self.nonce = self.rng.randbytes(NONCE_BYTES)
        self.tokens: list[bytes] = []
        self.receipts: list[bytes] = []
        self.selects = 0
        self._selected = False
        self._spent = False

    def command(self, apdu: bytes) -> Response | None:
        """Answer SELECT by AID and the token command."""
        return Response(self._answer(apdu), self.latency_s)

    def link_lost(self) -> None:
        """End of the link: the selection is gone, and so is a nonce that has its token."""
        self._selected = False
        if self._spent:
            self.nonce, self._spent = self.rng.randbytes(NONCE_BYTES), False
        self.watcher(AppEvent.LINK_LOST)

    def _answer(self, apdu: bytes) -> bytes:
        parts = split_apdu(apdu)
        if parts is None:
            return SW_WRONG_LENGTH
        header, data = parts
        match header[0], header[1]:
            case 0x00, 0xA4:
                return self._select(header, data)
            case 0x80, 0x54 if self._selected:
                return self._token(header, data)
            case (0x80, 0x54):
                return SW_CONDITIONS
            case 0x00 | 0x80, _:
                return SW_NO_INSTRUCTION
        return SW_NO_CLASS

    def _select(self, header: bytes, data: bytes) -> bytes:
        self._selected = False
        if header[2:] != b"\x04\x00" or data != self.aid:
            return SW_NOT_FOUND
        self.selects += 1
        if self.locked:
            self.watcher(AppEvent.REFUSED)
            return SW_CONDITIONS
        self._selected = True
        self.watcher(AppEvent.SELECTED)
        fields = tlv(0x80, bytes([CONTRACT_VERSION])) + tlv(0x81, self.nonce)
        if self.sub is not None:
            fields += tlv(0x85, self.sub)
        if self.capabilities is not None:
            fields += tlv(0x82, bytes([self.capabilities]))
        return tlv(0x6F, tlv(0x84, self.aid) + tlv(0xA5, fields)) + SW_OK

    def _token(self, header: bytes, data: bytes) -> bytes:
        if header[2:] != b"\x00\x00":
            return SW_WRONG_P1P2
        if not data:
            return SW_WRONG_LENGTH
        receipt = self.receipt(data)
        self.tokens.append(data)
        self.receipts.append(receipt)
        self._spent = True
        self.watcher(AppEvent.DELIVERED)
        return tlv(0x86, receipt) + SW_OK


class SimulatedPhone(IsoDepCard):
    """An Android phone with the tap app: random UID at each power-up, ATS and timing of a common model."""

    def __init__(
        self,
        *,
        rng: random.Random | None = None,
        sub: bytes | None = None,
        latency_s: float = 0.0,
        locked: bool = False,
        sak: int = 0x20,
        timing: Ats | None = None,
    ) -> None:
        source = rng or random.SystemRandom()
        self.app = TapApp(source, sub=sub, latency_s=latency_s, locked=locked)
        super().__init__(self.app, random_uid(source), sak=sak, timing=timing or Ats())

    @property
    def nonce(self) -> bytes:
        """The nonce that the next SELECT shows."""
        return self.app.nonce

    @property
    def tokens(self) -> list[bytes]:
        """Every token received so far, in order."""
        return self.app.tokens

    @property
    def receipts(self) -> list[bytes]:
        """The receipts given for them."""
        return self.app.receipts

"""Block-level facts of ISO/IEC 14443-4 that the reader's library takes for granted and phones do not. Pure."""

from dataclasses import dataclass

CARRIER_HZ = 13.56e6

# 5.2.3 and 5.2.5: the defaults where the ATS does not say otherwise: frames of 32 bytes, FWT of 4.8 ms, no guard time.
_DEFAULT_FSCI = 2
_DEFAULT_FWI = 4
_DEFAULT_SFGI = 0
_RFU = 15
_TA_FOLLOWS, _TB_FOLLOWS, _TC_FOLLOWS = 0x10, 0x20, 0x40

_RATS = 0xE0
# 7.1.1.3: S-block with b6 b5 = 11 asks for a waiting time extension; b4 = 0: no CID follows.
_S_WTX = 0xF2
# 7.3: WTXM is 1 to 59; 0 and 60 to 63 are RFU.
_WTXM = range(1, 60)


@dataclass(frozen=True, slots=True)
class Ats:
    """Answer to select: frame size index, frame waiting index, start-up frame guard index."""

    fsci: int = _DEFAULT_FSCI
    fwi: int = _DEFAULT_FWI
    sfgi: int = _DEFAULT_SFGI

    @property
    def guard_s(self) -> float:
        """SFGT: seconds that the card needs before the first block (5.2.5); 0 where it needs none."""
        return 4096 / CARRIER_HZ * float(2**self.sfgi) if self.sfgi else 0.0

    @property
    def waiting_s(self) -> float:
        """FWT: seconds within which the card answers (7.2)."""
        return 4096 / CARRIER_HZ * float(2**self.fwi)

    def canonical(self) -> bytes:
        """Encode with every interface byte present: the only form that a fixed-position reader understands."""
        return bytes([0x05, 0x70 | self.fsci, 0x00, self.fwi << 4 | self.sfgi, 0x00])


def is_rats(frame: bytes) -> bool:
    """Whether a frame of the reader is RATS (5.1)."""
    return len(frame) == 2 and frame[0] == _RATS


def parse_ats(frame: bytes) -> Ats:
    """Read an ATS of any legal form, one byte included (5.2); raises ValueError.

    TL alone means all defaults, and TA, TB and TC are there only where T0 says so.
    """
    if not frame or not 1 <= frame[0] <= len(frame):
        raise ValueError("ATS is shorter than its length byte says")
    fields = bytes(frame[1 : frame[0]])
    if not fields:
        return Ats()
    t0, rest = fields[0], fields[1:]
    announced = sum(1 for bit in (_TA_FOLLOWS, _TB_FOLLOWS, _TC_FOLLOWS) if t0 & bit)
    if announced > len(rest):
        raise ValueError("ATS announces interface bytes that are not there")
    fsci = min(t0 & 0x0F, 8)
    if not t0 & _TB_FOLLOWS:
        return Ats(fsci=fsci)
    tb = rest[1 if t0 & _TA_FOLLOWS else 0]
    fwi, sfgi = tb >> 4, tb & 0x0F
    # 5.2.5: a PCD that receives the RFU value 15 takes the default.
    return Ats(
        fsci=fsci,
        fwi=_DEFAULT_FWI if fwi == _RFU else fwi,
        sfgi=_DEFAULT_SFGI if sfgi == _RFU else sfgi,
    )


def wtx_multiplier(block: bytes) -> int | None:
    """Return WTXM of an S(WTX) block, None of any other block; raises ValueError on a multiplier out of range."""
    if len(block) < 1 or block[0] != _S_WTX:
        return None
    if len(block) != 2 or block[1] & 0x3F not in _WTXM:
        raise ValueError("S(WTX) with a multiplier out of range")
    return block[1] & 0x3F


def wtx_answer(multiplier: int) -> bytes:
    """Encode the S(WTX) response: same multiplier, power level bits zero (7.3)."""
    return bytes([_S_WTX, multiplier])

"""The two APDUs of a tap (contract, section 2): ISO/IEC 7816-4 short commands, responses, BER-TLV answers. Pure.

What a phone sends is hostile until proven otherwise: every length is checked and capped, and bad bytes raise ApduError
and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# ISO/IEC 7816-4, 5.1: a short Lc is one byte, 1 to 255.
MAX_COMMAND_DATA = 255
# ISO/IEC 7816-4, 5.1: a short Le of 00 stands for 256.
MAX_RESPONSE_DATA = 256
RECEIPT_MAX_BYTES = 32
NONCE_BYTES = range(8, 17)
SUB_BYTES = range(8, 13)
AID_BYTES = range(5, 17)

SW_OK = 0x9000
SW_NOT_FOUND = 0x6A82

_LE_MAX = b"\x00"
_HEADER_BYTES = 5  # CLA INS P1 P2 Lc
_MAX_TAG_BYTES = 3
_FCI = 0x6F
_DF_NAME = 0x84
_PROPRIETARY = 0xA5
_VERSION, _NONCE, _CAPABILITIES, _SUB = 0x80, 0x81, 0x82, 0x85
_RECEIPT = 0x86


class ApduFault(StrEnum):
    """What is wrong with the bytes."""

    TRUNCATED = "truncated"
    OVERSIZE = "oversize"
    INDEFINITE = "indefinite"
    DUPLICATE = "duplicate"
    MISSING = "missing"
    LENGTH = "length"
    UNEXPECTED = "unexpected"


class ApduError(ValueError):
    """Bytes that are no APDU or answer of the contract; ``fault`` is the kind, the text names the field."""

    def __init__(self, fault: ApduFault, text: str) -> None:
        super().__init__(f"{fault}: {text}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Response:
    """Response APDU: data field (0 to 256 bytes) and status word SW1-SW2."""

    data: bytes
    sw: int


@dataclass(frozen=True, slots=True)
class PhoneApplication:
    """What the app says in its answer to SELECT; ``capabilities`` is one byte, 0 where the app gave none."""

    version: int
    nonce: bytes
    sub: bytes | None = None
    capabilities: int = 0


def select(aid: bytes) -> bytes:
    """Encode SELECT by DF name, first or only occurrence, Le = 00 (ISO/IEC 7816-4, 11.2.2)."""
    if len(aid) not in AID_BYTES:
        raise ApduError(ApduFault.LENGTH, f"an AID has 5 to 16 bytes, not {len(aid)}")
    return _short(0x00, 0xA4, 0x04, 0x00, aid)


def selected(command: bytes) -> bytes:
    """Return the AID of a command that `select` made."""
    return command[_HEADER_BYTES : _HEADER_BYTES + command[_HEADER_BYTES - 1]]


def deliver_token(token: bytes) -> bytes:
    """Encode the command that hands the token to the app: `80 54 00 00 Lc token 00`."""
    return _short(0x80, 0x54, 0x00, 0x00, token)


def parse_response(raw: bytes) -> Response:
    """Split a response APDU into data and status word. Raises ApduError."""
    if len(raw) < 2:
        raise ApduError(ApduFault.TRUNCATED, f"response of {len(raw)} bytes has no status word")
    if len(raw) > MAX_RESPONSE_DATA + 2:
        raise ApduError(ApduFault.OVERSIZE, f"response of {len(raw)} bytes to a short command")
    return Response(bytes(raw[:-2]), int.from_bytes(raw[-2:], "big"))


def parse_application(data: bytes, aid: bytes) -> PhoneApplication:
    """Parse the FCI `6F{84 AID, A5{80 version, 81 nonce, 85 sub, 82 capabilities}}` that answered SELECT of ``aid``.

    Unknown tags are skipped; a known tag that comes twice, lacks or has a wrong length is refused. Raises ApduError.
    """
    outer = _fields(data, {_FCI}, "answer")
    fci = _fields(_required(outer, _FCI, "6F"), {_DF_NAME, _PROPRIETARY}, "6F")
    if _required(fci, _DF_NAME, "84") != aid:
        raise ApduError(ApduFault.UNEXPECTED, "84 names another application than the selected one")
    inner = _fields(_required(fci, _PROPRIETARY, "A5"), {_VERSION, _NONCE, _SUB, _CAPABILITIES}, "A5")
    version = _sized(_required(inner, _VERSION, "80"), range(1, 2), "80 version")
    nonce = _sized(_required(inner, _NONCE, "81"), NONCE_BYTES, "81 nonce")
    sub = inner.get(_SUB)
    capabilities = inner.get(_CAPABILITIES)
    return PhoneApplication(
        version=version[0],
        nonce=nonce,
        sub=None if sub is None else _sized(sub, SUB_BYTES, "85 sub"),
        capabilities=0 if capabilities is None else _sized(capabilities, range(1, 2), "82 capabilities")[0],
    )


def parse_receipt(data: bytes) -> bytes | None:
    """Parse the answer to the token, `[86 receipt]`; None without one. Raises ApduError."""
    receipt = _fields(data, {_RECEIPT}, "answer").get(_RECEIPT)
    return None if receipt is None else _sized(receipt, range(RECEIPT_MAX_BYTES + 1), "86 receipt")


def _short(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
    if not 1 <= len(data) <= MAX_COMMAND_DATA:
        raise ApduError(ApduFault.LENGTH, f"a short command carries 1 to 255 bytes, not {len(data)}")
    return bytes([cla, ins, p1, p2, len(data)]) + data + _LE_MAX


def _fields(data: bytes, known: set[int], where: str) -> dict[int, bytes]:
    """Collect the known data objects of one level; the others are walked over, their lengths checked."""
    found: dict[int, bytes] = {}
    for tag, value in _objects(data):
        if tag not in known:
            continue
        if tag in found:
            raise ApduError(ApduFault.DUPLICATE, f"{tag:02X} comes twice in {where}")
        found[tag] = value
    return found


def _objects(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the BER-TLV data objects of one level (ISO/IEC 7816-4, 5.2.2)."""
    if len(data) > MAX_RESPONSE_DATA:
        raise ApduError(ApduFault.OVERSIZE, f"{len(data)} bytes in the answer to a short command")
    at = 0
    while at < len(data):
        tag, at = _tag(data, at)
        length, at = _length(data, at)
        if length > len(data) - at:
            raise ApduError(ApduFault.TRUNCATED, f"{tag:02X} announces {length} bytes, {len(data) - at} are there")
        yield tag, data[at : at + length]
        at += length


def _tag(data: bytes, at: int) -> tuple[int, int]:
    # 5.2.2.1: b5 to b1 of the first byte all 1: the tag goes on until a byte with b8 = 0.
    end = at + 1
    if data[at] & 0x1F == 0x1F:
        while end < len(data) and data[end] & 0x80:
            end += 1
        end += 1
    if end - at > _MAX_TAG_BYTES:
        raise ApduError(ApduFault.OVERSIZE, "a tag of more than 3 bytes")
    if end > len(data):
        raise ApduError(ApduFault.TRUNCATED, "a tag ends early")
    return int.from_bytes(data[at:end], "big"), end


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise ApduError(ApduFault.TRUNCATED, "a length is missing")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    if first == 0x80:
        # 5.2.2.2: the first length byte 80 is not allowed, there is no indefinite length.
        raise ApduError(ApduFault.INDEFINITE, "indefinite length")
    size = first & 0x7F
    if size > 2:
        raise ApduError(ApduFault.OVERSIZE, f"a length of {size} bytes")
    if at + 1 + size > len(data):
        raise ApduError(ApduFault.TRUNCATED, "a length ends early")
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def _required(fields: dict[int, bytes], tag: int, name: str) -> bytes:
    value = fields.get(tag)
    if value is None:
        raise ApduError(ApduFault.MISSING, f"no {name}")
    return value


def _sized(value: bytes, sizes: range, name: str) -> bytes:
    if len(value) not in sizes:
        raise ApduError(ApduFault.LENGTH, f"{name} has {len(value)} bytes")
    return value

"""What a terminal asks for: its names, the CSR of its TLS key, its signing key, and proof that it holds both.

One value in two forms: JSON for a file and MQTT, and one line of base32 for a QR code or a phone call's chat. It holds
nothing secret.
"""

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.enrolment.x509 import CertificateError, SigningRequest, parse_signing_request
from edge_agent.errors import TokenError
from edge_agent.strict_json import (
    WireError,
    dump_object,
    load_object,
    take_hex,
    take_int,
    take_object,
    take_text,
)
from edge_agent.tokens import cbor
from edge_agent.tokens.keys import PublicKey

FORMAT = "tap-enrol-request/1"
LINE_PREFIX = "TAPREQ1:"
MAX_BYTES = 4096
MAX_LINE = 2048
ID_BYTES = 8
_CONTEXT = b"tap-enrol/v1\0"
_UNIX_MAX = 2**40
_MAX_CSR = 1024
_NAME = re.compile("[a-z0-9-]{1,24}")
_SIGNATURE = 64

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose every signature holds. ``id`` is the same until it is answered."""

    id: bytes
    terminal: str
    fleet: str
    serial: str
    """What the board says; empty where it says nothing of worth."""
    created: int
    """Unix seconds, by a clock that may not be set."""
    csr: bytes
    """PKCS#10, DER."""
    tap_key: PublicKey
    proof: bytes
    """By the signing key, over ``signed``."""
    previous: bytes = b""
    """kid of the signing key before, where this request changes it."""
    endorsement: bytes = b""
    """By that key, over ``signed``: it says that the new one is its heir."""

    @property
    def signed(self) -> bytes:
        """What the proofs are over: a context and a deterministic CBOR array; the CSR holds terminal and fleet."""
        return _CONTEXT + cbor.encode([self.id, self.created, self.serial, self.csr, self.tap_key.cose_key()])

    def proven(self, sign: Sign) -> "Request":
        """Return a copy with the proof of possession."""
        return replace(self, proof=sign(self.signed))

    def endorsed(self, previous: bytes, sign: Sign) -> "Request":
        """Return a copy that the signing key before, of the kid ``previous``, vouches for."""
        return replace(self, previous=previous, endorsement=sign(self.signed))

    def to_json(self) -> bytes:
        """Return the JSON form, one line."""
        known = self.tap_key.registration()
        value: dict[str, object] = {
            "format": FORMAT,
            "id": self.id.hex(),
            "terminal": self.terminal,
            "fleet": self.fleet,
            "serial": self.serial,
            "created": self.created,
            "csr": base64.b64encode(self.csr).decode("ascii"),
            "tap_key": {name: known[name] for name in ("kid", "alg", "public_cose_hex")},
            "proof": self.proof.hex(),
        }
        if self.endorsement:
            value["previous"] = {"kid": self.previous.hex(), "proof": self.endorsement.hex()}
        return dump_object(value, max_bytes=MAX_BYTES)

    def to_line(self) -> str:
        """Return the short form: upper case letters, digits and a colon, which a QR code packs best."""
        parts: list[object] = [self.id, self.created, self.serial, self.csr, self.tap_key.cose_key(), self.proof]
        if self.endorsement:
            parts += [self.previous, self.endorsement]
        return LINE_PREFIX + base64.b32encode(cbor.encode(parts)).decode("ascii").rstrip("=")


def parse_request(data: bytes) -> Request:
    """Read either form and check every signature; raises WireError with one line that says what is wrong."""
    if len(data) > MAX_BYTES:
        raise WireError(f"a request of {len(data)} bytes, at most {MAX_BYTES} are allowed")
    text = data.strip()
    if text[: len(LINE_PREFIX)].upper() == LINE_PREFIX.encode():
        return _checked(_from_line(text))
    return _checked(_from_json(text))


def _from_json(data: bytes) -> Request:
    value = load_object(data, max_bytes=MAX_BYTES)
    if value.get("format") != FORMAT:
        raise WireError(f"format is not {FORMAT}")
    shown = take_object(value, "tap_key")
    before = take_object(value, "previous") if "previous" in value else None
    try:
        csr = base64.b64decode(take_text(value, "csr", longest=2 * _MAX_CSR), validate=True)
        key = PublicKey.from_cose(bytes.fromhex(take_text(shown, "public_cose_hex", longest=512)))
    except (ValueError, TokenError):  # binascii.Error is a ValueError
        raise WireError("csr is not base64, or tap_key is no COSE_Key") from None
    if take_text(shown, "kid", longest=16) != key.kid.hex():
        raise WireError("tap_key.kid is not the key's")
    request = Request(
        id=take_hex(value, "id", size=ID_BYTES),
        terminal=take_text(value, "terminal", longest=24),
        fleet=take_text(value, "fleet", longest=24),
        serial=take_text(value, "serial", longest=64, shortest=0),
        created=take_int(value, "created", lowest=0, highest=_UNIX_MAX),
        csr=csr,
        tap_key=key,
        proof=take_hex(value, "proof", size=_SIGNATURE),
        previous=b"" if before is None else take_hex(before, "kid", size=8),
        endorsement=b"" if before is None else take_hex(before, "proof", size=_SIGNATURE),
    )
    asked = _csr(csr)
    if (asked.terminal, asked.fleet) != (request.terminal, request.fleet):
        raise WireError("the CSR is for another terminal or fleet")
    return request


def _from_line(text: bytes) -> Request:
    body = b"".join(text[len(LINE_PREFIX) :].upper().split())
    if len(body) > MAX_LINE:
        raise WireError(f"a line of {len(body)} characters, at most {MAX_LINE} are allowed")
    try:
        parts = cbor.decode(base64.b32decode(body + b"=" * (-len(body) % 8)), MAX_LINE)
    except (binascii.Error, TokenError):
        raise WireError("not a whole request: base32 or CBOR is damaged") from None
    kinds = [bytes, int, str, bytes, bytes, bytes, bytes, bytes]
    if not isinstance(parts, list) or len(parts) not in (6, 8):
        raise WireError("not the six or eight parts of a request")
    if any(type(part) is not kind for part, kind in zip(parts, kinds, strict=False)):
        raise WireError("a part of the request is of the wrong type")
    id_, created, serial, csr, cose, proof, previous, endorsement = [*parts, b"", b""][:8]
    sizes = (len(id_), len(proof), len(previous), len(endorsement))
    if sizes not in ((ID_BYTES, _SIGNATURE, 0, 0), (ID_BYTES, _SIGNATURE, 8, _SIGNATURE)):
        raise WireError("a part of the request has the wrong length")
    if not 0 <= created <= _UNIX_MAX:
        raise WireError("created is out of range")
    take_text({"serial": serial}, "serial", longest=64, shortest=0)
    asked = _csr(csr)
    try:
        key = PublicKey.from_cose(cose)
    except TokenError as error:
        raise WireError(error.text) from None
    return Request(id_, asked.terminal, asked.fleet, serial, created, csr, key, proof, previous, endorsement)


def _csr(der: bytes) -> SigningRequest:
    if len(der) > _MAX_CSR:
        raise WireError(f"a CSR of {len(der)} bytes, at most {_MAX_CSR} are allowed")
    try:
        return parse_signing_request(der)
    except CertificateError as error:
        raise WireError(error.text) from None


def _checked(request: Request) -> Request:
    for name, value in (("terminal", request.terminal), ("fleet", request.fleet)):
        if not _NAME.fullmatch(value):
            raise WireError(f"{name} is not 1 to 24 of a-z, 0-9 and '-'")
    if not request.tap_key.verify(request.proof, request.signed):
        raise WireError("the proof is not by the signing key that the request names")
    return request

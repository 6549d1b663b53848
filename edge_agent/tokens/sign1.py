"""The signed envelope: COSE_Sign1 (RFC 9052, 4.2) with exactly the headers ``{1: alg, 4: kid}``. Pure.

Tap tokens, checkpoints and gap records share it; what keeps them apart is the external_aad. It must never choose a
key: who verifies looks the key up by kid and pins its algorithm.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from edge_agent.errors import TokenError
from edge_agent.tokens import cbor

KID_BYTES = 8
SIGNATURE_BYTES = 64
LINK_BYTES = 16
NAME = re.compile(r"[a-z0-9-]{1,24}", re.ASCII)
"""Fleet and terminal ids: one MQTT topic level, safe in file names and logs."""

_HEADER_ALG, _HEADER_KID = 1, 4
# RFC 9052, 4.4: Sig_structure = ["Signature1", body_protected, external_aad, payload].
_SIG_STRUCTURE = b"\x84\x6aSignature1"


class Alg(IntEnum):
    """COSE algorithms of the contract (RFC 9053, 2.1 and 2.2); both have 64-byte signatures."""

    EDDSA = -8
    ES256 = -7


class Signer(Protocol):
    """A private key wherever it lives: file, secure element, PKCS#11."""

    @property
    def kid(self) -> bytes:
        """First 8 bytes of the SHA-256 COSE Key Thumbprint."""

    @property
    def alg(self) -> Alg:
        """The one algorithm of this key."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature; raw r || s for ES256."""


class Verifier(Protocol):
    """A public key."""

    @property
    def alg(self) -> Alg:
        """The one algorithm of this key."""

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature is right."""


@dataclass(frozen=True, slots=True)
class Sign1:
    """A parsed envelope whose signature was not looked at yet."""

    kid: bytes
    alg: Alg
    protected: bytes
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def to_be_signed(self, aad: bytes) -> bytes:
        """Return the Sig_structure (RFC 9052, 4.4) for this external_aad."""
        return _SIG_STRUCTURE + cbor.bstr(self.protected) + cbor.bstr(aad) + cbor.bstr(self.payload)

    def verified_by(self, key: Verifier, aad: bytes) -> bool:
        """Whether the key made this signature over this external_aad; a key's algorithm is pinned."""
        return key.alg is self.alg and key.verify(self.signature, self.to_be_signed(aad))


def stream_aad(fleet: str, terminal: str) -> bytes:
    """Return ``tap/v1/{fleet}/{terminal}`` in UTF-8: what ties a token to one terminal's stream.

    Raises TokenError if one of them is not 1-24 of ``[a-z0-9-]``.
    """
    for what, name in (("fleet", fleet), ("terminal", terminal)):
        if not NAME.fullmatch(name):
            raise TokenError(f"{what} id is not 1-24 of a-z, 0-9 and hyphen", verdict="wrong_stream")
    return f"tap/v1/{fleet}/{terminal}".encode()


def envelope_sealer(key: Signer, aad: bytes) -> Callable[[bytes], bytes]:
    """Return a function that wraps and signs a payload; all that stays the same is computed once, here."""
    protected = cbor.bstr(cbor.encode({_HEADER_ALG: int(key.alg), _HEADER_KID: key.kid}))
    to_sign = _SIG_STRUCTURE + protected + cbor.bstr(aad)
    opening = b"\xd2\x84" + protected + b"\xa0"
    sign = key.sign

    def wrap(payload: bytes) -> bytes:
        content = cbor.bstr(payload)
        return opening + content + cbor.bstr(sign(to_sign + content))

    return wrap


def parse_envelope(data: bytes, max_bytes: int) -> Sign1:
    """Read ``18([protected, {}, payload, signature])``; raises TokenError(malformed)."""
    outer = cbor.decode(data, max_bytes)
    if not isinstance(outer, cbor.Tagged) or not isinstance(outer.value, list) or len(outer.value) != 4:
        raise TokenError("not a COSE_Sign1: tag 18 with an array of four is expected")
    protected, unprotected, payload, signature = outer.value
    if unprotected != {} or not isinstance(unprotected, dict):
        raise TokenError("the unprotected header must be an empty map")
    if not isinstance(protected, bytes) or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise TokenError("protected header, payload and signature must be byte strings")
    if len(signature) != SIGNATURE_BYTES:
        raise TokenError(f"a signature of {len(signature)} bytes, {SIGNATURE_BYTES} are expected")
    kid, alg = _headers(protected)
    return Sign1(kid=kid, alg=alg, protected=protected, payload=payload, signature=signature)


def _headers(protected: bytes) -> tuple[bytes, Alg]:
    header = cbor.decode(protected, max_bytes=64)
    if not isinstance(header, dict) or header.keys() != {_HEADER_ALG, _HEADER_KID}:
        raise TokenError("the protected header must hold alg and kid and nothing else")
    alg, kid = header[_HEADER_ALG], header[_HEADER_KID]
    if type(alg) is not int or alg not in (Alg.EDDSA, Alg.ES256):
        raise TokenError("alg must be -8 (EdDSA) or -7 (ES256)")
    if not isinstance(kid, bytes) or len(kid) != KID_BYTES:
        raise TokenError(f"kid must be {KID_BYTES} bytes")
    return kid, Alg(alg)


def link_hash(token: bytes) -> bytes:
    """Return what the next token's ``prev`` must be: the first 16 bytes of SHA-256 over the whole token."""
    return hashlib.sha256(token).digest()[:LINK_BYTES]


class Fields:
    """Typed access to a decoded map; every complaint names the claim. Unknown keys are left alone."""

    __slots__ = ("_map", "_names")

    def __init__(self, value: Any, what: str, names: dict[int, str]) -> None:
        if not isinstance(value, dict):
            raise TokenError(f"{what} must be a map")
        self._map: dict[Any, Any] = value
        self._names = names

    def has(self, key: int) -> bool:
        """Whether the key is there."""
        return key in self._map

    def raw(self, key: int) -> Any:
        """Return the value; raises TokenError if it is missing."""
        if key not in self._map:
            raise TokenError(f"{self._names[key]} is missing")
        return self._map[key]

    def uint(self, key: int, high: int, low: int = 0) -> int:
        """Return an integer from low to high."""
        value = self.raw(key)
        if type(value) is not int or not low <= value <= high:
            raise TokenError(f"{self._names[key]} must be an integer from {low} to {high}")
        return value

    def bytes_(self, key: int, low: int, high: int | None = None) -> bytes:
        """Return a byte string of low to high bytes (exactly low if high is left out)."""
        value = self.raw(key)
        most = low if high is None else high
        if not isinstance(value, bytes) or not low <= len(value) <= most:
            size = f"{low}" if low == most else f"{low} to {most}"
            raise TokenError(f"{self._names[key]} must be a byte string of {size} bytes")
        return value

    def text(self, key: int, most: int, pattern: re.Pattern[str] | None = None) -> str:
        """Return text of 1 to ``most`` UTF-8 bytes that matches the pattern as a whole."""
        value = self.raw(key)
        if not isinstance(value, str) or not 1 <= len(value.encode()) <= most:
            raise TokenError(f"{self._names[key]} must be text of 1 to {most} bytes")
        if pattern is not None and not pattern.fullmatch(value):
            raise TokenError(f"{self._names[key]} has characters that are not allowed")
        return value

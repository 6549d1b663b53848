"""Ed25519 and P-256 keys as COSE keys: the only module that talks to the cryptography library.

A private key has no text form and is not pickled; it must never reach a log, an exception or a child process.
"""

import base64
import hashlib
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from edge_agent.errors import TokenError
from edge_agent.tokens import cbor
from edge_agent.tokens.sign1 import KID_BYTES, SIGNATURE_BYTES, Alg

MAX_COSE_KEY_BYTES = 256
_COORDINATE = 32
# RFC 9052, 7.1 and RFC 9053, 7.1 and 7.2: labels and values of a COSE_Key.
_KTY, _KID, _ALG, _CRV, _X, _Y = 1, 2, 3, -1, -2, -3
_KTY_OKP, _KTY_EC2, _CRV_P256, _CRV_ED25519 = 1, 2, 1, 6
_ES256 = ec.ECDSA(hashes.SHA256())
# SEC 2, 2.4.2: the order n of P-256. Beside (r, s) also (r, n - s) verifies; a token's is the one with the smaller s.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_HALF = _P256_ORDER // 2

_PublicImpl = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
_PrivateImpl = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class PublicKey:
    """A verification key; ``kid`` is the first 8 bytes of its SHA-256 COSE Key Thumbprint (RFC 9679)."""

    __slots__ = ("_key", "_x", "_y", "alg", "kid")

    def __init__(self, key: _PublicImpl) -> None:
        self._key = key
        if isinstance(key, ed25519.Ed25519PublicKey):
            self.alg = Alg.EDDSA
            self._x, self._y = key.public_bytes_raw(), b""
        elif isinstance(key.curve, ec.SECP256R1):
            self.alg = Alg.ES256
            numbers = key.public_numbers()
            self._x, self._y = numbers.x.to_bytes(_COORDINATE, "big"), numbers.y.to_bytes(_COORDINATE, "big")
        else:
            raise TokenError(f"curve {key.curve.name} is not in the contract, only Ed25519 and P-256 are")
        self.kid = self.thumbprint()[:KID_BYTES]

    def __repr__(self) -> str:
        return f"PublicKey({self.alg.name}, kid={self.kid.hex()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and (self._x, self._y) == (other._x, other._y)

    def __hash__(self) -> int:
        return hash(self.kid)

    def _required(self) -> dict[int, int | bytes]:
        """The parameters that make the key (RFC 9679, 4): kty, crv, x and, for P-256, y."""
        if self.alg is Alg.EDDSA:
            return {_KTY: _KTY_OKP, _CRV: _CRV_ED25519, _X: self._x}
        return {_KTY: _KTY_EC2, _CRV: _CRV_P256, _X: self._x, _Y: self._y}

    def thumbprint(self) -> bytes:
        """Return the whole SHA-256 COSE Key Thumbprint: over kty, crv, x (and y) only (RFC 9679, 3 and 4)."""
        return hashlib.sha256(cbor.encode(self._required())).digest()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the 64-byte signature (ES256: raw r || s, RFC 9053, 2.1) over data is this key's, in its one form."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                r, s = int.from_bytes(signature[:_COORDINATE], "big"), int.from_bytes(signature[_COORDINATE:], "big")
                if s > _P256_HALF:
                    return False
                self._key.verify(encode_dss_signature(r, s), data, _ES256)
        except InvalidSignature:
            return False
        return True

    def cose_key(self) -> bytes:
        """Return the COSE_Key in deterministic CBOR: kty, kid, alg and the public parameters."""
        return cbor.encode({**self._required(), _KID: self.kid, _ALG: int(self.alg)})

    def registration(self) -> dict[str, object]:
        """What the cloud's key registry needs, as `keys show --json` prints it: kid, alg, JWK and COSE_Key."""
        jwk = self.jwk()
        return {
            "kid": self.kid.hex(),
            "alg": jwk["alg"],
            "public_jwk": jwk,
            "public_cose_hex": self.cose_key().hex(),
        }

    def jwk(self) -> dict[str, str]:
        """Return the JWK (RFC 7517, RFC 8037); its kid is ours in hex, as everywhere in JSON."""
        if self.alg is Alg.EDDSA:
            key = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(self._x), "alg": "EdDSA"}
        else:
            key = {"kty": "EC", "crv": "P-256", "x": _base64url(self._x), "y": _base64url(self._y), "alg": "ES256"}
        return {**key, "kid": self.kid.hex(), "use": "sig"}

    @classmethod
    def from_cose(cls, data: bytes) -> "PublicKey":
        """Read a COSE_Key; its kid and alg, where present, must be the ones that follow from the key.

        Raises TokenError.
        """
        key = cbor.decode(data, MAX_COSE_KEY_BYTES)
        if not isinstance(key, dict):
            raise TokenError("a COSE_Key must be a map")
        public = cls(_public_from(key))
        if key.get(_KID, public.kid) != public.kid:
            raise TokenError(f"the kid of the COSE_Key is not its thumbprint {public.kid.hex()}")
        if key.get(_ALG, int(public.alg)) != public.alg:
            raise TokenError("the alg of the COSE_Key does not belong to its curve")
        return public


class PrivateKey:
    """A software signing key: Ed25519 on terminals; P-256 stands in for a secure element in tests and vectors."""

    __slots__ = ("_key", "alg", "kid", "public")

    def __init__(self, key: _PrivateImpl) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())
        self.kid = self.public.kid
        self.alg = self.public.alg

    def __repr__(self) -> str:
        return f"PrivateKey({self.alg.name}, kid={self.kid.hex()}, hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not serialised")

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature; ES256 is deterministic (RFC 6979), raw r || s, with s at most n / 2."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        der = self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        s = min(s, _P256_ORDER - s)
        return r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")

    def pkcs8_pem(self) -> bytes:
        """Return the unencrypted PKCS#8 PEM (RFC 5958): for the key file and nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Make a new Ed25519 key from the kernel's random source."""
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def from_ed25519_seed(cls, seed: bytes) -> "PrivateKey":
        """Return the Ed25519 key of a 32-byte seed (RFC 8032, 5.1.5): published test keys."""
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_p256_scalar(cls, scalar: int) -> "PrivateKey":
        """Return the P-256 key of a private scalar: published test keys."""
        return cls(ec.derive_private_key(scalar, ec.SECP256R1()))

    @classmethod
    def from_pkcs8_pem(cls, pem: bytes) -> "PrivateKey":
        """Read an unencrypted Ed25519 PKCS#8 PEM; raises TokenError without quoting any of it."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise TokenError("the key is encrypted with a pass phrase") from None
        except (ValueError, UnsupportedAlgorithm):
            # The library's text is dropped on purpose: it may describe parts of the key.
            raise TokenError("not a complete PKCS#8 PEM private key") from None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise TokenError("not an Ed25519 key")
        return cls(key)


def _public_from(key: dict[object, object]) -> _PublicImpl:
    kind = (key.get(_KTY), key.get(_CRV))
    try:
        if kind == (_KTY_OKP, _CRV_ED25519):
            return ed25519.Ed25519PublicKey.from_public_bytes(_coordinate(key, _X))
        if kind == (_KTY_EC2, _CRV_P256):
            x, y = int.from_bytes(_coordinate(key, _X), "big"), int.from_bytes(_coordinate(key, _Y), "big")
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise TokenError("the COSE_Key is not a point of its curve") from None
    raise TokenError("the COSE_Key is neither Ed25519 (kty 1, crv 6) nor P-256 (kty 2, crv 1)")


def _coordinate(key: dict[object, object], label: int) -> bytes:
    value = key.get(label)
    if not isinstance(value, bytes) or len(value) != _COORDINATE:
        raise TokenError(f"parameter {label} of the COSE_Key must be {_COORDINATE} bytes")
    return value


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

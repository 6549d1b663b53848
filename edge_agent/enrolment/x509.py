"""X.509 on a terminal: read certificates, make the TLS key and its request, hold an answer against them.

The enrolment's only importer of the cryptography library. It reads public facts; a private key has no text form here
but its PEM for the key file.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.errors import EdgeAgentError
from edge_agent.sanitize import printable
from edge_agent.small_file import read_small

MAX_PEM_BYTES = 256 * 1024
"""A bundle of authorities may be as large as the system's; a chain is a few KiB."""
MAX_CHAIN = 8
_NAME_LIMIT = 160
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises over damaged or odd bytes."""


class CertificateError(EdgeAgentError):
    """A certificate, request or TLS key that cannot be used; the text is one line."""

    code = "certificate"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The public facts of one X.509 certificate. Times are Unix seconds; names are RFC 4514 text, made printable."""

    subject: str
    issuer: str
    common_name: str
    """The subject's CN; empty where it has none or several."""
    not_before: int
    not_after: int
    """The last second at which it is valid (RFC 5280, 4.1.2.5)."""
    fingerprint: str
    """SHA-256 over the DER, lowercase hex."""
    is_ca: bool
    public_key: bytes = field(repr=False)
    """SubjectPublicKeyInfo, DER."""
    raw: x509.Certificate = field(repr=False, compare=False)

    def is_valid_at(self, now: float) -> bool:
        """Whether ``now`` (Unix seconds) lies in its validity."""
        return self.not_before <= now < self.not_after + 1

    def days_left(self, now: float) -> int:
        """Whole days until it ends; negative once it has ended."""
        return int((self.not_after + 1 - now) // 86_400)


def read_certificates(path: Path) -> tuple[Certificate, ...]:
    """Read a PEM file, in its order: of a terminal's chain the first one is its own. Raises CertificateError."""
    try:
        data, _ = read_small(path, MAX_PEM_BYTES)
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read: {error.strerror}", remedy="check the path, and who may read it"
        ) from None
    if len(data) > MAX_PEM_BYTES:
        raise CertificateError(f"{path} is larger than {MAX_PEM_BYTES // 1024} KiB", remedy="name a PEM file")
    try:
        return parse_certificates(data)
    except CertificateError as error:
        raise CertificateError(f"{path}: {error.text}", remedy="put the PEM file of the certificate there") from None


def parse_certificates(pem: bytes) -> tuple[Certificate, ...]:
    """Read at least one PEM certificate; raises CertificateError."""
    try:
        with _quiet():
            return tuple(_facts(found) for found in x509.load_pem_x509_certificates(pem))
    except _UNREADABLE:
        raise CertificateError("holds no complete PEM certificate, or a damaged one") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings over odd names: a peer's bytes have no place on a terminal's standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _facts(found: x509.Certificate) -> Certificate:
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        subject=printable(found.subject.rfc4514_string(), _NAME_LIMIT),
        issuer=printable(found.issuer.rfc4514_string(), _NAME_LIMIT),
        common_name=str(names[0].value) if len(names) == 1 else "",
        not_before=int(found.not_valid_before_utc.timestamp()),
        not_after=int(found.not_valid_after_utc.timestamp()),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
        is_ca=_is_ca(found),
        public_key=_public_der(found.public_key()),
        raw=found,
    )


def _is_ca(found: x509.Certificate) -> bool:
    """Basic constraints say cA, and a key usage, where there is one, keyCertSign (RFC 5280, 4.2.1.3 and 4.2.1.9)."""
    try:
        if not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return found.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def hosts_of(found: Certificate) -> tuple[str, ...]:
    """Return the host names and addresses that it is for (RFC 6125: its subject alternative names), made printable."""
    try:
        names = found.raw.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return tuple(printable(host, _NAME_LIMIT) for host in hosts)


def check_chain(chain: Sequence[Certificate], authorities: Sequence[Certificate], now: float | None) -> None:
    """Hold a client's chain, leaf first, against the authorities; raises CertificateError with the reason.

    Signatures, names, cA, path length (RFC 5280, 6.1) and the purpose clientAuth. With ``now`` None, for a clock that
    is not set, validity is not looked at. Revocation is the broker's business.
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise CertificateError(f"a chain of {len(chain)} certificates, 1 to {MAX_CHAIN} are allowed")
    leaf = chain[0]
    if leaf.is_ca:
        raise CertificateError("the first certificate of the chain is an authority's, not a terminal's")
    _check_purpose(leaf)
    below = leaf
    for depth, issuer in enumerate(chain[1:]):
        _check_issued(below, issuer, depth)
        below = issuer
    last = len(chain) - 1
    anchors = [found for found in authorities if found.is_ca and found.raw == below.raw]
    for found in [] if anchors else authorities:
        try:
            _check_issued(below, found, last)
        except CertificateError:
            continue
        anchors.append(found)
    if not anchors:
        raise CertificateError(f"the certificate {leaf.subject} is not of the authority that came with it")
    if now is not None:
        for found in (*chain, anchors[0]):
            _check_time(found, now)


def _check_time(found: Certificate, now: float) -> None:
    if now < found.not_before:
        raise CertificateError(f"the certificate {found.subject} is not valid yet", remedy="check this machine's clock")
    if not found.is_valid_at(now):
        raise CertificateError(
            f"the certificate {found.subject} has expired", remedy="check this machine's clock, or ask for a new one"
        )


def _check_purpose(leaf: Certificate) -> None:
    try:
        usages = leaf.raw.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usages):
        raise CertificateError(f"the certificate {leaf.subject} is not for clients (no clientAuth)")


def _check_issued(below: Certificate, issuer: Certificate, depth: int) -> None:
    """Refuse unless ``issuer`` signed ``below`` and may; ``depth``: authorities between ``issuer`` and the leaf."""
    if not issuer.is_ca:
        raise CertificateError(f"{issuer.subject} is no authority, but stands as one in the chain")
    constraints = issuer.raw.extensions.get_extension_for_class(x509.BasicConstraints).value
    if constraints.path_length is not None and depth > constraints.path_length:
        raise CertificateError(f"the chain below {issuer.subject} is longer than it allows")
    try:
        below.raw.verify_directly_issued_by(issuer.raw)
    except (*_UNREADABLE, InvalidSignature):
        raise CertificateError(f"{below.subject} was not issued by {issuer.subject}") from None


def is_issued_by(below: Certificate, issuer: Certificate) -> bool:
    """Whether ``below`` is an authority, and ``issuer`` is one that signed it."""
    if not below.is_ca:
        return False
    try:
        _check_issued(below, issuer, 0)
    except CertificateError:
        return False
    return True


def pem_of(certificates: Sequence[Certificate]) -> bytes:
    """Return PEM of these and nothing else: OpenSSL finds more kinds of certificates in a text than are read here."""
    return b"".join(found.raw.public_bytes(serialization.Encoding.PEM) for found in certificates)


class TlsKey:
    """The client's private key, ECDSA P-256."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public_key = _public_der(key.public_key())
        """SubjectPublicKeyInfo, DER: what a certificate for this key says."""

    def __repr__(self) -> str:
        return "TlsKey(P-256, hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not serialised")

    @classmethod
    def generate(cls) -> "TlsKey":
        """Make a new key from the kernel's random source."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, pem: bytes) -> "TlsKey":
        """Read an unencrypted P-256 PEM; raises CertificateError without quoting any of it."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise CertificateError("not a complete, unencrypted PEM private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CertificateError("not a P-256 key")
        return cls(key)

    def pem(self) -> bytes:
        """Return the unencrypted PKCS#8 PEM: for the key file and nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def request(self, terminal: str, fleet: str) -> bytes:
        """Return the PKCS#10 request (RFC 2986) in DER: CN the terminal, O the fleet."""
        name = x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, fleet), x509.NameAttribute(NameOID.COMMON_NAME, terminal)]
        )
        built = x509.CertificateSigningRequestBuilder().subject_name(name).sign(self._key, hashes.SHA256())
        return built.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a PKCS#10 request asks for; its own signature holds."""

    terminal: str
    fleet: str
    public_key: bytes = field(repr=False)
    """SubjectPublicKeyInfo, DER."""


def parse_signing_request(der: bytes) -> SigningRequest:
    """Read a request of ours: P-256, subject O and CN and nothing else, signature good. Raises CertificateError."""
    try:
        with _quiet():
            found = x509.load_der_x509_csr(der)
            good = found.is_signature_valid
            key = found.public_key()
            parts = [(part.oid, part.value) for part in found.subject]
            wishes = len(found.extensions)
    except _UNREADABLE:
        raise CertificateError("the CSR is no complete PKCS#10 request") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("the CSR is not for a P-256 key")
    if not good:
        raise CertificateError("the signature of the CSR is wrong")
    if [oid for oid, _ in parts] != [NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME] or wishes:
        raise CertificateError("the CSR must name O and CN and ask for nothing else")
    return SigningRequest(terminal=str(parts[1][1]), fleet=str(parts[0][1]), public_key=_public_der(key))


def _public_der(key: object) -> bytes:
    try:
        return key.public_bytes(  # type: ignore[attr-defined,no-any-return] # every public key of the library has it
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except AttributeError:
        raise CertificateError("a kind of public key that is not known here") from None

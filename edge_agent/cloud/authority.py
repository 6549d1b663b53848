"""The fleet's authority for terminals: signs a terminal's key for clientAuth and nothing else. X.509 of the cloud half.

It takes only public key and names from a request; whether the terminal may have them is decided in ``enrolling``.
"""

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.errors import ConfigError
from edge_agent.small_file import read_small

_MAX_BYTES = 64 * 1024
_BACKDATED = dt.timedelta(hours=1)
"""A terminal's clock may be behind ours."""


class Authority:
    """An authority's certificate (with what leads up to its root) and private key."""

    def __init__(self, chain: bytes, key: bytes) -> None:
        """Both PEM, the issuing certificate first; raises ConfigError."""
        try:
            self._chain = x509.load_pem_x509_certificates(chain)
            loaded = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
            # The library's text is dropped on purpose: it may describe parts of the key.
            raise ConfigError(["the authority's certificate or key is no whole, unencrypted PEM"]) from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise ConfigError(["the authority's key is neither ECDSA, RSA nor Ed25519"])
        self._key = loaded
        if _public(loaded.public_key()) != _public(self._chain[0].public_key()):
            raise ConfigError(["the authority's key is not that of the first certificate"])
        try:
            constraints = self._chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            constraints = None
        if constraints is None or not constraints.ca:
            raise ConfigError(["the first certificate is no authority's (basic constraints say so)"])

    @classmethod
    def load(cls, certificate: Path, key: Path) -> "Authority":
        """Read two PEM files; raises ConfigError, also for a key that others may read."""
        read = []
        for path, private in ((certificate, False), (key, True)):
            try:
                data, mode = read_small(path, _MAX_BYTES)
            except OSError as error:
                raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
            if private and mode & 0o077:
                raise ConfigError([f"{path}: has mode {mode:04o}, expected 0600: chmod 600 {path}"])
            read.append(data)
        try:
            return cls(*read)
        except ConfigError as error:
            raise ConfigError([f"{certificate}, {key}: {problem}" for problem in error.problems]) from None

    @property
    def chain_pem(self) -> str:
        """The authority's own certificates."""
        return "".join(found.public_bytes(serialization.Encoding.PEM).decode("ascii") for found in self._chain)

    def issue(self, public_key: bytes, terminal: str, fleet: str, *, now: float, days: int) -> str:
        """Return PEM: a certificate of ``days`` for this key (SubjectPublicKeyInfo, DER), then intermediates.

        It ends no later than the authority itself. Subject O=fleet, CN=terminal. Raises ConfigError once the authority
        has expired.
        """
        start = dt.datetime.fromtimestamp(now, dt.UTC).replace(microsecond=0)
        issuer = self._chain[0]
        end = min(start + dt.timedelta(days=days), issuer.not_valid_after_utc)
        if end <= start:
            raise ConfigError(["the authority's certificate has expired"])
        key = serialization.load_der_public_key(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ConfigError(["the request is not for a key of an elliptic curve"])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        parts = [(NameOID.ORGANIZATION_NAME, fleet), (NameOID.COMMON_NAME, terminal)]
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in parts]))
            .issuer_name(issuer.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(start - _BACKDATED, issuer.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        )
        own = built.public_bytes(serialization.Encoding.PEM).decode("ascii")
        above = [found for found in self._chain if found.subject != found.issuer]
        return own + "".join(found.public_bytes(serialization.Encoding.PEM).decode("ascii") for found in above)


def _public(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise ConfigError(["the authority's key is neither ECDSA, RSA nor Ed25519"])
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

import datetime as dt
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.diag.checks.delivery.certificate import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from tests.diag.checks.delivery.site import Place
from tests.fakes.certificates import Certificates, make_certificates

NOW = dt.datetime.now(dt.UTC)
TERMINAL = "sh-000777-b"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def made(tmp_path: Path, authority: trustme.CA) -> Certificates:
    return make_certificates(tmp_path / "tls", client=TERMINAL, authority=authority)


@pytest.fixture
def place(tmp_path: Path, made: Certificates) -> Place:
    own = (f'cert = "{made.client_cert}"', f'key = "{made.client_key}"')
    return Place(tmp_path, 'host = "localhost"', "tls = true", f'ca = "{made.ca}"', *own)


def test_two_that_hold_are_told_with_their_ends(place: Place) -> None:
    trusts, own = place.look(CHECK)
    assert isinstance(trusts, Seen)
    assert isinstance(own, Seen)
    assert trusts.text.endswith("ends 3000-01-01")
    assert TERMINAL in own.text


@pytest.mark.parametrize(
    ("name", "begins", "ends", "kind"),
    [
        (TERMINAL, -9, 20, "own-certificate-expiring"),
        (TERMINAL, -9, -1, "own-certificate-expired"),
        (TERMINAL, 2, 99, "own-certificate-not-yet-valid"),
        ("sh-9\x1b", -9, 99, "own-certificate-other-name"),
    ],
)
def test_what_is_wrong_with_its_own_is_told(
    place: Place, made: Certificates, authority: trustme.CA, name: str, begins: int, ends: int, kind: str
) -> None:
    issued = authority.issue_cert(
        "t@example.org",
        common_name=name,
        not_before=NOW + dt.timedelta(days=begins),
        not_after=NOW + dt.timedelta(days=ends),
    )
    made.client_cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.client_key)
    (one,) = (one for one in place.look(CHECK) if isinstance(one, Finding))
    assert one.kind.id == kind
    assert one.subject == str(made.client_cert)
    assert "\x1b" not in one.text


def test_a_key_of_another_certificate_is_told(place: Place, made: Certificates, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    made.client_key.write_bytes(other.client_key.read_bytes())
    assert place.kinds(CHECK) == ["own-certificate-other-key"]


def test_damaged_files_are_told_by_name(place: Place, made: Certificates) -> None:
    for file in (made.ca, made.client_cert, made.client_key):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        (one,) = (one for one in place.look(CHECK) if isinstance(one, Finding))
        assert (one.kind.id, one.subject) == ("certificate-unusable", str(file))
        file.write_bytes(whole)
        file.unlink()
        assert place.kinds(CHECK) == ["certificate-unusable"]
        file.write_bytes(whole)


def test_an_encrypted_key_never_asks_for_its_password(place: Place, made: Certificates) -> None:
    key = serialization.load_pem_private_key(made.client_key.read_bytes(), None)
    made.client_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    (one,) = (one for one in place.look(CHECK) if isinstance(one, Finding))
    assert one.kind.id == "certificate-unusable"
    assert "encrypted" in one.text


def authority_until(days: int) -> bytes:
    """A self-signed authority; trustme's own last for ever."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old authority")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - dt.timedelta(days=100))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(("days", "kind"), [(-1, "authority-expired"), (20, "authority-expiring")])
def test_an_authority_that_ends_is_told(place: Place, made: Certificates, days: int, kind: str) -> None:
    made.ca.write_bytes(authority_until(days))
    assert place.kinds(CHECK) == [kind]


def test_the_authority_that_lasts_longest_counts(place: Place, made: Certificates) -> None:
    made.ca.write_bytes(authority_until(-1) + made.ca.read_bytes())
    assert place.kinds(CHECK) == []


@pytest.mark.parametrize("lines", [('host = "localhost"',), ('host = "broker.lift.invalid"',)])
def test_without_files_there_is_nothing_to_look_at(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(NotHere):
        Place(tmp_path, *lines).look(CHECK)

import datetime as dt
import socket
from pathlib import Path

import pytest
import trustme

from edge_agent.diag import way
from edge_agent.diag.checks.delivery.tls import CHECK
from edge_agent.diag.finding import CannotLook, Finding, NotHere, Seen
from tests.diag.checks.delivery.site import Place
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mqtt_refuser import MqttRefuser
from tests.fakes.tls_listener import TlsListener

NOW = dt.datetime.now(dt.UTC)


def day(number: int) -> dt.datetime:
    return NOW + dt.timedelta(days=number)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def made(tmp_path: Path, authority: trustme.CA) -> Certificates:
    return make_certificates(tmp_path / "tls", authority=authority)


def place_of(folder: Path, made: Certificates, port: int, *more: str) -> Place:
    return Place(folder, 'host = "localhost"', "tls = true", f"port = {port}", f'ca = "{made.ca}"', *more)


def test_a_good_certificate_is_told_with_its_end(tmp_path: Path, made: Certificates) -> None:
    with TlsListener(made.server_cert, made.server_key) as broker:
        (seen,) = place_of(tmp_path, made, broker.port).look(CHECK)
    assert isinstance(seen, Seen)
    assert "TLSv1" in seen.text
    assert "issued by OU=Testing CA" in seen.text
    assert "to 3000-01-01" in seen.text


@pytest.mark.parametrize(
    ("host", "begins", "ends", "kind"),
    [
        ("localhost", -9, 20, "broker-certificate-expiring"),
        ("localhost", -9, -1, "broker-certificate-expired"),
        ("localhost", 1, 9, "broker-certificate-not-yet-valid"),
        ("other.lift", -9, 900, "broker-certificate-other-host"),
        ("192.0.2.1", -9, 900, "broker-certificate-other-host"),
    ],
)
def test_what_is_wrong_with_it_is_told(
    tmp_path: Path, made: Certificates, authority: trustme.CA, host: str, begins: int, ends: int, kind: str
) -> None:
    issued = authority.issue_cert(host, not_before=day(begins), not_after=day(ends))
    made.server_cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.server_key)
    with TlsListener(made.server_cert, made.server_key) as broker:
        told = place_of(tmp_path, made, broker.port).look(CHECK)
    (one,) = (one for one in told if isinstance(one, Finding))
    assert one.kind.id == kind
    assert kind != "broker-certificate-other-host" or host in one.text


def test_another_authority_is_told_with_its_name_and_ours(tmp_path: Path, made: Certificates) -> None:
    other = make_certificates(tmp_path / "other")
    with TlsListener(other.server_cert, other.server_key) as broker:
        (one,) = place_of(tmp_path, made, broker.port).look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "broker-certificate-untrusted"
    assert one.text.count("OU=Testing CA") == 2
    assert str(made.ca) in one.text


def test_a_service_without_tls_is_told(tmp_path: Path, made: Certificates) -> None:
    with MqttRefuser(0x84) as broker:
        assert place_of(tmp_path, made, broker.port).kinds(CHECK) == ["tls-failed"]


def test_one_that_says_nothing_is_told_in_time(
    tmp_path: Path, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way, "TLS_S", 0.0)
    monkeypatch.setattr(way, "LEAST_S", 0.3)
    with MqttRefuser(None) as broker:
        assert place_of(tmp_path, made, broker.port).kinds(CHECK) == ["tls-silent"]


def test_files_that_cannot_be_loaded_are_the_certificates_business(tmp_path: Path, made: Certificates) -> None:
    made.ca.write_text("torn")
    with TlsListener(made.server_cert, made.server_key) as broker, pytest.raises(CannotLook) as lost:
        place_of(tmp_path, made, broker.port).look(CHECK)
    assert lost.value.because == "certificate-unusable"


def test_a_wrong_pair_of_its_own_does_not_keep_it_from_looking(tmp_path: Path, made: Certificates) -> None:
    other = make_certificates(tmp_path / "other")
    own = (f'cert = "{made.client_cert}"', f'key = "{other.client_key}"')
    with TlsListener(made.server_cert, made.server_key) as broker:
        (seen,) = place_of(tmp_path, made, broker.port, *own).look(CHECK)
    assert isinstance(seen, Seen)
    assert "without the terminal's certificate" in seen.text


def test_a_broker_that_wants_what_this_user_may_not_show_is_no_fault(tmp_path: Path, made: Certificates) -> None:
    other = make_certificates(tmp_path / "other")
    own = (f'cert = "{made.client_cert}"', f'key = "{other.client_key}"')
    with TlsListener(made.server_cert, made.server_key, wants=made.ca) as broker, pytest.raises(CannotLook) as lost:
        place_of(tmp_path, made, broker.port, *own).look(CHECK)
    assert lost.value.because == "own-certificate-other-key"


def test_a_port_that_is_closed_is_not_its_business(tmp_path: Path, made: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(CannotLook) as lost:
        place_of(tmp_path, made, port).look(CHECK)
    assert lost.value.because == "broker-refuses-connections"


def test_tls_that_was_switched_off_is_a_warning(tmp_path: Path) -> None:
    assert Place(tmp_path, 'host = "broker.lift.invalid"', "tls = false").kinds(CHECK) == ["tls-off"]


@pytest.mark.parametrize("more", [(), ("tls = false",)])
def test_on_this_machine_none_is_needed(tmp_path: Path, more: tuple[str, ...]) -> None:
    with pytest.raises(NotHere):
        Place(tmp_path, 'host = "127.0.0.1"', *more).look(CHECK)

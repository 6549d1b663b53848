import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from edge_agent.diag import way
from edge_agent.diag.checks.delivery.name import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from edge_agent.diag.site import Lookup
from tests.diag.checks.delivery.site import Place
from tests.fakes.certificates import make_certificates
from tests.fakes.tls_listener import TlsListener


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 'host = "broker.lift.invalid"')


def fails(code: int) -> Lookup:
    def lookup(_host: str) -> list[str]:
        raise socket.gaierror(code, "said \x1b[31mso")

    return lookup


def test_a_name_with_addresses_is_well(place: Place) -> None:
    place.lookup = lambda _host: ["192.0.2.1", "2001:db8::1"]
    (seen,) = place.look(CHECK)
    assert isinstance(seen, Seen)
    assert seen.text.startswith("broker.lift.invalid is 192.0.2.1, 2001:db8::1")


def test_the_resolver_of_this_machine_is_asked(tmp_path: Path) -> None:
    (seen,) = Place(tmp_path, 'host = "localhost"').look(CHECK)
    assert isinstance(seen, Seen)
    assert "127.0.0.1" in seen.text


@pytest.mark.parametrize(
    ("code", "kind"), [(socket.EAI_NONAME, "name-unknown"), (socket.EAI_AGAIN, "name-servers-silent")]
)
def test_a_failure_is_told_with_the_servers_that_were_asked(place: Place, code: int, kind: str) -> None:
    place.lookup = fails(code)
    place.put("/etc/resolv.conf", "# by hand\nnameserver 198.51.100.53\nnameserver\nsearch lift\n")
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == kind
    assert one.text.endswith("; asked: 198.51.100.53")
    assert "\x1b" not in one.text


@pytest.fixture
def free() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_resolver_that_hangs_is_left_behind(
    place: Place, free: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way, "NAME_S", 0.05)

    def hang(_host: str) -> list[str]:
        free.wait(60)
        return []

    place.lookup = hang
    assert place.kinds(CHECK) == ["name-servers-silent"]


def test_without_a_name_server_that_is_what_is_wrong(place: Place) -> None:
    place.lookup = fails(socket.EAI_AGAIN)
    place.put("/etc/resolv.conf", "options edns0\n")
    assert place.kinds(CHECK) == ["name-servers-not-set"]


@pytest.mark.parametrize("wrong", ["127.0.0.1", "0.0.0.0", "::1", "224.0.0.1", "rubbish"])  # noqa: S104 -- an answer, not a bind
def test_an_address_that_cannot_be_a_brokers_is_told(place: Place, wrong: str) -> None:
    place.lookup = lambda _host: [wrong]
    place.put("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 Broker.lift.invalid # left over\n")
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "name-wrong-address"
    assert one.text.endswith("as /etc/hosts says")


def test_a_broker_on_this_machine_that_proves_its_name_is_well(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = make_certificates(tmp_path / "tls", authority=authority)
    issued = authority.issue_cert("broker.lift.invalid")
    made.server_cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.server_key)
    with TlsListener(made.server_cert, made.server_key) as broker:
        place = Place(tmp_path, 'host = "broker.lift.invalid"', f"port = {broker.port}", f'ca = "{made.ca}"')
        place.lookup = lambda _host: ["127.0.0.1"]
        assert place.kinds(CHECK) == []
        place.lookup = lambda _host: ["127.0.0.1", "0.0.0.0"]  # noqa: S104 -- an answer, not a bind
        assert place.kinds(CHECK) == ["name-wrong-address"]


def test_a_name_that_is_none_is_unknown(place: Place) -> None:
    def lookup(_host: str) -> list[str]:
        raise UnicodeError("label too long")

    place.lookup = lookup
    assert place.kinds(CHECK) == ["name-unknown"]


@pytest.mark.parametrize("host", ["broker.example.net", "example.com", "mqtt.example"])
def test_the_samples_broker_is_told(tmp_path: Path, host: str) -> None:
    place = Place(tmp_path, f'host = "{host}"')
    place.lookup = lambda _host: ["192.0.2.1"]
    assert place.kinds(CHECK) == ["sample-broker"]


def test_an_address_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        Place(tmp_path, 'host = "192.0.2.1"').look(CHECK)

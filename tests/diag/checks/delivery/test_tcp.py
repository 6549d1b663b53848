import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.diag import way
from edge_agent.diag.checks.delivery.tcp import CHECK
from edge_agent.diag.finding import CannotLook, Finding, Seen
from tests.diag.checks.delivery.site import Place
from tests.fakes.mosquitto import free_port


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_answers_is_well(tmp_path: Path, port: int) -> None:
    (seen,) = Place(tmp_path, 'host = "127.0.0.1"', f"port = {port}").look(CHECK)
    assert isinstance(seen, Seen)
    assert seen.text.startswith(f"port {port} at 127.0.0.1")


def test_a_closed_port_is_told(tmp_path: Path) -> None:
    port = free_port()
    (one,) = Place(tmp_path, 'host = "127.0.0.1"', f"port = {port}").look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "broker-refuses-connections"
    assert one.text == f"port {port}, 127.0.0.1: refuses connections"


def test_an_address_that_swallows_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "TCP_S", 0.0)
    monkeypatch.setattr(way, "LEAST_S", 0.1)
    with socket.socket() as full:  # its queue is full: Linux throws further SYNs away
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            assert Place(tmp_path, 'host = "127.0.0.1"', f"port = {port}").kinds(CHECK) == ["broker-unreachable"]
        finally:
            for client in waiting:
                client.close()


def test_a_dead_address_beside_a_good_one_is_a_warning(tmp_path: Path, port: int) -> None:
    place = Place(tmp_path, 'host = "broker.lift.invalid"', f"port = {port}", "tls = false")
    place.lookup = lambda _host: ["127.0.0.2", "127.0.0.1"]
    seen, one = place.look(CHECK)
    assert isinstance(seen, Seen)
    assert isinstance(one, Finding)
    assert one.kind.id == "broker-address-dead"
    assert "127.0.0.2: refuses connections" in one.text


def test_without_an_address_it_cannot_look(tmp_path: Path) -> None:
    def lookup(_host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    place = Place(tmp_path, 'host = "broker.lift.invalid"')
    place.lookup = lookup
    with pytest.raises(CannotLook) as lost:
        place.look(CHECK)
    assert lost.value.because == "name-unknown"

import socket
import threading
from pathlib import Path

import pytest

from edge_agent.control_client import NotAllowed
from edge_agent.diag.checks.host.agent import CHECK, DOWN, SILENT, look
from edge_agent.diag.finding import CannotLook, Finding, Seen
from edge_agent.diag.site import Site
from tests.fakes.control_stub import answering


def site_of(folder: Path) -> Site:
    return Site(folder / "edge-agent.toml", socket=folder / "s", env={})


def test_one_that_answers_is_well(tmp_path: Path) -> None:
    with answering(tmp_path / "s", {"version": "1.2.3\x1b"}):
        (seen,) = CHECK.look(site_of(tmp_path))
    assert isinstance(seen, Seen)
    assert seen.text.startswith("version 1.2.3")
    assert "\x1b" not in seen.text


def test_without_a_socket_it_is_down(tmp_path: Path) -> None:
    (found,) = CHECK.look(site_of(tmp_path))
    assert isinstance(found, Finding)
    assert found.kind is DOWN


def test_one_that_answers_nonsense_is_silent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        server.settimeout(10)
        site = site_of(tmp_path)

        def serve() -> None:
            client, _ = server.accept()
            client.recv(100)
            client.sendall(b"hello\n")
            client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        found = list(CHECK.look(site))
        thread.join()
    assert [one.kind for one in found if isinstance(one, Finding)] == [SILENT]


def test_who_may_not_ask_cannot_look(tmp_path: Path) -> None:
    class Closed(Site):
        """Root may ask everywhere, and tests may be root's."""

        def ask(self, request: dict[str, object], timeout_s: float = 0) -> dict[str, object]:
            raise NotAllowed("no permission", remedy="use sudo")

    with pytest.raises(CannotLook, match="no permission") as lost:
        list(look(Closed(tmp_path / "x", env={})))
    assert lost.value.remedy == "use sudo"


def test_a_part_that_is_not_well_is_a_symptom_with_its_name(tmp_path: Path) -> None:
    parts = [
        {"name": "nfc0", "state": "failed", "detail": "no answer\x1b"},
        {"name": "uplink", "state": "starting", "detail": ""},
        {"name": "outbox", "state": "ok", "detail": ""},
        "nonsense",
    ]
    with answering(tmp_path / "s", {"version": "1", "health": {"components": parts}}):
        told = list(CHECK.look(site_of(tmp_path)))
    (found,) = [one for one in told if isinstance(one, Finding)]
    assert (found.kind.id, found.subject, found.text) == ("agent-unwell", "nfc0", "failed: no answer\\x1b")
    assert found.kind.symptom

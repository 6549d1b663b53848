import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.pcscd import CHECK, SOCKET_VARIABLE
from edge_agent.diag.finding import NotHere, Seen
from tests.fakes.device_site import DeviceSite, ids

READER = '[[readers]]\nname = "usb0"\ndriver = "pcsc"\n'


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen(1)
        yield


def site(folder: Path, **told: object) -> DeviceSite:
    status = {"readers": [{"name": "usb0", **told}]}
    return DeviceSite(folder, READER, status, **{SOCKET_VARIABLE: str(folder / "p")})


def test_a_reader_that_works_is_well(tmp_path: Path) -> None:
    with listening(tmp_path / "p"):
        assert list(CHECK.look(site(tmp_path, state="polling", chip="ACS ACR1252"))) == [Seen("ACS ACR1252", "usb0")]


def test_nobody_at_the_socket_is_a_daemon_that_is_down(tmp_path: Path) -> None:
    assert ids(CHECK.look, DeviceSite(tmp_path, READER)) == ["pcscd-down"]
    assert ids(CHECK.look, site(tmp_path, state="polling")) == ["pcscd-down"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("no_permission", "pcscd-no-permission"),
        ("no_service", "pcscd-down"),
        ("not_found", "pcsc-reader-missing"),
        ("no_answer", "pcsc-reader-missing"),
    ],
)
def test_why_the_agent_has_no_reader_is_told(tmp_path: Path, fault: str, kind: str) -> None:
    with listening(tmp_path / "p"):
        assert ids(CHECK.look, site(tmp_path, state="lost", fault=fault, last_error="why")) == [kind]


def test_a_terminal_without_such_readers_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))

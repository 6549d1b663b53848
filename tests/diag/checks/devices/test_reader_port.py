import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.diag.access import Account
from edge_agent.diag.checks.devices import reader_port
from edge_agent.diag.checks.devices.reader_port import CHECK
from edge_agent.diag.finding import NotHere, Seen
from edge_agent.diag.lines import agent_pid, holders, reader_lines
from edge_agent.simulation.pty_port import PtyPort
from tests.fakes.device_site import DeviceSite, found, ids
from tests.fakes.port_tree import PortTree

READER = '[[readers]]\nname = "nfc0"\ndriver = "pn532"\ndevice = "{device}"\n'


@pytest.fixture(name="port")
def _port() -> Iterator[PtyPort]:
    port = PtyPort("nfc0")
    port.plug_in()
    yield port
    port.discard()


def hold(site: DeviceSite, pid: int, name: str, device: Path) -> None:
    """A process of the terminal that has the port open."""
    fds = site.root / f"proc/{pid}/fd"
    fds.mkdir(parents=True)
    (fds.parent / "comm").write_text(f"{name}\n")
    (fds / "3").symlink_to(device.resolve())


def test_a_terminal_without_serial_readers_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, '[[readers]]\ndriver = "pcsc"\n')))


def test_a_port_that_is_there_is_well(tmp_path: Path, port: PtyPort) -> None:
    (seen,) = CHECK.look(DeviceSite(tmp_path, READER.format(device=port.path)))
    assert seen == Seen(str(port.path), "nfc0")


def test_a_port_that_is_gone_is_missing_and_unused_ports_are_named(tmp_path: Path) -> None:
    PortTree(tmp_path / "root").plug("ttyUSB1", product="CP2102\x1b[2J")
    ((kind, subject, text),) = found(CHECK.look, DeviceSite(tmp_path, READER.format(device="/dev/no-such-port")))
    assert (kind, subject) == ("reader-port-missing", "nfc0")
    assert "/dev/no-such-port is not there; there is also" in text
    assert "ttyUSB1 (CP2102" in text
    assert "\x1b" not in text


def test_a_usb_name_is_looked_up(tmp_path: Path, port: PtyPort) -> None:
    site = DeviceSite(tmp_path, READER.format(device="usb:1a86:7523"))
    assert ids(CHECK.look, site) == ["reader-port-missing"]
    PortTree(tmp_path / "root").plug("ttyUSB0", behind=port.path)
    (seen,) = CHECK.look(site)
    assert isinstance(seen, Seen)
    assert seen.text.startswith("usb:1a86:7523 is ")


def test_who_has_the_port_open_is_named_and_we_are_not(tmp_path: Path, port: PtyPort) -> None:
    site = DeviceSite(tmp_path, READER.format(device=port.path))
    hold(site, 4242, "Modem\x1bManager", port.path)
    hold(site, os.getpid(), "doctor", port.path)
    hold(site, 77, "getty", Path("/dev/null"))
    ((kind, _, text),) = found(CHECK.look, site)
    assert kind == "reader-port-busy"
    assert "(process 4242)" in text
    assert "\x1b" not in text
    assert "getty" not in text
    assert "doctor" not in text


def test_the_agent_is_known_by_its_socket(tmp_path: Path, port: PtyPort) -> None:
    site = DeviceSite(tmp_path, READER.format(device=port.path))
    assert agent_pid(site) == 0
    with closing(socket.socket(socket.AF_UNIX)) as agent:
        agent.bind(str(tmp_path / "control.sock"))
        agent.listen(1)
        assert agent_pid(site) == os.getpid()


def test_a_port_that_the_agent_finds_taken_is_busy_even_where_we_cannot_see_by_whom(
    tmp_path: Path, port: PtyPort
) -> None:
    status = {"readers": [{"name": "nfc0", "state": "lost", "fault": "taken", "last_error": "in use"}]}
    site = DeviceSite(tmp_path, READER.format(device=port.path), status)
    assert ids(CHECK.look, site) == ["reader-port-busy"]


def test_a_port_that_the_agent_may_not_open_is_told_with_its_own_words(tmp_path: Path, port: PtyPort) -> None:
    status = {"readers": [{"name": "nfc0", "state": "lost", "fault": "no_permission", "last_error": "no permission"}]}
    site = DeviceSite(tmp_path, READER.format(device=port.path), status)
    assert found(CHECK.look, site) == [("reader-no-permission", "nfc0", "no permission")]


def test_the_mode_of_the_port_is_read_with_the_eyes_of_the_agents_user(port: PtyPort) -> None:
    node = port.path.resolve()
    node.chmod(0o600)
    nobody = Account("edge-agent", 54321, frozenset({54321}))
    assert nobody.keeps_out(port.path, reader_port.READ | reader_port.WRITE) is not None


def test_a_process_that_ends_meanwhile_is_none(tmp_path: Path, port: PtyPort) -> None:
    site = DeviceSite(tmp_path, READER.format(device=port.path))
    (site.root / "proc/99").mkdir(parents=True)
    (site.root / "proc/self").mkdir()
    assert list(holders(site, reader_lines(site)[0])) == []

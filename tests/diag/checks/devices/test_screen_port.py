from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.screen_port import CHECK
from edge_agent.diag.finding import NotHere, Seen
from edge_agent.simulation.pty_port import PtyPort
from tests.diag.checks.devices.test_reader_port import hold
from tests.fakes.device_site import DeviceSite, found, ids

SCREENS = '[[screens]]\ndriver = "web"\n\n[[screens]]\ndriver = "serial"\ndevice = "{device}"\n'


@pytest.fixture(name="port")
def _port() -> Iterator[PtyPort]:
    port = PtyPort("screen0")
    port.plug_in()
    yield port
    port.discard()


def test_it_goes_by_the_agents_name_for_the_screen(tmp_path: Path, port: PtyPort) -> None:
    assert list(CHECK.look(DeviceSite(tmp_path, SCREENS.format(device=port.path)))) == [Seen(str(port.path), "serial1")]
    ((kind, subject, _),) = found(CHECK.look, DeviceSite(tmp_path, SCREENS.format(device="/dev/no-such-port")))
    assert (kind, subject) == ("screen-port-missing", "serial1")


def test_who_has_the_port_open_is_named(tmp_path: Path, port: PtyPort) -> None:
    site = DeviceSite(tmp_path, SCREENS.format(device=port.path))
    hold(site, 4242, "minicom", port.path)
    ((kind, _, text),) = found(CHECK.look, site)
    assert (kind, "minicom (process 4242)" in text) == ("screen-port-busy", True)


def test_a_port_that_the_agent_finds_locked_is_busy(tmp_path: Path, port: PtyPort) -> None:
    told = {"name": "serial1", "state": "down", "detail": f"{port.path}: Resource temporarily unavailable"}
    site = DeviceSite(tmp_path, SCREENS.format(device=port.path), {"screens": [told]})
    assert ids(CHECK.look, site) == ["screen-port-busy"]


def test_a_terminal_without_such_screens_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, '[[screens]]\ndriver = "web"\n')))

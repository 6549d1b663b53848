from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.reader_latency import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from tests.fakes.device_site import DeviceSite, ids, put
from tests.fakes.port_tree import PortTree

READER = '[[readers]]\nname = "nfc0"\ndriver = "pn532"\ndevice = "usb:0403:6001"\n'
TIMER = "/sys/bus/usb-serial/devices/ttyUSB0/latency_timer"


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> DeviceSite:
    PortTree(tmp_path / "root").plug("ttyUSB0", ids="0403:6001")
    return DeviceSite(tmp_path, READER)


def test_the_fix_sets_the_timer(site: DeviceSite) -> None:
    timer = put(site, TIMER, "16\n")
    (found,) = CHECK.look(site)
    assert isinstance(found, Finding)
    assert (found.kind.id, found.subject) == ("reader-latency-timer", "nfc0")
    assert found.fix is not None
    found.fix.run()
    assert timer.read_text() == "1\n"
    assert list(CHECK.look(site)) == [Seen("ttyUSB0 waits 1 ms", "nfc0")]


@pytest.mark.parametrize("text", [None, "", "fast"])
def test_a_converter_without_a_timer_has_nothing_to_tell(site: DeviceSite, text: str | None) -> None:
    if text is not None:
        put(site, TIMER, text)
    with pytest.raises(NotHere):
        list(CHECK.look(site))


def test_a_short_wait_is_no_trouble(site: DeviceSite) -> None:
    put(site, TIMER, "2\n")
    assert ids(CHECK.look, site) == []

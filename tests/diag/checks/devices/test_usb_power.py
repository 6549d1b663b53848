from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.usb_power import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from tests.fakes.device_site import DeviceSite
from tests.fakes.port_tree import PortTree

READER = '[[readers]]\nname = "nfc0"\ndriver = "pn532"\ndevice = "usb:1a86:7523"\n'


def test_the_fix_keeps_the_converter_awake(tmp_path: Path) -> None:
    PortTree(tmp_path / "root").plug("ttyUSB0")
    control = tmp_path / "root/sys/devices/pci0000:00/usb1/1-1/power/control"
    control.parent.mkdir()
    control.write_text("auto\n")
    site = DeviceSite(tmp_path, READER)
    (found,) = CHECK.look(site)
    assert isinstance(found, Finding)
    assert (found.kind.id, found.subject) == ("usb-autosuspend", "nfc0")
    assert found.fix is not None
    found.fix.run()
    assert control.read_text() == "on\n"
    assert list(CHECK.look(site)) == [Seen("ttyUSB0 stays awake", "nfc0")]


def test_a_uart_of_the_board_has_no_such_thing(tmp_path: Path) -> None:
    path = PortTree(tmp_path / "root").solder("ttyS0")
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, READER.replace("usb:1a86:7523", path))))

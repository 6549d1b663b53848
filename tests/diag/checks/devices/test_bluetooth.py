from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.bluetooth import CHECK
from edge_agent.diag.finding import Finding, NotHere, Seen
from tests.diag.faults.healthy_root import program
from tests.fakes.device_site import DeviceSite, ids, put

SCREEN = '[[screens]]\ndriver = "ble"\nname = "LX-7"\nadapter = "hci0"\n'


def ble(folder: Path, owner: str = "b true") -> DeviceSite:
    program(folder / "bin", "busctl", f"echo '{owner}'")
    site = DeviceSite(folder, SCREEN, PATH=str(folder / "bin"))
    put(site, "/sys/class/bluetooth/hci0/uevent", "")
    return site


def switch(site: DeviceSite, *, soft: str = "0", hard: str = "0", kind: str = "bluetooth", name: str = "hci0") -> None:
    for file, text in (("type", kind), ("name", name), ("soft", soft), ("hard", hard)):
        put(site, f"/sys/class/rfkill/rfkill0/{file}", f"{text}\n")


def test_an_adapter_that_is_on_with_its_service_is_well(tmp_path: Path) -> None:
    site = ble(tmp_path)
    switch(site)
    assert list(CHECK.look(site)) == [Seen("hci0 is there and on, bluetoothd runs", "ble0")]


def test_no_adapter_or_another_one_is_missing(tmp_path: Path) -> None:
    assert ids(CHECK.look, DeviceSite(tmp_path, SCREEN)) == ["ble-adapter-missing"]
    site = DeviceSite(tmp_path, SCREEN)
    put(site, "/sys/class/bluetooth/hci1/uevent", "")
    put(site, "/sys/class/bluetooth/hci0:11/uevent", "")  # a connection, no adapter
    assert ids(CHECK.look, site) == ["ble-adapter-missing"]


def test_a_soft_block_can_be_ended_and_a_hard_one_cannot(tmp_path: Path) -> None:
    site = ble(tmp_path)
    switch(site, soft="1")
    (found,) = CHECK.look(site)
    assert isinstance(found, Finding)
    assert (found.kind.id, found.subject) == ("ble-blocked", "ble0")
    assert found.fix is not None
    found.fix.run()
    assert ids(CHECK.look, site) == []
    switch(site, hard="1", soft="1")
    (found,) = CHECK.look(site)
    assert isinstance(found, Finding)
    assert found.fix is None


def test_another_radio_is_of_no_interest(tmp_path: Path) -> None:
    site = ble(tmp_path)
    switch(site, soft="1", kind="wlan")
    assert ids(CHECK.look, site) == []
    switch(site, soft="1", name="hci7")
    assert ids(CHECK.look, site) == []


def test_without_bluetoothd_the_service_is_down(tmp_path: Path) -> None:
    assert ids(CHECK.look, ble(tmp_path, "b false")) == ["ble-service-down"]


def test_a_terminal_without_such_screens_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))

"""Ports found in a tree that looks as the kernel's: no test depends on what is plugged into this machine."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.port_names import UsbName, check_port
from edge_agent.readers.ports import SerialPort, lasting_name, list_ports, resolve
from tests.fakes.port_tree import PortTree


@pytest.fixture
def tree(tmp_path: Path) -> PortTree:
    return PortTree(tmp_path)


# -- listing ----------------------------------------------------------------------------------------------------------


def test_a_usb_port_is_found_with_what_the_device_says_of_itself(tree: PortTree) -> None:
    path = tree.plug("ttyUSB0", ids="0403:6001", serial="A50285BI", product="FT232R USB UART", by_id="usb-FTDI-port0")
    (port,) = list_ports(tree.root)
    by_id = str(tree.root / "dev/serial/by-id/usb-FTDI-port0")
    assert port == SerialPort(path, by_id, None, 0x0403, 0x6001, "A50285BI", "FT232R USB UART")
    assert port.on_usb


def test_a_uart_of_the_board_is_found_and_one_that_is_not_there_is_not(tree: PortTree) -> None:
    there = [tree.solder("ttyAMA0"), tree.solder("ttymxc3")]
    tree.solder("ttyS3", kind="0")
    tree.terminal("tty1")
    assert [port.path for port in list_ports(tree.root)] == there
    assert not any(port.on_usb for port in list_ports(tree.root))


def test_the_port_that_the_kernel_speaks_on_is_marked(tree: PortTree) -> None:
    tree.solder("ttyS0")
    tree.solder("ttyS1")
    tree.console("tty0", "ttyS0")
    assert [port.console for port in list_ports(tree.root)] == [True, False]


def test_what_a_device_says_of_itself_cannot_move_the_cursor(tree: PortTree) -> None:
    tree.plug("ttyUSB0", product="\x1b[2JReader\x07")
    assert list_ports(tree.root)[0].text == r"\x1b[2JReader\x07"


def test_a_machine_without_serial_ports_has_none(tmp_path: Path) -> None:
    assert list_ports(tmp_path) == ()


def test_a_device_whose_ids_make_no_sense_is_a_port_without_ids(tree: PortTree) -> None:
    path = tree.plug("ttyUSB0", ids="xyz:")
    assert list_ports(tree.root) == (SerialPort(path, text="USB Serial"),)


def test_this_machines_own_ports_can_be_listed() -> None:
    assert all(port.path.startswith("/dev/") for port in list_ports())


# -- resolving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dev/nfc-reader0", "/dev/serial/by-id/usb-x-if00", "/dev/pts/7", "/dev/not-there"])
def test_a_path_stays_what_it_is(tree: PortTree, path: str) -> None:
    assert resolve(path, tree.root) == path


def test_a_usb_name_leads_to_the_port_of_the_moment(tree: PortTree) -> None:
    tree.plug("ttyUSB0", ids="0403:6001")
    first = tree.plug("ttyUSB1", ids="1a86:7523")
    assert resolve("usb:1a86:7523", tree.root) == first
    tree.pull("ttyUSB1")
    later = tree.plug("ttyUSB4", ids="1a86:7523")
    assert resolve("usb:1A86:7523", tree.root) == later


def test_of_two_of_a_kind_the_serial_number_tells(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="0001")
    second = tree.plug("ttyUSB1", serial="0002")
    assert resolve("usb:1a86:7523:0002", tree.root) == second


def test_two_that_match_are_none_and_both_are_named(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="\x1b[31m1")
    tree.plug("ttyUSB1")
    with pytest.raises(ReaderError) as refused:
        resolve("usb:1a86:7523", tree.root)
    assert refused.value.fault is ReaderFault.NOT_FOUND
    assert r"\x1b[31m1 at" in refused.value.text
    assert "one without serial number at" in refused.value.text
    assert "\x1b" not in str(refused.value)
    assert "by-id" in refused.value.remedy


def test_one_that_is_not_there_is_named_with_its_kin(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="0001")
    with pytest.raises(ReaderError) as refused:
        resolve("usb:1a86:7523:0002", tree.root)
    assert refused.value.fault is ReaderFault.NOT_FOUND
    assert "no USB device usb:1a86:7523:0002; there is 0001 at" in refused.value.text
    assert "plug in the reader" in refused.value.remedy


def test_what_is_no_name_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="usb:VENDOR"):
        resolve("usb:1a86", tmp_path)


# -- names that last --------------------------------------------------------------------------------------------------


def named(tree: PortTree, index: int = 0) -> tuple[str, str]:
    ports = list_ports(tree.root)
    return lasting_name(ports[index], ports)


def test_the_link_with_the_devices_name_is_best(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="1", by_id="usb-FTDI_1-port0", by_path="pci-usb-0:1:1.0")
    assert named(tree) == (str(tree.root / "dev/serial/by-id/usb-FTDI_1-port0"), "")


def test_without_the_link_the_device_itself_names_the_port(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="0001")
    tree.plug("ttyUSB1", serial="0002")
    assert named(tree, 1) == ("usb:1a86:7523:0002", "")


def test_a_serial_number_that_no_configuration_takes_is_left_out_where_one_can(tree: PortTree) -> None:
    tree.plug("ttyUSB0", serial="a b", by_id="usb-a#b")
    assert named(tree) == ("usb:1a86:7523", "")


def test_two_that_nothing_tells_apart_are_named_by_their_sockets(tree: PortTree) -> None:
    # Both would have the same link in by-id; it leads to the one that was plugged in last.
    tree.plug("ttyUSB0", by_id="usb-1a86-port0", by_path="pci-usb-0:1:1.0")
    tree.plug("ttyUSB1", by_id="usb-1a86-port0", by_path="pci-usb-0:2:1.0")
    for index in (0, 1):
        name, warning = named(tree, index)
        assert name.endswith(f"pci-usb-0:{index + 1}:1.0")
        assert "socket" in warning


def test_a_path_that_may_change_comes_with_a_warning_and_one_of_the_board_without(tree: PortTree) -> None:
    board = tree.solder("ttyAMA0")
    first = tree.plug("ttyUSB0")
    tree.plug("ttyUSB1")
    assert named(tree, 0) == (board, "")
    name, warning = named(tree, 1)
    assert name == first
    assert "can change" in warning


serials = st.text(string.ascii_letters + string.digits + "._- #\x1b", max_size=5)
machines = st.lists(st.tuples(st.integers(1, 2), serials, st.booleans()), min_size=1, max_size=5)


@given(machines)
def test_a_name_that_comes_without_a_warning_leads_back_to_this_port_alone(
    devices: list[tuple[int, str, bool]],
) -> None:
    ports = tuple(
        SerialPort(
            f"/dev/ttyUSB{index}", f"/dev/serial/by-id/usb-{index}" if linked else None, None, 1, product, serial
        )
        for index, (product, serial, linked) in enumerate(devices)
    )
    for port in ports:
        name, warning = lasting_name(port, ports)
        assert check_port(name) == name
        if warning:
            assert name == port.path
        elif name.startswith("usb:"):
            _, vendor, product, *rest = name.split(":")
            wanted = UsbName(int(vendor, 16), int(product, 16), rest[0] if rest else None)
            assert [other for other in ports if other.goes_by(wanted)] == [port]
        else:
            assert name == port.by_id

"""One device is reset and never a hub; why it cannot be is always told. The kernel is a tree of files here."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.usb_reset import USBDEVFS_RESET, UsbReset
from tests.fakes.usb_tree import UsbTree


class Kernel:
    """Takes ioctls and remembers at which node."""

    def __init__(self, error: int = 0) -> None:
        self.resets: list[tuple[str, int]] = []
        self._error = error

    def __call__(self, fd: int, request: int, argument: int) -> int:
        assert argument == 0
        self.resets.append((str(Path(f"/proc/self/fd/{fd}").readlink()), request))
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        return 0


@pytest.fixture
def tree(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path)


def test_the_device_behind_a_port_is_reset_and_not_the_hub_above_it(tree: UsbTree) -> None:
    kernel = Kernel()
    told = UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=kernel)()
    assert told == "USB Serial (1-1.2)"
    assert kernel.resets == [(str(tree.node), USBDEVFS_RESET)]


def test_a_link_of_udev_leads_to_its_device(tree: UsbTree) -> None:
    link = tree.root / "dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../ttyUSB0")
    kernel = Kernel()
    UsbReset(str(link), root=tree.root, ioctl=kernel)()
    assert len(kernel.resets) == 1


def test_a_name_by_its_ids_leads_to_its_device(tree: UsbTree) -> None:
    kernel = Kernel()
    UsbReset("usb:1a86:7523", root=tree.root, ioctl=kernel)()
    assert kernel.resets[0][0] == str(tree.node)


def test_a_port_that_was_renumbered_is_found_anew(tree: UsbTree) -> None:
    link = tree.root / "dev/nfc-reader0"
    link.symlink_to("ttyUSB0")
    kernel = Kernel()
    reset = UsbReset(str(link), root=tree.root, ioctl=kernel)
    reset()
    link.unlink()
    link.symlink_to(Path(tree.plug("ttyUSB1")).name)
    reset()
    assert len(kernel.resets) == 2


@pytest.mark.parametrize(("kind", "name"), [("tty", "ttyUSB1"), ("net", "wwan0")])
def test_a_device_that_others_may_be_using_is_left_alone(tree: UsbTree, kind: str, name: str) -> None:
    tree.second_interface(kind, name)
    kernel = Kernel()
    with pytest.raises(ReaderError, match=f"ttyUSB0 shares its USB device with {name}") as refused:
        UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=kernel)()
    assert refused.value.fault is ReaderFault.NOT_FOUND
    assert kernel.resets == []


def test_what_others_use_beside_it_does_not_matter(tree: UsbTree) -> None:
    tree.second_interface("tty", "ttyACM0", device="1-1.20")
    tree.second_interface("net", "eth0", device="1-1.3")
    kernel = Kernel()
    UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=kernel)()
    assert kernel.resets[0][0] == str(tree.node)


def test_a_link_that_was_pointed_elsewhere_is_followed_and_what_it_left_is_spared(tree: UsbTree) -> None:
    link = tree.root / "dev/nfc-reader0"
    link.symlink_to("ttyUSB0")
    kernel = Kernel()
    reset = UsbReset(str(link), root=tree.root, ioctl=kernel)
    link.unlink()
    link.symlink_to("ttyS0")
    with pytest.raises(ReaderError, match="no port of the kernel"):
        reset()
    assert kernel.resets == []


def test_a_uart_of_the_board_is_not_on_usb(tree: UsbTree) -> None:
    port = tree.root / "sys/devices/platform/serial8250/tty/ttyS0"
    port.mkdir(parents=True)
    (tree.root / "sys/class/tty/ttyS0").mkdir(parents=True)
    (tree.root / "sys/class/tty/ttyS0/device").symlink_to(port)
    kernel = Kernel()
    with pytest.raises(ReaderError, match="not on USB") as refused:
        UsbReset(str(tree.root / "dev/ttyS0"), root=tree.root, ioctl=kernel)()
    assert refused.value.fault is ReaderFault.NOT_FOUND
    assert kernel.resets == []


def test_a_port_that_is_away_has_nothing_to_reset(tree: UsbTree) -> None:
    with pytest.raises(ReaderError, match="no port of the kernel") as refused:
        UsbReset("/dev/ttyUSB9", root=tree.root, ioctl=Kernel())()
    assert refused.value.fault is ReaderFault.NOT_FOUND


def test_what_has_only_a_hub_above_it_is_left_alone(tree: UsbTree) -> None:
    for name in ("busnum", "devnum"):
        (tree.device / name).unlink()
    kernel = Kernel()
    with pytest.raises(ReaderError, match="nothing but a hub"):
        UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=kernel)()
    assert kernel.resets == []


@pytest.mark.parametrize(
    ("number", "fault", "text"),
    [
        (errno.EACCES, ReaderFault.NO_PERMISSION, "no permission to reset USB Serial"),
        (errno.EPERM, ReaderFault.NO_PERMISSION, "docs/readers.md"),
        (errno.ENODEV, ReaderFault.NOT_FOUND, "not there any more"),
        (errno.EIO, ReaderFault.IO, "Input/output error"),
    ],
)
def test_a_kernel_that_refuses_is_told_as_what_to_do(tree: UsbTree, number: int, fault: ReaderFault, text: str) -> None:
    with pytest.raises(ReaderError) as refused:
        UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=Kernel(number))()
    assert refused.value.fault is fault
    assert text in str(refused.value)


def test_a_node_that_is_missing_is_told(tree: UsbTree) -> None:
    tree.node.unlink()
    with pytest.raises(ReaderError, match="not there any more"):
        UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=Kernel())()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(name=st.sampled_from(["busnum", "devnum", "bDeviceClass", "product"]), text=st.binary(max_size=40))
def test_whatever_sysfs_says_is_an_error_or_one_reset(tree: UsbTree, name: str, text: bytes) -> None:
    before = (tree.device / name).read_bytes()
    (tree.device / name).write_bytes(text)
    kernel = Kernel()
    try:
        told = UsbReset(str(tree.root / "dev/ttyUSB0"), root=tree.root, ioctl=kernel)()
    except ReaderError as error:
        told = str(error)
    finally:
        (tree.device / name).write_bytes(before)
    assert told.isprintable()
    assert str(tree.hub_node) not in [node for node, _ in kernel.resets]

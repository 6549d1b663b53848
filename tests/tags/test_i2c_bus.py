"""The real smbus2 over the emulated chip: only the kernel is replaced, at the ioctl on the device node."""

import ctypes
import errno
import os
from pathlib import Path

import pytest
import smbus2.smbus2

from edge_agent.clock import FakeClock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.simulation.nt3h_bus import Nt3hBus
from edge_agent.simulation.nt3h_chip import Nt3hChip
from edge_agent.simulation.type2_phone import read_tag
from edge_agent.tags.i2c_bus import bus_number, is_nak, open_bus
from edge_agent.tags.nt3h_tag import Nt3hTag
from tests.fakes.tag_site import ticket_url

I2C_FUNCS, I2C_RDWR, I2C_M_RD = 0x0705, 0x0707, 0x0001  # linux/i2c-dev.h, linux/i2c.h


class I2cMsg(ctypes.Structure):
    """struct i2c_msg of linux/i2c.h."""

    _fields_ = (
        ("addr", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("len", ctypes.c_uint16),
        ("buf", ctypes.POINTER(ctypes.c_ubyte)),
    )


class RdwrData(ctypes.Structure):
    """struct i2c_rdwr_ioctl_data of linux/i2c-dev.h."""

    _fields_ = (("msgs", ctypes.POINTER(I2cMsg)), ("nmsgs", ctypes.c_uint32))


class Kernel:
    """What i2c-dev does with an ioctl, for one bus."""

    def __init__(self, bus: Nt3hBus) -> None:
        self._bus = bus
        self.transactions = 0

    def ioctl(self, _fd: int, request: int, argument: ctypes.Structure) -> int:
        if request == I2C_FUNCS:
            return 0
        assert request == I2C_RDWR
        data = RdwrData.from_address(ctypes.addressof(argument))
        assert data.nmsgs == 1, "a repeated START may reset the chip"
        self.transactions += 1
        message = data.msgs[0]
        if message.flags & I2C_M_RD:
            for n, byte in enumerate(self._bus.read(message.addr, message.len)):
                message.buf[n] = byte
        else:
            self._bus.write(message.addr, bytes(message.buf[: message.len]))
        return 0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def emulated(clock: FakeClock) -> Nt3hBus:
    return Nt3hBus(Nt3hChip(clock.monotonic), spend=clock.advance)


@pytest.fixture
def kernel(emulated: Nt3hBus, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(emulated)
    monkeypatch.setattr(smbus2.smbus2, "ioctl", kernel.ioctl)
    return kernel


@pytest.fixture
def node(tmp_path: Path) -> str:
    path = tmp_path / "i2c-1"
    path.touch()
    return str(path)


def test_a_ticket_goes_through_the_real_library_and_back(
    kernel: Kernel, emulated: Nt3hBus, node: str, clock: FakeClock
) -> None:
    tag = Nt3hTag(
        node,
        address=0x55,
        places=4,
        app="net.example.tap",
        clock=clock,
        open_bus=open_bus,
        below=lambda _n: 0,
        sleep=clock.advance,
    )
    assert tag.open().chip == "NT3H2111, 888 bytes"
    tag.show(ticket_url(1))
    tag.show(ticket_url(2))
    emulated.chip.field_on()
    emulated.chip.activate()
    seen = read_tag(emulated.chip.transceive)
    assert (seen.url, seen.app) == (ticket_url(2), "net.example.tap")
    tag.look()
    assert len(tag.events) == 2
    tag.close()
    assert kernel.transactions > 100
    assert emulated.chip.meter.address_changes == 0


def test_a_missing_acknowledge_is_a_nak_and_bytes_come_back_whole(kernel: Kernel, emulated: Nt3hBus, node: str) -> None:
    bus = open_bus(node)
    assert bus.write_read(0x55, b"\x00", 16) == bytes(emulated.chip.memory[0])
    with pytest.raises(OSError, match="No such device") as caught:
        bus.write(0x54, b"\x00")
    assert is_nak(caught.value)
    assert not is_nak(OSError(errno.ETIMEDOUT, "timed out"))
    bus.close()
    bus.close()


def test_a_bus_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="no I2C bus at") as caught:
        open_bus(str(tmp_path / "i2c-9"))
    assert caught.value.fault is ReaderFault.NOT_FOUND
    assert "i2c-dev" in caught.value.remedy


def test_a_bus_that_may_not_be_opened_says_which_group(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_path: str, _flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(smbus2.smbus2.os, "open", forbidden)
    with pytest.raises(ReaderError, match="may not be opened") as caught:
        open_bus(node)
    assert caught.value.fault is ReaderFault.NO_PERMISSION
    assert "group i2c" in caught.value.remedy


def test_a_file_that_is_no_bus_is_told(node: str) -> None:
    with pytest.raises(ReaderError, match="Inappropriate ioctl"):
        open_bus(node)


@pytest.mark.parametrize(("bus", "number"), [("/dev/i2c-1", "1"), ("/dev/i2c-12", "12"), ("/dev/tag", "/dev/tag")])
def test_the_remedy_names_the_bus(bus: str, number: str) -> None:
    assert bus_number(bus) == number

"""The simulated serial readers keep to the data sheets, byte by byte; nobody of ours reads them here."""

import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.simulation import serial_readers
from edge_agent.simulation.serial_port import SerialEmulator
from edge_agent.simulation.serial_readers import NumberReader

EM_CARD = bytes.fromhex("0C000621A5")
UID = bytes.fromhex("160FF47F")


class Host:
    """A terminal program."""

    def __init__(self, path: str, speed: int = termios.B9600) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        mode = termios.tcgetattr(self.fd)
        mode[4] = mode[5] = speed
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)

    def read(self, count: int, within_s: float = 30.0) -> bytes:
        data = b""
        until = time.monotonic() + within_s
        while len(data) < count and (left := until - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                data += os.read(self.fd, 4096)
        return data


@contextmanager
def hosted(reader: SerialEmulator, speed: int = termios.B9600) -> Iterator[Host]:
    with reader:
        host = Host(reader.device_path, speed)
        try:
            yield host
        finally:
            os.close(host.fd)


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(
    ("make", "number", "wire"),
    [
        (serial_readers.id12la, EM_CARD, b"\x020C000621A58E\r\n\x03"),
        (serial_readers.rdm6300, EM_CARD, b"\x020C000621A58E\x03"),
        (serial_readers.aa_bb, UID, bytes.fromhex("AA 00 06 00 00 16 0F F4 7F 94 BB")),
        (serial_readers.ascii_line, UID, b"160FF47F\r"),
    ],
    ids=["id12la", "rdm6300", "aa_bb", "ascii_line"],
)
def test_a_card_is_said_as_the_data_sheet_has_it(
    make: Callable[..., NumberReader], number: bytes, wire: bytes, timed: bool
) -> None:
    reader = make(timed=timed)
    with hosted(reader) as host:
        reader.tap(number)
        assert host.read(len(wire)) == wire


def test_an_rdm6300_repeats_while_the_card_is_there_and_then_no_more() -> None:
    reader = serial_readers.rdm6300()
    with hosted(reader) as host:
        reader.place(EM_CARD)
        assert host.read(14 * 3)[: 14 * 3] == b"\x020C000621A58E\x03" * 3
        reader.remove()
        said = reader.said
        time.sleep(0.2)
        assert reader.said == said


def test_an_id12la_says_a_card_once() -> None:
    reader = serial_readers.id12la()
    with hosted(reader) as host:
        reader.place(EM_CARD)
        host.read(16)
        assert host.read(1, within_s=0.2) == b""
        assert reader.said == 1


def test_a_reader_that_is_pulled_out_forgets_its_card_and_comes_back_under_its_name() -> None:
    reader = serial_readers.rdm6300()
    with reader:
        path = reader.device_path
        reader.place(EM_CARD)
        reader.unplug()
        assert not os.path.lexists(path)
        said = reader.said
        reader.replug()
        host = Host(path)
        assert host.read(1, within_s=0.2) == b""
        assert reader.said == said
        reader.place(EM_CARD)
        assert host.read(14)[:14] == b"\x020C000621A58E\x03"
        os.close(host.fd)


def test_a_host_at_another_speed_reads_something_else() -> None:
    reader = serial_readers.id12la()
    with hosted(reader, termios.B115200) as host:
        reader.tap(EM_CARD)
        heard = host.read(1)
        assert heard
        assert b"0C000621A5" not in heard


def test_noise_comes_as_it_is() -> None:
    reader = serial_readers.ascii_line()
    with hosted(reader) as host:
        reader.noise(b"\x80\x00\xff")
        assert host.read(3) == b"\x80\x00\xff"


def test_closing_leaves_nothing_behind() -> None:
    reader = serial_readers.rdm6300()
    reader.start()
    path = reader.device_path
    with pytest.raises(RuntimeError, match="running"):
        reader.start()
    reader.place(EM_CARD)
    reader.close()
    reader.close()
    assert not Path(path).parent.exists()
    reader.unplug()
    reader.remove()

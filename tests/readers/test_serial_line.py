import fcntl
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.serial_line import SerialLine
from edge_agent.simulation.pty_port import PtyPort


@pytest.fixture
def port() -> Iterator[PtyPort]:
    port = PtyPort("nfc-reader0")
    port.plug_in()
    yield port
    port.discard()


@pytest.fixture
def line(port: PtyPort) -> Iterator[SerialLine]:
    line = SerialLine(str(port.path), baud=9600, what="ascii_line reader")
    line.open()
    yield line
    line.close()


def read_all(line: SerialLine, count: int) -> bytes:
    data = b""
    until = time.monotonic() + 30
    while len(data) < count and time.monotonic() < until:
        data += line.read(1.0)
    return data


def read_port(port: PtyPort, count: int) -> bytes:
    data = b""
    until = time.monotonic() + 30
    while len(data) < count and time.monotonic() < until:
        data += port.read()
    return data


def has_arrived(port: PtyPort, count: int) -> None:
    """Wait until so much lies there for the host: the kernel passes it on by itself, and may take its time."""
    until = time.monotonic() + 30
    while struct.unpack("i", fcntl.ioctl(port._slave, termios.FIONREAD, bytes(4)))[0] < count:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_bytes_go_both_ways_at_the_speed_asked_for(port: PtyPort, line: SerialLine) -> None:
    assert port.host_rate() == 9600
    port.write(b"\x00\x11\x13\x7f\xff\r\n")
    assert read_all(line, 7) == b"\x00\x11\x13\x7f\xff\r\n"
    line.write(b"\x02\x03\x04\r\n")
    assert read_port(port, 5) == b"\x02\x03\x04\r\n"


def test_what_came_before_the_opening_is_thrown_away(port: PtyPort) -> None:
    port.write(b"old")
    has_arrived(port, 3)
    line = SerialLine(str(port.path), baud=9600, what="reader")
    line.open()
    assert line.read(0) == b""
    line.close()


def test_nothing_there_is_nothing_read(line: SerialLine) -> None:
    assert line.read(0) == b""
    assert line.read(0.02) == b""


def test_another_thread_can_end_a_wait(line: SerialLine) -> None:
    waking = threading.Timer(0.05, line.wake)
    waking.start()
    before = time.monotonic()
    assert line.read(60) == b""
    assert time.monotonic() - before < 50
    waking.join()


@pytest.mark.parametrize("act", [lambda line: line.read(5), lambda line: line.write(b"x")], ids=["read", "write"])
def test_a_reader_that_is_pulled_out_is_unplugged(port: PtyPort, line: SerialLine, act) -> None:
    port.pull_out()
    with pytest.raises(ReaderError) as raised:
        act(line)
    assert raised.value.fault is ReaderFault.UNPLUGGED


@pytest.mark.parametrize("act", [lambda line: line.read(5), lambda line: line.write(b"x")], ids=["read", "write"])
def test_a_path_that_outlives_its_device_does_not_hide_that_it_is_gone(port: PtyPort, line: SerialLine, act) -> None:
    path = port.path
    port.pull_out()
    path.symlink_to("/dev/null")
    try:
        with pytest.raises(ReaderError) as raised:
            act(line)
        assert raised.value.fault is ReaderFault.UNPLUGGED
    finally:
        path.unlink()


def test_no_port_is_not_found() -> None:
    with pytest.raises(ReaderError) as raised:
        SerialLine("/dev/no-such-reader", baud=9600, what="reader").open()
    assert raised.value.fault is ReaderFault.NOT_FOUND


def test_a_port_has_one_user(port: PtyPort, line: SerialLine) -> None:
    with pytest.raises(ReaderError, match="in use"):
        SerialLine(str(port.path), baud=9600, what="reader").open()


def test_what_is_no_serial_port_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReaderError):
        SerialLine(str(tmp_path / "file"), baud=9600, what="reader").open()


def test_a_line_that_takes_nothing_does_not_block_for_ever(line: SerialLine) -> None:
    with pytest.raises(ReaderError, match="no ascii_line reader answers"):
        line.write(bytes(10_000_000))


def test_closing_is_idempotent_and_leaves_nothing_open(port: PtyPort) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    line = SerialLine(str(port.path), baud=115200, what="reader")
    for _ in range(3):
        line.open()
        line.close()
        line.close()
        line.wake()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(ReaderError):
        line.read(0)


def test_a_port_that_could_not_be_set_up_is_not_kept(port: PtyPort, monkeypatch: pytest.MonkeyPatch) -> None:
    line = SerialLine(str(port.path), baud=9600, what="reader")

    def fails(_self: object) -> None:
        raise termios.error(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("serial.Serial.reset_input_buffer", fails)
        with pytest.raises(ReaderError):
            line.open()
    line.open()
    line.close()


def test_another_speed_is_in_force_at_once_and_what_came_before_is_gone(port: PtyPort, line: SerialLine) -> None:
    port.write(b"at the old speed")
    has_arrived(port, 16)
    line.change_speed(57600)
    assert port.host_rate() == 57600
    assert line.read(0) == b""
    port.write(b"new")
    assert read_all(line, 3) == b"new"


def test_a_speed_that_the_port_cannot_do_is_an_error_of_the_reader(line: SerialLine) -> None:
    with pytest.raises(ReaderError):
        line.change_speed(-1)


def test_the_speed_of_a_closed_line_is_nobodys(line: SerialLine) -> None:
    line.close()
    with pytest.raises(ReaderError):
        line.change_speed(9600)

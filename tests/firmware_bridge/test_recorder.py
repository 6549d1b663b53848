"""What stands between host and MCU changes nothing: the bytes of both arrive as they were, whatever happens."""

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.port import Port, open_port
from firmware_bridge.messages import Ack, Ping, encode_message
from firmware_bridge.recorder import HostSide, Recorder
from firmware_bridge.simulator import McuSimulator
from firmware_bridge.trace import MAX_PIECE, Direction, Record


class Mcu:
    """The far end of a pty, to be read and written by hand."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        os.set_blocking(self.far, False)

    def take(self) -> bytes:
        try:
            return os.read(self.far, 65536)
        except BlockingIOError:
            return b""


class Bench:
    def __init__(self, tmp_path: Path) -> None:
        self.records: list[Record] = []
        self.mcu = Mcu()
        self.port = open_port(os.ttyname(self.mcu.near))
        self.side = HostSide(str(tmp_path / "host")).__enter__()
        self.host: Port = open_port(self.side.path)
        self.recorder = Recorder(self.side, self.port, self.records.append)

    def carry_to_mcu(self, size: int) -> bytes:
        """Carry until the MCU has so many bytes, however late the kernel passes them on."""
        return self._carry(size, self.mcu.take)

    def carry_to_host(self, size: int) -> bytes:
        """As above, the other way."""
        return self._carry(size, self.host.read)

    def _carry(self, size: int, take: Callable[[], bytes]) -> bytes:
        taken, end = b"", time.monotonic() + 30
        while len(taken) < size and time.monotonic() < end:
            self.recorder.run_once(0.01)
            taken += take()
        return taken

    def close(self) -> None:
        self.host.close()
        self.side.close()
        self.port.close()
        for fd in (self.mcu.far, self.mcu.near):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_both_directions_arrive_unchanged_and_are_told(bench: Bench) -> None:
    ping, ack = encode_message(Ping(1000), 1), encode_message(Ack(1), 1)
    bench.host.write(b"\x00" + ping)
    assert bench.carry_to_mcu(1 + len(ping)) == b"\x00" + ping
    os.write(bench.mcu.far, b"boot\r\n" + ack)
    assert bench.carry_to_host(6 + len(ack)) == b"boot\r\n" + ack
    assert [(record.direction, record.data) for record in bench.records] == [
        (Direction.TO_MCU, b"\x00"),
        (Direction.TO_MCU, ping),
        (Direction.TO_HOST, b"boot\r\n" + ack),
    ]
    assert [record.at_us for record in bench.records] == sorted(record.at_us for record in bench.records)


def test_what_no_delimiter_ended_is_told_at_the_end(bench: Bench) -> None:
    os.write(bench.mcu.far, b"half a fra")
    assert bench.carry_to_host(10) == b"half a fra"
    assert bench.records == []
    bench.recorder.flush()
    assert [(record.direction, record.data) for record in bench.records] == [(Direction.TO_HOST, b"half a fra")]


def test_every_byte_of_a_large_burst_arrives_when_the_mcu_is_slow(bench: Bench) -> None:
    burst = os.urandom(60_000)
    sent, arrived, end = 0, b"", time.monotonic() + 60
    while len(arrived) < len(burst) and time.monotonic() < end:
        for _ in range(20):  # long after its buffers were full
            sent += bench.host.write(burst[sent : sent + 4096])
            bench.recorder.run_once(0)
        arrived += bench.mcu.take()
    assert arrived == burst
    bench.recorder.flush()
    assert b"".join(record.data for record in bench.records) == burst


def test_a_host_that_takes_nothing_holds_no_memory_and_stops_no_recording(bench: Bench) -> None:
    said, end = bytes(range(1, 256)) * 16, time.monotonic() + 60

    def told() -> int:
        return sum(len(record.data) for record in bench.records)

    for times in range(1, 41):
        os.write(bench.mcu.far, said)
        # All but what is not long enough for a record yet.
        while told() < times * len(said) - MAX_PIECE and time.monotonic() < end:
            bench.recorder.run_once(0.01)
    assert bench.recorder.lost > 0
    assert len(bench.recorder._to_host) <= 0x10000
    assert told() > 40 * 255 * 15


def test_an_mcu_that_is_unplugged_is_told_as_such(tmp_path: Path) -> None:
    with McuSimulator() as simulator, HostSide(str(tmp_path / "host")) as side:
        with open_port(simulator.device_path) as port:
            recorder = Recorder(side, port, [].append)
            simulator.unplug()
            with pytest.raises(LinkError) as failed:
                recorder.run_once(5)
        assert failed.value.fault is LinkFault.UNPLUGGED
    assert not os.path.lexists(side.path)


def test_the_link_of_the_host_is_taken_away_and_a_file_is_not(tmp_path: Path) -> None:
    with HostSide() as side:
        assert Path(side.path).is_symlink()
    assert not Path(side.path).parent.exists()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError), HostSide(str(tmp_path / "file")):
        pass
    assert (tmp_path / "file").read_text() == "precious"


def test_a_second_recording_at_the_same_path_keeps_it_when_the_first_ends(tmp_path: Path) -> None:
    first = HostSide(str(tmp_path / "host")).__enter__()
    with HostSide(str(tmp_path / "host")) as second:
        first.close()
        first.close()
        with open_port(second.path) as host:
            host.write(b"hello")
            assert select.select([second], [], [], 5)[0]
            assert second.read() == b"hello"
    assert not os.path.lexists(tmp_path / "host")

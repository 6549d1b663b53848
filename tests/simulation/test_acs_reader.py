"""The simulated ACS reader answers as its specification's examples do."""

import os
import random
import select
import time
from collections.abc import Iterator

import pytest

from edge_agent.simulation.acs_reader import AcsReader, Mishap
from edge_agent.simulation.cards import PlainCard
from edge_agent.simulation.iso_dep import IsoDepCard, Response, random_uid
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone

ACK = bytes.fromhex("02000003")
ABSENT, PRESENT = 2, 1


def frame(kind: int, data: bytes = b"", *, seq: int = 0, slot: int = 0) -> bytes:
    body = bytes([kind]) + len(data).to_bytes(4, "little") + bytes([slot, seq, 0, 0, 0]) + data
    check = 0
    for byte in body:
        check ^= byte
    return b"\x02" + body + bytes([check, 3])


class Bench:
    def __init__(self, **kind: bool) -> None:
        self.reader = AcsReader(baud=115200, **kind)
        self.reader.start()
        self.fd = os.open(self.reader.device_path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)

    def read(self, count: int, within_s: float = 30.0) -> bytes:
        data = b""
        until = time.monotonic() + within_s
        while len(data) < count and (left := until - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                data += os.read(self.fd, 4096)
        return data

    def ask(self, wire: bytes) -> bytes:
        """The answer behind the ACK."""
        os.write(self.fd, wire)
        got = self.read(4 + 13)
        assert got[:4] == ACK
        size = int.from_bytes(got[6:10], "little")
        return (got + self.read(4 + 13 + size - len(got)))[4:]

    def close(self) -> None:
        os.close(self.fd)
        self.reader.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def phone() -> SimulatedPhone:
    return SimulatedPhone(rng=random.Random(1))


def test_the_slot_says_whether_something_is_there(bench: Bench) -> None:
    assert bench.ask(frame(0x65, seq=9))[6:9] == bytes([0, 9, ABSENT])
    bench.reader.place(phone())
    assert bench.ask(frame(0x65))[8] == PRESENT
    bench.ask(frame(0x62))
    assert bench.ask(frame(0x65))[8] == 0


def test_power_on_gives_the_atr_of_a_phone_or_of_a_storage_card(bench: Bench) -> None:
    failed = bench.ask(frame(0x62))
    assert (failed[8] & 0xC0, failed[9]) == (0x40, 0xFE)
    bench.reader.place(phone())
    assert bench.ask(frame(0x62))[11:-2].hex() == "3b80800101"
    bench.reader.place(PlainCard(bytes.fromhex("04A1B2C3")))
    atr = bench.ask(frame(0x62))[11:-2]
    assert atr.hex().startswith("3b8f8001804f0ca000000306030001")
    assert bench.ask(frame(0x6F, bytes.fromhex("FFCA000000")))[11:-2].hex() == "04a1b2c39000"
    assert bench.ask(frame(0x6F, b"\x00\xa4\x04\x00"))[11:-2].hex() == "6a81"


def test_apdus_reach_the_application(bench: Bench) -> None:
    card = phone()
    bench.reader.place(card)
    bench.ask(frame(0x62))
    select_aid = b"\x00\xa4\x04\x00" + bytes([len(TAP_AID)]) + TAP_AID + b"\x00"
    assert bench.ask(frame(0x6F, select_aid))[-4:-2] == b"\x90\x00"
    assert card.app.selects == 1


def test_a_damaged_command_is_refused_and_the_last_answer_can_be_asked_for(bench: Bench) -> None:
    good = frame(0x65, seq=5)
    answer = bench.ask(good)
    os.write(bench.fd, good[:-2] + bytes([good[-2] ^ 1, 3]))
    assert bench.read(4) == bytes.fromhex("02FFFF03")
    os.write(bench.fd, good[:-1] + b"\x04")
    assert bench.read(4) == bytes.fromhex("02FDFD03")
    os.write(bench.fd, frame(0x65, slot=2))
    assert bench.read(4) == bytes.fromhex("02FBFB03")
    os.write(bench.fd, b"\x02\x6f\x06\x01\x00\x00" + bytes(10))
    assert bench.read(4) == bytes.fromhex("02FEFE03")
    os.write(bench.fd, b"\x02" + bytes(11) + b"\x03")
    assert bench.read(13) == answer


def test_it_hears_nothing_while_it_waits_for_a_phone(bench: Bench) -> None:
    class Slow:
        def command(self, apdu: bytes) -> Response | None:
            os.write(bench.fd, frame(0x65))  # in time, however long this machine stands still
            return Response(b"\x67\x00", delay_s=0.3)

        def link_lost(self) -> None:
            pass

    bench.reader.place(IsoDepCard(Slow(), random_uid(random.Random(1))))
    bench.ask(frame(0x62))
    os.write(bench.fd, frame(0x6F, b"\x00\xa4\x04\x00"))
    assert bench.read(4 + 15)[:4] == ACK
    assert bench.read(1, within_s=0.1) == b""


def test_mishaps_happen_to_the_next_command_only(bench: Bench) -> None:
    bench.reader.mishaps.extend([Mishap.COMMAND_LOST, Mishap.COMMAND_DAMAGED, Mishap.ACK_LOST])
    os.write(bench.fd, frame(0x65))
    assert bench.read(1, within_s=0.1) == b""
    os.write(bench.fd, frame(0x65))
    assert bench.read(4) == bytes.fromhex("02FFFF03")
    os.write(bench.fd, frame(0x65))
    assert bench.read(13)[:2] == b"\x02\x81"
    assert bench.ask(frame(0x65))[1] == 0x81


def test_where_it_is_switched_on_it_tells_of_cards_by_itself() -> None:
    bench = Bench(notify=True)
    bench.reader.place(phone())
    assert bench.read(5) == bytes.fromhex("0250035303")
    bench.reader.remove()
    assert bench.read(5) == bytes.fromhex("0250025203")
    bench.close()

"""The simulated card in the virtual PC/SC reader, seen from the driver's side of the connection; no pcscd needed."""

import random
import socket
import time
from collections.abc import Iterator

import pytest

from edge_agent.simulation.iso_dep import Response
from edge_agent.simulation.odd_phones import Fixed, Silent
from edge_agent.simulation.phones import TAP_AID, TapApp
from edge_agent.simulation.vpcd_card import PHONE_ATR, STORAGE_ATR, VirtualCard, VirtualSlot

OFF, ON, RESET, GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
SELECT = b"\x00\xa4\x04\x00\x09" + TAP_AID + b"\x00"
GET_UID = bytes.fromhex("ffca000000")


class Driver:
    """The part of vpcd: it listens, sends with a length before each message, and reads as much."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.port: int = self._listening.getsockname()[1]
        self.line = socket.socket()

    def accept(self) -> None:
        self.line.close()
        self.line, _ = self._listening.accept()
        self.line.settimeout(10)

    def send(self, message: bytes) -> None:
        self.line.sendall(len(message).to_bytes(2, "big") + message)

    def ask(self, message: bytes) -> bytes:
        self.send(message)
        return self.receive()

    def receive(self) -> bytes:
        size = int.from_bytes(self._exactly(2), "big")
        return self._exactly(size)

    def hung_up(self) -> bool:
        return self.line.recv(1) == b""

    def close(self) -> None:
        self._listening.close()
        self.line.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.line.recv(size - len(data))
            assert part, "the card hung up"
            data += part
        return data


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    yield made
    made.close()


@pytest.fixture
def slot(driver: Driver) -> Iterator[VirtualSlot]:
    with VirtualSlot(driver.port) as made:
        yield made


class Watched(TapApp):
    """Counts the ends of its link."""

    lost = 0

    def link_lost(self) -> None:
        self.lost += 1
        super().link_lost()


def test_a_card_says_its_atr_and_answers_apdus(driver: Driver, slot: VirtualSlot) -> None:
    stay = slot.insert(VirtualCard(TapApp(random.Random(1))))
    driver.accept()
    assert driver.ask(GET_ATR) == PHONE_ATR
    driver.send(ON)
    assert driver.ask(SELECT).endswith(b"\x90\x00")
    assert stay.commands == [SELECT]
    assert stay.seen_at is not None
    assert stay.seen_at >= stay.inserted_at


@pytest.mark.parametrize("message", [OFF, RESET], ids=["power off", "reset"])
def test_power_and_reset_end_the_link_of_the_application(driver: Driver, slot: VirtualSlot, message: bytes) -> None:
    app = Watched(random.Random(1))
    stay = slot.insert(VirtualCard(app))
    driver.accept()
    driver.send(message)
    driver.ask(GET_ATR)
    assert app.lost == 1
    assert stay.resets == (message == RESET)


def test_the_reader_answers_for_the_uid_and_nothing_else(driver: Driver, slot: VirtualSlot) -> None:
    slot.insert(VirtualCard(Fixed(b"\x90\x00"), STORAGE_ATR, b"\x04\x01\x02\x03"))
    driver.accept()
    assert driver.ask(GET_UID) == b"\x04\x01\x02\x03\x90\x00"
    assert driver.ask(b"\xff\x00\x40\x00\x00") == b"\x6a\x81"
    slot.remove()
    slot.insert(VirtualCard(Fixed(b"\x90\x00")))
    driver.accept()
    assert driver.ask(GET_UID) == b"\x6a\x81"


def test_a_card_that_is_taken_out_hangs_up_even_amid_an_answer(driver: Driver, slot: VirtualSlot) -> None:
    for application in (TapApp(random.Random(1), latency_s=60), Silent()):
        stay = slot.insert(VirtualCard(application))
        driver.accept()
        driver.send(SELECT)
        while not stay.commands:
            time.sleep(0.001)
        slot.remove()
        assert driver.hung_up()


def test_a_card_stays_in_over_a_restart_of_the_driver_and_over_a_broken_link(driver: Driver, slot: VirtualSlot) -> None:
    card = VirtualCard(Fixed(b""))
    slot.insert(card)
    driver.accept()
    driver.line.close()
    driver.accept()
    driver.send(SELECT)
    assert driver.hung_up(), "an empty answer cannot be sent"
    card.application = Fixed(b"\x90\x00")
    driver.accept()
    assert driver.ask(SELECT) == b"\x90\x00"


def test_there_is_one_card_in_a_slot_and_taking_it_out_twice_is_no_error(driver: Driver, slot: VirtualSlot) -> None:
    slot.insert(VirtualCard(Silent()))
    with pytest.raises(RuntimeError, match="there is a card in the slot"):
        slot.insert(VirtualCard(Silent()))
    slot.remove()
    slot.remove()


def test_without_a_driver_a_card_waits_outside() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with VirtualSlot(port) as slot:
        assert slot.insert(VirtualCard(Silent())).seen_at is None


def test_an_answer_may_be_as_long_as_the_protocol_can_say(driver: Driver, slot: VirtualSlot) -> None:
    class Long(Silent):
        def command(self, apdu: bytes) -> Response | None:
            return Response(b"\x00" * 65_535)

    slot.insert(VirtualCard(Long()))
    driver.accept()
    assert len(driver.ask(SELECT)) == 65_535

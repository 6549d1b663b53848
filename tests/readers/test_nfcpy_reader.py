"""The real nfcpy driver above an emulated chip: what it does, and every trap that it is wrapped against."""

import asyncio
import errno
import gc
import logging
import math
import os
import random
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from nfc.clf import pn532

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.errors import ConfigError, LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.models import Cue, StoredTap, TapFacts
from edge_agent.readers import apdu, nfcpy_reader, threaded_reader
from edge_agent.readers.base import Recovery, Step, TargetKind, Tried
from edge_agent.readers.exchange import CardPolicy, ExchangeSettings, Outcome
from edge_agent.readers.nfcpy_reader import NfcpyReader, _Chipset, _Line, _Pn532, look_for_chip
from edge_agent.readers.pn532_care import SelfCheck
from edge_agent.readers.ports import resolve
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState, ReopenDelays
from edge_agent.simulation.cards import PaymentCard, PlainCard, type2_tag
from edge_agent.simulation.iso_dep import Ats
from edge_agent.simulation.odd_phones import ODD_PHONES, Extending, Fixed, ObservingPhone, Silent, Vanishing, phone_with
from edge_agent.simulation.phones import SimulatedPhone, TapApp
from edge_agent.simulation.picc import Answer, TypeA
from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.pn532_host import have_patience
from tests.fakes.port_tree import PortTree
from tests.fakes.waiting import eventually

AID = bytes.fromhex("F05441504544474501")
SELECT = apdu.select(AID)
TOKEN = bytes(i & 0xFF for i in range(248))
SET_BAUD = 0x10
LONG_S = 30.0
"""Enough for any answer, also on a machine that stands still for a while."""


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pn532Emulator]:
    have_patience(monkeypatch)
    with Pn532Emulator() as running:
        yield running


def make_reader(emulator: Pn532Emulator, **options: float) -> NfcpyReader:
    options.setdefault("poll_interval_s", 0.01)
    options.setdefault("gone_after_s", 0.1)
    return NfcpyReader("nfc0", emulator.device_path, clock=SystemClock(), **options)  # type: ignore[arg-type] # one baud


@pytest.fixture
async def reader(emulator: Pn532Emulator) -> AsyncIterator[NfcpyReader]:
    opened = make_reader(emulator)
    await opened.open()
    yield opened
    await opened.close()


# -- opening ----------------------------------------------------------------------------------------------------------


async def test_open_tells_what_it_found(emulator: Pn532Emulator) -> None:
    reader = make_reader(emulator)
    info = await reader.open()
    await reader.close()
    assert (info.driver, info.device, info.chip) == ("pn532", emulator.device_path, "PN532 v1.6")


async def test_baud_stays_and_no_shell_is_started(emulator: Pn532Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_shell(*_args: object, **_options: object) -> int:
        raise AssertionError("a shell was started")

    monkeypatch.setattr(os, "system", no_shell)
    monkeypatch.setattr(subprocess, "Popen", no_shell)
    reader = make_reader(emulator)
    await reader.open()
    assert emulator.baud == 115200
    assert not [command for command in emulator.commands if command[0] == SET_BAUD]
    await reader.close()


async def test_a_configured_baud_is_agreed_and_given_back(emulator: Pn532Emulator) -> None:
    reader = make_reader(emulator, baud=921600)
    await reader.open()
    assert emulator.baud == 921600
    emulator.place(SimulatedPhone())
    session = await reader.next_session()
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    await reader.close()
    assert emulator.baud == 115200


async def test_a_uart_that_cannot_do_the_configured_baud_is_named() -> None:
    with Pn532Emulator(max_baud=115200) as emulator:
        reader = make_reader(emulator, baud=921600)
        with pytest.raises(ReaderError) as refused:
            await reader.open()
        assert refused.value.fault is ReaderFault.NO_ANSWER
        assert "`baud`" in refused.value.remedy


async def test_a_chip_left_at_another_speed_by_a_crash_is_found(emulator: Pn532Emulator) -> None:
    crashed = make_reader(emulator, baud=460800)
    await crashed.open()
    driver = crashed._driver
    assert isinstance(driver, _Pn532)
    driver._frontend.device = None  # nobody says good-bye to the chip
    await crashed.close()
    assert emulator.baud == 460800
    reader = make_reader(emulator, baud=460800)
    assert (await reader.open()).chip == "PN532 v1.6"
    await reader.close()


async def test_no_device_no_reader() -> None:
    reader = NfcpyReader("nfc0", "/dev/no-such-reader", clock=SystemClock())
    with pytest.raises(ReaderError) as refused:
        await reader.open()
    assert refused.value.fault is ReaderFault.NOT_FOUND
    assert "plug in" in str(refused.value)


async def test_a_line_without_a_chip_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.readers.nfcpy_reader._WAKE_FOR_S", 0.1)
    master, slave = os.openpty()
    try:
        reader = NfcpyReader("nfc0", os.ttyname(slave), clock=SystemClock())
        with pytest.raises(ReaderError) as refused:
            await reader.open()
        assert refused.value.fault is ReaderFault.NO_ANSWER
    finally:
        os.close(master)
        os.close(slave)


async def test_what_is_no_tty_is_no_reader() -> None:
    reader = NfcpyReader("nfc0", "/dev/null", clock=SystemClock())
    with pytest.raises(ReaderError) as refused:
        await reader.open()
    assert refused.value.fault is ReaderFault.NO_ANSWER


async def test_a_chip_that_talks_nonsense_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.readers.nfcpy_reader._WAKE_FOR_S", 0.1)
    master, slave = os.openpty()
    stop = threading.Event()

    def babble() -> None:
        rng = random.Random(1)
        while not stop.wait(0.002):
            os.write(master, rng.randbytes(3))

    thread = threading.Thread(target=babble)
    thread.start()
    try:
        reader = NfcpyReader("nfc0", os.ttyname(slave), clock=SystemClock())
        with pytest.raises(ReaderError) as refused:
            await reader.open()
        assert refused.value.fault in (ReaderFault.NO_ANSWER, ReaderFault.IO)
    finally:
        stop.set()
        thread.join()
        os.close(master)
        os.close(slave)


async def test_a_line_in_use_is_not_shared(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    other = make_reader(emulator)
    with pytest.raises(ReaderError, match="in use"):
        await other.open()


async def test_a_line_in_use_keeps_its_speed(emulator: Pn532Emulator) -> None:
    reader, other = make_reader(emulator, baud=460800), make_reader(emulator)
    await reader.open()
    with pytest.raises(ReaderError, match="in use"):
        await other.open()
    assert emulator._port.host_rate() == 460800
    await reader.close()


@pytest.mark.parametrize("device", ["/dev/tty0;reboot", "ttyUSB0", "/dev/$(reboot)"])
def test_a_device_name_that_a_shell_could_misread_is_refused(device: str) -> None:
    with pytest.raises(ConfigError):
        NfcpyReader("nfc0", device, clock=SystemClock())


def test_a_speed_that_the_chip_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="baud"):
        NfcpyReader("nfc0", "/dev/ttyUSB0", clock=SystemClock(), baud=100000)


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_select_and_token_reach_the_phone(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    phone = SimulatedPhone(sub=b"pseudonym")
    placed = emulator.place(phone)
    session = await reader.next_session()
    assert (session.target.kind, session.target.sak) == (TargetKind.ISO_DEP, 0x20)
    assert placed.placed_at <= session.seen_at <= time.monotonic()
    answer = apdu.parse_response(await session.transceive(SELECT, LONG_S))
    assert apdu.parse_application(answer.data, AID).nonce == phone.nonce
    assert 0 < session.rtt_s < LONG_S
    receipt = apdu.parse_response(await session.transceive(apdu.deliver_token(TOKEN), LONG_S))
    assert phone.tokens == [TOKEN]
    assert apdu.parse_receipt(receipt.data) == phone.receipts[0]
    assert reader.last_poll >= session.seen_at


async def test_one_thread_owns_the_library(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    def found() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "reader-nfc0"]

    await eventually(lambda: len(found()) == 1)  # that of an earlier test may need a moment to end
    owners = found()
    assert owners[0].daemon
    await reader.close()
    owners[0].join(LONG_S)
    assert not owners[0].is_alive()


async def test_waiting_time_extensions_are_counted(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    emulator.place(ODD_PHONES["wtx_three"](random.Random(1)))
    session = await reader.next_session()
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    assert session.wtx == 3


async def test_endless_waiting_time_extensions_end_with_the_budget(
    emulator: Pn532Emulator, reader: NfcpyReader
) -> None:
    emulator.place(ODD_PHONES["wtx_endless"](random.Random(1)))
    session = await reader.next_session()
    with pytest.raises(SessionLost, match="cut off") as lost:
        await session.transceive(SELECT, 0.3)
    assert lost.value.reason is LostReason.TIMEOUT


async def test_who_is_cut_off_is_told_with_his_extensions(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    emulator.place(ODD_PHONES["wtx_endless"](random.Random(1)))
    await reader.next_session()
    driver = reader._driver  # a session may be over before the driver's own words come
    with pytest.raises(SessionLost, match=r"cut off after \d+ waiting-time extensions") as lost:
        await reader._run(lambda: driver.exchange(SELECT, SystemClock().monotonic() + 0.3))
    assert lost.value.reason is LostReason.TIMEOUT


@dataclass
class Scripted:
    """A card that answers each frame of its script once, and nothing else."""

    script: dict[bytes, list[bytes]]
    delay_s: float = 0.0
    """For answers to blocks, not to RATS."""

    def activate(self) -> TypeA:
        return TypeA(b"\x04\x00", 0x20, b"\x08abc")

    def receive(self, frame: bytes) -> Answer | None:
        answers = self.script.get(frame, [])
        delay_s = 0.0 if frame == RATS else self.delay_s
        return Answer(answers.pop(0), delay_s) if answers else None

    def field_off(self) -> None:
        pass


RATS = b"\xe0\x80"
ATS_FWI_4 = bytes.fromhex("0578804002")


async def test_extension_inside_a_chained_answer_is_granted(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    card = Scripted(
        {
            RATS: [ATS_FWI_4],
            b"\x02" + SELECT: [b"\xf2\xc1"],  # wants time at once, with power level bits
            b"\xf2\x01": [b"\x12first", b"\x03second"],
            b"\xa3": [b"\xf2\x01"],  # and again between two parts of its answer
        }
    )
    emulator.place(card)
    session = await reader.next_session()
    assert await session.transceive(SELECT, LONG_S) == b"firstsecond"
    assert session.wtx == 2


@pytest.mark.parametrize(
    "ats", [b"\x05", bytes.fromhex("0578"), bytes.fromhex("027f"), b"\x00"], ids=["cut", "no TB", "no TA", "zero"]
)
async def test_an_ats_that_is_cut_off_is_one_lost_tap(emulator: Pn532Emulator, reader: NfcpyReader, ats: bytes) -> None:
    emulator.place(Scripted({RATS: [ats]}))
    session = await reader.next_session()
    with pytest.raises(SessionLost) as lost:
        await session.transceive(SELECT, LONG_S)
    assert lost.value.reason is LostReason.PROTOCOL


async def test_frame_waiting_time_is_read_where_ta_is_absent(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    # TL, T0, TB (FWI 8), TC: nfcpy takes TC for TB, and would give up after 0.3 ms.
    ats = bytes.fromhex("04688002")
    emulator.place(Scripted({RATS: [ats], b"\x02" + SELECT: [b"\x02\x90\x00"]}, delay_s=0.05))
    session = await reader.next_session()
    assert await session.transceive(SELECT, LONG_S) == b"\x90\x00"


async def test_guard_time_after_the_ats_is_kept(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    guarded = bytes.fromhex("0578804802")  # SFGI 8: 77 ms
    emulator.place(Scripted({RATS: [guarded], b"\x02" + SELECT: [b"\x02\x90\x00"]}))
    session = await reader.next_session()
    started = time.monotonic()
    assert await session.transceive(SELECT, LONG_S) == b"\x90\x00"
    assert time.monotonic() - started >= 0.07


@pytest.mark.parametrize("fwi", [4, 7, 14])
async def test_a_silent_phone_is_cut_off_whatever_waiting_time_it_announced(
    emulator: Pn532Emulator, reader: NfcpyReader, monkeypatch: pytest.MonkeyPatch, fwi: int
) -> None:
    waits_ms: list[int] = []
    read = _Line.read

    def noted(line: _Line, timeout: int) -> bytearray:
        waits_ms.append(timeout)
        frame: bytearray = read(line, timeout)
        return frame

    emulator.place(phone_with(Silent(), random.Random(1), timing=Ats(fwi=fwi)))
    session = await reader.next_session()
    monkeypatch.setattr(_Line, "read", noted)
    with pytest.raises(SessionLost):
        await session.transceive(SELECT, 0.6)
    asked_ms = list(waits_ms)
    emulator.remove()
    await session.wait_removed()
    assert asked_ms
    assert max(asked_ms) <= 600, "the chip's timer for FWI 14 would hold the thread for 3.3 s and more"


async def test_a_vanished_phone_is_told_from_a_slow_one(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    emulator.place(ODD_PHONES["gone_before_token"](random.Random(1)))
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    with pytest.raises(SessionLost) as lost:
        await session.transceive(apdu.deliver_token(TOKEN), LONG_S)
    assert lost.value.reason is LostReason.VANISHED


async def test_a_new_poll_ends_the_session_before(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    emulator.place(SimulatedPhone())
    first = await reader.next_session()
    second = await reader.next_session()
    with pytest.raises(SessionLost, match="over"):
        await first.transceive(SELECT, LONG_S)
    assert (await second.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    await second.close()
    await second.close()
    with pytest.raises(SessionLost, match="over"):
        await second.transceive(SELECT, LONG_S)


async def test_a_plain_card_takes_no_apdu(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    card = PlainCard(bytes.fromhex("01020304"))
    emulator.place(card)
    session = await reader.next_session()
    assert session.target.kind is TargetKind.PLAIN
    with pytest.raises(SessionLost):
        await session.transceive(SELECT, LONG_S)
    assert not card.commands, "nothing was asked of a card that is none of ours"


async def test_two_phones_at_once_wait_for_one(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    first, second = SimulatedPhone(), SimulatedPhone()
    emulator.place(first)
    emulator.place(second)
    poll = asyncio.ensure_future(reader.next_session())
    await asyncio.to_thread(emulator.wait_for_polls, 3)
    assert not poll.done()
    emulator.remove(second)
    session = await asyncio.wait_for(poll, LONG_S)
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


async def test_a_cancelled_poll_leaves_the_reader_usable(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    for _ in range(5):
        poll = asyncio.ensure_future(reader.next_session())
        await asyncio.sleep(0.003)
        poll.cancel()
        await asyncio.wait({poll})
    emulator.place(SimulatedPhone())
    session = await reader.next_session()
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


# -- presence ---------------------------------------------------------------------------------------------------------


async def test_a_held_phone_is_still_there_until_it_leaves(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    phone = SimulatedPhone()
    emulator.place(phone)
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    polls = emulator.polls
    removed = asyncio.ensure_future(session.wait_removed())
    await asyncio.sleep(0.6)
    assert not removed.done()
    assert emulator.polls == polls, "asked by R(NAK), without switching its field off"
    assert phone.app.selects == 1
    emulator.remove()
    await asyncio.wait_for(removed, LONG_S)


class Leaping(SystemClock):
    """The machine's clock, and as much more as a test lets pass."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def test_a_short_dropout_is_no_removal(emulator: Pn532Emulator) -> None:
    clock = Leaping()
    reader = NfcpyReader("nfc0", emulator.device_path, clock=clock, poll_interval_s=0.01, gone_after_s=1000.0)
    await reader.open()
    phone = SimulatedPhone()
    emulator.place(phone)
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    removed = asyncio.ensure_future(session.wait_removed())
    for _ in range(2):
        emulator.remove(phone)
        await asyncio.to_thread(emulator.wait_for_polls, 1)
        placement = emulator.place(phone)
        await asyncio.to_thread(emulator.wait_seen, placement)
        assert not removed.done()
    emulator.remove(phone)
    await asyncio.to_thread(emulator.wait_for_polls, 2)  # the first of them was missed for certain
    assert not removed.done()
    clock.ahead_s = 1000.0
    await asyncio.wait_for(removed, LONG_S)
    await reader.close()


async def test_a_card_is_known_by_its_uid(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    card, other = type2_tag(random.Random(1)), type2_tag(random.Random(2))
    emulator.place(card)
    session = await reader.next_session()
    removed = asyncio.ensure_future(session.wait_removed())
    await asyncio.sleep(0.5)
    assert not removed.done()
    emulator.remove(card)
    emulator.place(other)
    await asyncio.wait_for(removed, LONG_S)
    assert (await reader.next_session()).target.kind is TargetKind.PLAIN


# -- the line ---------------------------------------------------------------------------------------------------------


def open_descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - iterdir would hold one more open


@pytest.mark.parametrize("moment", ["polling", "exchange", "presence"])
async def test_unplugged_and_back(emulator: Pn532Emulator, reader: NfcpyReader, moment: str) -> None:
    descriptors = open_descriptors()
    session = None
    if moment != "polling":
        emulator.place(SimulatedPhone())
        session = await reader.next_session()
        await session.transceive(SELECT, LONG_S)
    if session is None:
        work = asyncio.ensure_future(reader.next_session())
        await asyncio.to_thread(emulator.wait_for_polls, 1)
        emulator.unplug()
    elif moment == "presence":
        work = asyncio.ensure_future(session.wait_removed())
        await asyncio.sleep(0.05)
        emulator.unplug()
    else:
        emulator.unplug()
        work = asyncio.ensure_future(session.transceive(SELECT, LONG_S))
    with pytest.raises(ReaderError) as lost:
        await asyncio.wait_for(work, LONG_S)
    assert lost.value.fault is ReaderFault.UNPLUGGED
    await reader.close()
    with pytest.raises(ReaderError) as absent:
        await reader.open()
    assert absent.value.fault is ReaderFault.NOT_FOUND
    emulator.remove()
    emulator.replug()
    await reader.open()
    emulator.place(SimulatedPhone())
    session = await reader.next_session()
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    assert open_descriptors() == descriptors


async def test_an_ack_that_comes_late_is_no_fault_of_the_reader(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    emulator.delay_acks(0.12)  # the library's own patience is 0.1 s
    polling = asyncio.create_task(reader.next_session())
    await asyncio.to_thread(emulator.wait_for_polls, 2)
    emulator.place(SimulatedPhone())
    session = await polling
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


class AnsweringLine:
    """Acknowledges and answers every command, and remembers how long each frame was waited for."""

    baudrate = 115200

    def __init__(self) -> None:
        self.waited_ms: list[int] = []
        self._frames: list[bytearray] = []

    def write(self, frame: bytearray) -> None:
        if frame == pn532.Chipset.ACK:
            self._frames.clear()
            return
        answer = bytes([0xD5, frame[6] + 1, 0x00])
        framed = bytes([0x00, 0x00, 0xFF, len(answer), 256 - len(answer), *answer, -sum(answer) & 0xFF, 0x00])
        self._frames = [bytearray(pn532.Chipset.ACK), bytearray(framed)]

    def read(self, timeout: int) -> bytearray:
        self.waited_ms.append(timeout)
        return self._frames.pop(0)


@pytest.mark.parametrize(
    ("patient", "left_s", "ack_ms"),
    [(False, math.inf, 100), (True, math.inf, 300), (True, 0.2, 200), (True, 0.01, 100), (True, -5.0, 100)],
)
def test_an_ack_is_waited_for_with_patience_but_never_past_the_budget(
    patient: bool, left_s: float, ack_ms: int
) -> None:
    line = AnsweringLine()
    chipset = _Chipset(line, lambda: left_s, b"")  # type: ignore[arg-type] # it reads and writes as the real one does
    chipset.patient = patient
    for _ in range(2):
        chipset.in_communicate_thru(b"\x00", 1.0)
        chipset.send_ack()
        chipset.write_frame(chipset.ACK)
    answer_ms = round(1000 * min(max(left_s, 0.005), 1.0))
    assert line.waited_ms == [ack_ms, answer_ms] * 2
    line.waited_ms.clear()
    chipset.rf_configuration(0x01, b"\x02")
    assert line.waited_ms == [ack_ms, ack_ms], "of the chip itself an answer is as near as an ACK"


class LateLine(AnsweringLine):
    """Lets the answer to a card's command come only after the host gave it up, before whatever is said next."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[bytearray] = []

    def write(self, frame: bytearray) -> None:
        if frame == pn532.Chipset.ACK:
            self._late, self._frames = self._frames, []
            return
        super().write(frame)
        self._frames = self._late + self._frames
        self._late = []

    def read(self, timeout: int) -> bytearray:
        if len(self._frames) == 1 and self._frames[0][6] == 0x43:
            raise TimeoutError(errno.ETIMEDOUT, "the answer is on its way")
        return super().read(timeout)


@pytest.mark.parametrize("again", [False, True])
def test_an_answer_that_was_on_its_way_when_its_command_was_given_up_is_not_the_next_ones(again: bool) -> None:
    line = LateLine()
    chipset = _Chipset(line, lambda: math.inf, b"")  # type: ignore[arg-type] # as above
    with pytest.raises(TimeoutError):
        chipset.in_communicate_thru(b"\x00", 1.0)
    if again:
        with pytest.raises(TimeoutError):  # and not what the command before was answered
            chipset.in_communicate_thru(b"\x00", 1.0)
    chipset.rf_configuration(0x01, b"\x02")
    chipset.rf_configuration(0x01, b"\x02")


def test_an_answer_whose_ack_was_lost_is_taken_all_the_same() -> None:
    line = AnsweringLine()
    chipset = _Chipset(line, lambda: math.inf, b"")  # type: ignore[arg-type] # as above
    write = line.write

    def without_ack(frame: bytearray) -> None:
        write(frame)
        del line._frames[0]

    line.write = without_ack  # type: ignore[method-assign] # noise took it
    chipset.rf_configuration(0x01, b"\x02")


async def test_a_chip_that_is_late_at_the_end_of_a_budget_costs_a_tap_and_no_reader(
    emulator: Pn532Emulator, reader: NfcpyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.place(SimulatedPhone())
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    driver = reader._driver
    assert isinstance(driver, _Pn532)
    emulator.delay_acks(60.0)
    monkeypatch.setattr(nfcpy_reader, "_PATIENCE_S", 0.3)
    with pytest.raises(SessionLost) as lost:
        await reader._run(lambda: driver.exchange(SELECT, SystemClock().monotonic() + 0.02))
    assert lost.value.reason is LostReason.TIMEOUT
    with pytest.raises(ReaderError):  # with time left it is deaf
        await reader._run(driver.poll)


@pytest.mark.parametrize(("left_s", "fault"), [(0.0004, False), (0.1, True)])
def test_a_wait_of_whole_milliseconds_ends_a_budget_though_a_part_of_one_is_left(*, left_s: float, fault: bool) -> None:
    clock = FakeClock()
    driver = _Pn532("/dev/null", 115200, clock)
    driver._frontend.deadline = clock.monotonic() + left_s
    assert driver._out_of_time(OSError(errno.EIO, "no ACK")) is not fault


async def test_a_chip_that_was_woken_is_waited_for_while_it_is_set_up(
    emulator: Pn532Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient: list[bool] = []

    def meet(chipset: _Chipset) -> tuple[int, int, int, int]:
        patient.append(chipset.patient)
        return 0x32, 1, 6, 7

    monkeypatch.setattr(_Chipset, "get_firmware_version", meet)
    reader = make_reader(emulator)
    await reader.open()
    await reader.close()
    assert patient
    assert all(patient)


async def test_a_chip_that_falls_silent_is_a_reader_fault(
    emulator: Pn532Emulator, reader: NfcpyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nfcpy_reader, "_PATIENCE_S", 0.3)
    emulator._take_frame = lambda _frame: None  # type: ignore[method-assign] # hears and never answers
    with pytest.raises(ReaderError) as lost:
        await asyncio.wait_for(reader.next_session(), LONG_S)
    assert lost.value.fault is ReaderFault.NO_ANSWER


async def test_garbled_polls_in_a_row_are_a_reader_fault(
    emulator: Pn532Emulator, reader: NfcpyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls: list[int] = []

    def cut_short(_chipset: pn532.Chipset, *_args: object) -> bytes:
        polls.append(1)
        raise IndexError("bytearray index out of range")

    monkeypatch.setattr(pn532.Chipset, "in_list_passive_target", cut_short)
    with pytest.raises(ReaderError, match="garbled"):
        await asyncio.wait_for(reader.next_session(), LONG_S)
    assert len(polls) == 3


# -- what a chip suffers in silence ------------------------------------------------------------------------------------

ANNOTATION = bytes.fromhex("6a02c3017f")


@pytest.mark.parametrize("fault", ["brown_out", "upset"])
async def test_a_soft_reset_brings_back_all_that_the_chip_forgot(
    emulator: Pn532Emulator, reader: NfcpyReader, fault: str
) -> None:
    getattr(emulator, fault)()
    assert await reader.recover(Step.SOFT_RESET) == Recovery(Tried.DONE)
    emulator.place(SimulatedPhone())
    session = await asyncio.wait_for(reader.next_session(), LONG_S)
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


async def test_a_soft_reset_finds_a_chip_that_fell_back_to_its_first_speed(emulator: Pn532Emulator) -> None:
    reader = make_reader(emulator, baud=921600)
    await reader.open()
    emulator._chip.power_up()
    assert emulator.baud == 115200
    assert (await reader.recover(Step.SOFT_RESET)).tried is Tried.DONE
    assert emulator.baud == 921600
    await reader.close()


async def test_a_soft_reset_of_a_dead_chip_fails_in_words(
    emulator: Pn532Emulator, reader: NfcpyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.readers.nfcpy_reader._WAKE_FOR_S", 0.1)
    emulator._take_frame = lambda _frame: None  # type: ignore[method-assign] # hears and never answers
    recovery = await reader.recover(Step.SOFT_RESET)
    assert recovery.tried is Tried.FAILED
    assert "no PN532 answers" in recovery.text


async def test_a_soft_reset_that_leaves_the_antenna_dead_has_failed(
    emulator: Pn532Emulator, reader: NfcpyReader
) -> None:
    await looked_at(reader)
    emulator.break_antenna()
    recovery = await reader.recover(Step.SOFT_RESET)
    assert recovery.tried is Tried.FAILED
    assert "it is too hot" in recovery.text


async def looked_at(reader: NfcpyReader) -> SelfCheck:
    """Let the chip show once that it is well; returns what looks at it."""
    driver = reader._driver
    assert isinstance(driver, _Pn532)
    polling = asyncio.ensure_future(reader.next_session())
    await eventually(lambda: driver._check._keeps_marks and driver._check._tells_field)
    polling.cancel()
    await asyncio.wait({polling})
    return driver._check


@pytest.mark.parametrize("fault", ["upset", "break_antenna"])
async def test_a_chip_that_polls_and_hears_nothing_is_found_out(
    emulator: Pn532Emulator, reader: NfcpyReader, fault: str
) -> None:
    check = await looked_at(reader)
    getattr(emulator, fault)()
    emulator.place(SimulatedPhone())
    polling = asyncio.ensure_future(reader.next_session())
    await asyncio.to_thread(emulator.wait_for_polls, 3)
    assert not polling.done(), "no poll tells"
    check._due = 0.0
    with pytest.raises(ReaderError) as found:
        await asyncio.wait_for(polling, LONG_S)
    assert found.value.fault is ReaderFault.IO


async def test_a_look_at_the_chip_costs_no_tap_anything(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    check = await looked_at(reader)
    emulator.place(SimulatedPhone())
    session = await reader.next_session()
    check._due = 0.0
    before = len(emulator.commands)
    await session.transceive(SELECT, LONG_S)
    assert check._due == 0.0
    assert bytes.fromhex("0663046329") not in list(emulator.commands)[before:]


async def test_an_observing_phone_waits_for_the_annotation(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    phone = ObservingPhone(ANNOTATION, clock=time.monotonic)
    emulator.place(phone)
    polling = asyncio.ensure_future(reader.next_session())
    await asyncio.to_thread(emulator.wait_for_polls, 5)
    assert not polling.done()
    assert phone.overheard == []
    polling.cancel()
    await asyncio.wait({polling})
    await reader.close()
    speaking = NfcpyReader(
        "nfc0", emulator.device_path, clock=SystemClock(), annotation=ANNOTATION, poll_interval_s=0.01
    )
    await speaking.open()
    session = await asyncio.wait_for(speaking.next_session(), LONG_S)
    assert set(phone.overheard) == {ANNOTATION}
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    await session.transceive(apdu.deliver_token(TOKEN), LONG_S)
    assert phone.tokens == [TOKEN]
    await speaking.close()


async def test_each_poll_carries_the_annotation_in_its_own_field(emulator: Pn532Emulator) -> None:
    phone = ObservingPhone(ANNOTATION, clock=time.monotonic, lasts_s=0.0)
    reader = NfcpyReader("nfc0", emulator.device_path, clock=SystemClock(), annotation=ANNOTATION, poll_interval_s=0.01)
    await reader.open()
    polling = asyncio.ensure_future(reader.next_session())
    emulator.place(phone)
    await asyncio.to_thread(emulator.wait_for_polls, 4)
    polling.cancel()
    await asyncio.wait({polling})
    await reader.close()
    field, heard = b"\x32\x01", b"\x42" + ANNOTATION
    told = [command for command in emulator.commands if command[:2] == field or command[:1] in (b"\x42", b"\x4a")]
    polls = [index for index, command in enumerate(told) if command[:1] == b"\x4a"]
    assert len(polls) >= 4
    for index in polls:
        assert told[index - 3 : index] == [field + b"\x02", field + b"\x01", heard]


@pytest.mark.parametrize("seed", range(3))
async def test_an_annotation_disturbs_nobody_else(emulator: Pn532Emulator, seed: int) -> None:
    rng = random.Random(seed)
    reader = NfcpyReader(
        "nfc0", emulator.device_path, clock=SystemClock(), annotation=rng.randbytes(32), poll_interval_s=0.01
    )
    await reader.open()
    for card in (
        SimulatedPhone(rng=rng),
        PaymentCard(b"\x01\x02\x03\x04"),
        PlainCard(b"\x0a\x0b\x0c\x0d"),
        type2_tag(rng),
    ):
        emulator.place(card)
        session = await asyncio.wait_for(reader.next_session(), LONG_S)
        if session.target.kind is TargetKind.ISO_DEP:
            assert (await session.transceive(SELECT, LONG_S))[-2:] in (b"\x90\x00", b"\x6a\x82")
        emulator.remove(card)
    await reader.close()


async def test_close_is_quick_while_polling_and_may_come_twice(
    emulator: Pn532Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_reader, "_CLOSE_WITHIN_S", 30.0)  # so long it would take that does not end the poll
    reader = make_reader(emulator)
    await reader.close()
    await reader.open()
    poll = asyncio.ensure_future(reader.next_session())
    await asyncio.to_thread(emulator.wait_for_polls, 2)
    started = time.monotonic()
    await reader.close()
    assert time.monotonic() - started < 20
    assert reader._thread.left_behind == []
    await reader.close()
    with pytest.raises(ReaderError, match=r"closed|no PN532 answers"):  # the latter where the chip is late just then
        await poll


async def test_open_again_without_close(emulator: Pn532Emulator, reader: NfcpyReader) -> None:
    await reader.open()
    emulator.place(SimulatedPhone())
    assert (await reader.next_session()).target.kind is TargetKind.ISO_DEP


def test_a_loop_that_ends_without_close_leaves_no_crash(emulator: Pn532Emulator) -> None:
    reader = make_reader(emulator)

    async def walk_away() -> None:
        await reader.open()
        poll = asyncio.ensure_future(reader.next_session())
        await asyncio.sleep(0.02)
        poll.cancel()

    asyncio.run(walk_away())
    asyncio.run(reader.close())


async def test_no_log_line_names_a_card(
    emulator: Pn532Emulator, reader: NfcpyReader, caplog: pytest.LogCaptureFixture
) -> None:
    uid = bytes.fromhex("DEADBEEF")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("nfc.probe").error("would be seen if nfcpy were allowed to speak")
        emulator.place(PlainCard(uid))
        session = await reader.next_session()
        emulator.remove()
        await session.wait_removed()
    assert uid.hex() not in caplog.text.lower()
    assert "nfc" not in {record.name.partition(".")[0] for record in caplog.records}


# -- the whole way, under the service ---------------------------------------------------------------------------------


@dataclass
class Desk:
    """A service on the real driver, with an issuer that signs nothing."""

    emulator: Pn532Emulator
    cards: CardPolicy = CardPolicy.IGNORE
    budget_s: float = LONG_S
    cues: list[Cue] = field(default_factory=list)
    issued: list[TapFacts] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = ReaderService(
            make_reader(self.emulator),
            settings=self._settings(self.budget_s),
            issue=self._issue,
            show=self.cues.append,
            clock=SystemClock(),
            pseudonyms=Pseudonyms(),
            delays=ReopenDelays(first=0.02, last=0.1, absent=0.05),
            observer=lambda outcome, _facts, _timings: self.outcomes.append(outcome),
        )

    def _settings(self, budget_s: float) -> ExchangeSettings:
        return ExchangeSettings(aids=(AID,), budget_s=budget_s, commit_s=LONG_S, cards=self.cards)

    async def _issue(self, facts: TapFacts) -> StoredTap:
        self.issued.append(facts)
        return StoredTap(b"chain-id", len(self.issued), TOKEN, exp=0, committed_at=time.monotonic())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def next_tap_works(self) -> None:
        self.service._runner._settings = self._settings(LONG_S)
        await asyncio.to_thread(self.emulator.wait_idle)  # nothing that was there before is under way any more
        await eventually(lambda: self.service.snapshot().state is ReaderState.POLLING)
        phone, before = SimulatedPhone(), len(self.outcomes)
        self.emulator.place(phone)
        await eventually(lambda: len(self.outcomes) > before)
        self.emulator.remove(phone)
        assert self.outcomes[-1] is Outcome.ACCEPTED
        assert phone.tokens == [TOKEN]
        assert self.cues[-1] is Cue.THANKS


EXPECTED = {
    "locked": {Outcome.LOCKED},
    "no_app": {Outcome.NO_APP},
    "foreign_6d00": {Outcome.FOREIGN},
    "foreign_6e00": {Outcome.FOREIGN},
    "foreign_6f00": {Outcome.FOREIGN},
    "ats_one_byte": {Outcome.ACCEPTED},
    "ats_without_ta": {Outcome.ACCEPTED},
    "sak_60": {Outcome.ACCEPTED},
    "wtx_endless": {Outcome.TIMEOUT},
    "wtx_three": {Outcome.ACCEPTED},
    "gone_before_select": {Outcome.LOST},
    "gone_before_token": {Outcome.UNCONFIRMED},
    "gone_before_receipt": {Outcome.UNCONFIRMED},
    "fci_oversize": {Outcome.MALFORMED},
    "fci_junk": {Outcome.MALFORMED},
    "fci_no_nonce": {Outcome.MALFORMED},
    "fci_short_nonce": {Outcome.MALFORMED},
    "no_status_word": {Outcome.MALFORMED},
    "babbling": {Outcome.FOREIGN, Outcome.MALFORMED},
    "frame_noise": {Outcome.LOST, Outcome.MALFORMED, Outcome.FOREIGN},
    "silent": {Outcome.LOST, Outcome.TIMEOUT},
    "slow": {Outcome.TIMEOUT},
}


def test_every_odd_phone_has_its_outcome() -> None:
    assert EXPECTED.keys() == ODD_PHONES.keys()


@pytest.mark.parametrize("name", ODD_PHONES)
async def test_no_odd_phone_stops_the_next_tap(emulator: Pn532Emulator, name: str) -> None:
    desk = Desk(emulator, budget_s=0.8 if EXPECTED[name] == {Outcome.TIMEOUT} else LONG_S)
    card = ODD_PHONES[name](random.Random(7))
    async with desk.running():
        emulator.place(card)
        await eventually(lambda: desk.outcomes)
        emulator.remove(card)
        assert desk.outcomes[0] in EXPECTED[name]
        assert len(desk.issued) == int(desk.outcomes[0] in (Outcome.ACCEPTED, Outcome.UNCONFIRMED))
        await desk.next_tap_works()
    assert desk.service.snapshot().reopens == 0, "an odd phone is no reader fault"


@pytest.mark.parametrize("word", ["6283", "6700", "6A81", "6999", "FFFF"])
async def test_no_status_word_stops_the_next_tap(emulator: Pn532Emulator, word: str) -> None:
    desk = Desk(emulator)
    phone = phone_with(Fixed(bytes.fromhex(word)), random.Random(1))
    async with desk.running():
        emulator.place(phone)
        await eventually(lambda: desk.outcomes)
        emulator.remove(phone)
        assert desk.outcomes == [Outcome.FOREIGN]
        await desk.next_tap_works()


async def test_a_payment_card_is_asked_for_our_application_only(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    card = PaymentCard(bytes.fromhex("04112233445566"))
    async with desk.running():
        emulator.place(card)
        await eventually(lambda: desk.outcomes)
        emulator.remove(card)
        assert desk.outcomes == [Outcome.NO_APP]
        await desk.next_tap_works()
    assert card.app.commands == [SELECT]


async def test_two_phones_do_not_stop_the_next_tap(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    async with desk.running():
        emulator.place(SimulatedPhone())
        emulator.place(SimulatedPhone())
        await asyncio.to_thread(emulator.wait_for_polls, 3)
        emulator.remove()
        await desk.next_tap_works()


async def test_a_phone_held_on_and_on_is_one_tap(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    phone = SimulatedPhone()
    async with desk.running():
        emulator.place(phone)
        await eventually(lambda: desk.outcomes)
        await asyncio.sleep(0.6)
        assert desk.service.snapshot().state is ReaderState.OCCUPIED
        assert desk.outcomes == [Outcome.ACCEPTED]
        emulator.remove(phone)
        await desk.next_tap_works()
    assert len(desk.issued) == 2
    assert phone.app.selects == 1


async def test_a_phone_moved_away_too_soon_is_served_when_it_comes_back(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    phone = SimulatedPhone()
    leaving = Vanishing(phone, after=1)
    async with desk.running():
        emulator.place(leaving)
        await eventually(lambda: desk.outcomes)
        assert (desk.outcomes[0], desk.cues[-1]) == (Outcome.UNCONFIRMED, Cue.RETRY)
        leaving.come_back()
        await eventually(lambda: Outcome.ACCEPTED in desk.outcomes)
        emulator.remove(leaving)
    assert phone.tokens == [TOKEN]
    assert {facts.nonce for facts in desk.issued} == {desk.issued[0].nonce}, "the same nonce: the issuer knows it"


async def test_the_facts_of_a_tap_are_the_phones(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    app = TapApp(random.Random(1), sub=b"pseudonym")
    async with desk.running():
        emulator.place(phone_with(Extending(app, 2), random.Random(1)))
        await eventually(lambda: desk.outcomes)
        emulator.remove()
    facts = desk.issued[0]
    assert (facts.sub, facts.wtx, facts.reader) == (b"pseudonym", 2, "nfc0")
    assert facts.rtt_ms is not None


async def test_a_plain_card_is_one_tap_under_a_pseudonym(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator, cards=CardPolicy.PSEUDONYM)
    card = type2_tag(random.Random(1))
    async with desk.running():
        for count in (1, 2):
            emulator.place(card)
            await eventually(lambda count=count: len(desk.outcomes) == count)
            emulator.remove(card)
            await eventually(lambda: desk.service.snapshot().state is ReaderState.POLLING)
    assert desk.outcomes == [Outcome.ACCEPTED] * 2
    assert desk.issued[0].sub == desk.issued[1].sub
    assert desk.issued[0].sub is not None
    assert card.uid not in desk.issued[0].sub


async def test_unplug_and_return_under_the_service(emulator: Pn532Emulator) -> None:
    desk = Desk(emulator)
    async with desk.running():
        await desk.next_tap_works()
        for count in (1, 2):
            emulator.unplug()
            await eventually(lambda: desk.service.snapshot().state is ReaderState.LOST)
            assert desk.cues[-1] is Cue.FAULT
            emulator.replug()
            await eventually(lambda count=count: desk.service.snapshot().reopens == count)
            assert desk.cues[-1] is Cue.INVITE
            await desk.next_tap_works()
    assert "unplugged" in desk.service.snapshot().last_error or "no reader" in desk.service.snapshot().last_error


async def test_idle_descriptors_and_threads_are_all_released(emulator: Pn532Emulator) -> None:
    def held() -> tuple[int, int]:
        return open_descriptors(), sum(thread.name.startswith("reader-") for thread in threading.enumerate())

    before = held()
    desk = Desk(emulator)
    async with desk.running():
        await desk.next_tap_works()
    await eventually(lambda: held() == before)


# -- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left_at", [115200, 9600, 460800])
async def test_a_chip_is_found_at_any_speed_and_can_be_opened_after_that(emulator: Pn532Emulator, left_at: int) -> None:
    crashed = make_reader(emulator, baud=left_at)
    await crashed.open()
    driver = crashed._driver
    assert isinstance(driver, _Pn532)
    driver._frontend.device = None  # nobody says good-bye to the chip
    await crashed.close()
    assert emulator.baud == left_at
    assert await asyncio.to_thread(look_for_chip, emulator.device_path, clock=SystemClock()) == ("PN532 v1.6", left_at)
    assert emulator.baud == 115200
    reader = make_reader(emulator)
    await reader.open()
    await reader.close()


async def test_a_reader_named_by_its_usb_device_is_opened_where_it_is_now(
    emulator: Pn532Emulator, tmp_path: Path
) -> None:
    tree = PortTree(tmp_path)
    reader = NfcpyReader("nfc0", "usb:1a86:7523", clock=SystemClock())
    vars(reader._driver)["_find_port"] = partial(resolve, root=tree.root)
    with pytest.raises(ReaderError, match="no USB device usb:1a86:7523") as refused:
        await reader.open()
    assert refused.value.fault is ReaderFault.NOT_FOUND
    path = tree.plug("ttyUSB3", emulator.device_path)
    assert (await reader.open()).device == path
    await reader.close()

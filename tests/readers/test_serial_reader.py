"""Serial readers behind the port, over emulated ones; and whole taps through the service that looks after a reader."""

import asyncio
import logging
import random
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby

import pytest
from structlog.testing import capture_logs

from edge_agent.clock import Clock, SystemClock
from edge_agent.errors import ConfigError, LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.models import Cue, StoredTap, TapFacts, TapMode
from edge_agent.readers import acs_driver, ports, threaded_reader, uid_driver
from edge_agent.readers.apdu import deliver_token, select
from edge_agent.readers.base import Session, Step, TargetKind, Tried
from edge_agent.readers.exchange import CardPolicy, ExchangeSettings, Outcome
from edge_agent.readers.profiles.base import ProfileSettings
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.serial_reader import SerialReader
from edge_agent.readers.service import ReaderService, ReaderState, ReopenDelays
from edge_agent.simulation import serial_readers
from edge_agent.simulation.acs_reader import AcsReader, Mishap
from edge_agent.simulation.cards import PaymentCard, PlainCard
from edge_agent.simulation.iso_dep import ENDLESS, IsoDepCard, Response, random_uid
from edge_agent.simulation.phones import TAP_AID, AppEvent, SimulatedPhone
from edge_agent.simulation.serial_port import SerialEmulator
from edge_agent.simulation.serial_readers import NumberReader
from tests.fakes.waiting import eventually

EM_CARD, OTHER = bytes.fromhex("0C000621A5"), bytes.fromhex("0C00BADBEE")
UID = bytes.fromhex("04A1B2C3D4E5F6")
TOKEN = bytes(range(200))
POWER_ON, POWER_OFF = 0x62, 0x63
FAST = ReopenDelays(first=0.01, last=0.04, absent=0.02, stable=60.0)
STX_ETX = ProfileSettings("stx_etx_hex")
ACS = ProfileSettings("acs_ccid", phone_uids=True)


def serial(emulator: SerialEmulator, profile: ProfileSettings, **more: float) -> SerialReader:
    return SerialReader(
        "serial0", emulator.device_path, clock=SystemClock(), baud=emulator.baud, profile=profile, **more
    )


@asynccontextmanager
async def opened(emulator: SerialEmulator, profile: ProfileSettings, **more: float) -> AsyncIterator[SerialReader]:
    with emulator:
        reader = serial(emulator, profile, **more)
        await reader.open()
        try:
            yield reader
        finally:
            await reader.close()


async def session_of(reader: SerialReader) -> Session:
    async with asyncio.timeout(30):
        return await reader.next_session()


def number_of(session: Session) -> bytes:
    return session.target.uid.reveal()


# -- readers that only say numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(
    ("make", "profile", "number"),
    [
        (serial_readers.rdm6300, STX_ETX, EM_CARD),
        (serial_readers.id12la, STX_ETX, EM_CARD),
        (serial_readers.aa_bb, ProfileSettings("aa_bb"), UID),
        (serial_readers.ascii_line, ProfileSettings("ascii_line"), UID),
    ],
    ids=["rdm6300", "id12la", "aa_bb", "ascii_line"],
)
async def test_a_card_becomes_a_session_that_takes_no_apdus(
    make: Callable[..., NumberReader],
    profile: ProfileSettings,
    number: bytes,
    timed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uid_driver, "SILENCE_S", 30.0)  # a pause that the emulator's thread is made to take is none
    emulator = make(timed=timed)
    async with opened(emulator, profile) as reader:
        emulator.place(number)
        session = await session_of(reader)
        assert (session.target.kind, session.target.sak, number_of(session)) == (TargetKind.PLAIN, 0, number)
        with pytest.raises(SessionLost):
            await session.transceive(b"\x00\xa4\x04\x00", 1.0)


async def test_a_reader_that_says_nothing_is_open_and_tells_what_it_listens_for() -> None:
    emulator = serial_readers.id12la()
    with emulator:
        reader = serial(emulator, STX_ETX)
        info = await reader.open()
        assert (info.driver, info.device, info.chip) == (
            "serial",
            emulator.device_path,
            "stx_etx_hex at 9600 baud, listening",
        )
        await reader.close()


async def test_a_card_that_comes_back_is_another_session() -> None:
    emulator = serial_readers.rdm6300()
    async with opened(emulator, STX_ETX, gone_after_s=0.3) as reader:
        for _ in range(2):
            emulator.place(EM_CARD)
            session = await session_of(reader)
            emulator.remove()
            await asyncio.wait_for(session.wait_removed(), 30)


async def test_another_card_during_a_session_is_not_lost_and_need_not_wait() -> None:
    emulator = serial_readers.id12la()
    async with opened(emulator, STX_ETX, gone_after_s=60.0) as reader:
        emulator.tap(EM_CARD)
        first = await session_of(reader)
        emulator.tap(OTHER)
        emulator.tap(EM_CARD)
        await asyncio.wait_for(first.wait_removed(), 30)
        assert number_of(await session_of(reader)) == OTHER
        with pytest.raises(TimeoutError):  # the first is still in its stay
            await asyncio.wait_for(reader.next_session(), 0.3)


async def test_cards_are_found_in_noise() -> None:
    emulator = serial_readers.id12la()
    rng = random.Random(7)
    async with opened(emulator, STX_ETX, gone_after_s=0.05) as reader:
        for number in (EM_CARD, OTHER, EM_CARD):
            emulator.noise(rng.randbytes(30))
            emulator.tap(number)
            session = await session_of(reader)
            assert number_of(session) == number
            await asyncio.wait_for(session.wait_removed(), 30)


async def test_the_wrong_speed_is_told_with_what_finds_the_right_one() -> None:
    emulator = serial_readers.rdm6300()
    with emulator:
        reader = SerialReader("serial0", emulator.device_path, clock=SystemClock(), baud=115200, profile=STX_ETX)
        await reader.open()
        emulator.place(EM_CARD)
        with pytest.raises(ReaderError) as raised:
            await session_of(reader)
        assert raised.value.fault is ReaderFault.NOT_UNDERSTOOD
        assert "edge-agent reader probe" in raised.value.remedy
        assert "115200" in raised.value.text
        await reader.close()


async def test_short_lines_that_noise_makes_do_not_hide_a_wrong_speed() -> None:
    emulator = serial_readers.ascii_line()
    async with opened(emulator, ProfileSettings("ascii_line"), gone_after_s=0.0) as reader:
        with pytest.raises(ReaderError, match="damaged"):  # noqa: PT012 - which poll says it is not the point
            for _ in range(30):
                emulator.noise(b"\xf8\x80\r7a k\r\xfe\x06\r")
                await (await session_of(reader)).wait_removed()


async def test_noise_does_not_stop_a_reader_that_works_and_is_told_once() -> None:
    emulator = serial_readers.id12la()
    rng = random.Random(3)
    async with opened(emulator, STX_ETX, gone_after_s=0.05) as reader:
        with capture_logs() as logs:
            for _ in range(6):
                emulator.noise(b"\x02" + rng.randbytes(40))
                emulator.tap(EM_CARD)
                session = await session_of(reader)
                await asyncio.wait_for(session.wait_removed(), 30)
        assert [entry["event"] for entry in logs] == ["serial_reader_noise"]


async def test_pulling_the_cable_is_an_unplug_and_the_reader_comes_back() -> None:
    emulator = serial_readers.rdm6300()
    async with opened(emulator, STX_ETX) as reader:
        finding = asyncio.create_task(reader.next_session())
        await asyncio.sleep(0.05)
        emulator.unplug()
        with pytest.raises(ReaderError) as raised:
            await asyncio.wait_for(finding, 30)
        assert raised.value.fault is ReaderFault.UNPLUGGED
        with pytest.raises(ReaderError) as raised:
            await reader.open()
        assert raised.value.fault is ReaderFault.NOT_FOUND
        emulator.replug()
        await reader.open()
        emulator.place(EM_CARD)
        assert number_of(await session_of(reader)) == EM_CARD


async def test_closing_ends_a_listening_poll_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uid_driver, "LISTEN_S", 3600.0)
    monkeypatch.setattr(threaded_reader, "_CLOSE_WITHIN_S", 30.0)
    emulator = serial_readers.id12la()
    async with opened(emulator, STX_ETX) as reader:
        finding = asyncio.create_task(reader.next_session())
        await asyncio.sleep(0.05)
        finding.cancel()
        await asyncio.wait({finding})
        with capture_logs() as logs:
            await reader.close()
        assert logs == [], "no thread was left behind"


@pytest.mark.parametrize(
    ("device", "baud", "what"), [("tty0", 9600, "absolute path"), ("/dev/x", 1200, "baud"), ("usb:1:2", 9600, "usb:")]
)
def test_settings_that_cannot_be_are_refused(device: str, baud: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        SerialReader("serial0", device, clock=SystemClock(), baud=baud)


@pytest.mark.parametrize("profile", [STX_ETX, ACS])
async def test_a_usb_device_is_looked_for_at_each_opening(
    profile: ProfileSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SerialReader("serial0", "usb:0403:6001", clock=SystemClock(), profile=profile)
    with AcsReader() as emulator:
        monkeypatch.setattr(ports, "resolve", lambda port: emulator.device_path if port == "usb:0403:6001" else "")
        info = await reader.open()
        assert info.device == emulator.device_path
        await reader.close()


# -- an ACS reader ----------------------------------------------------------------------------------------------------


@pytest.fixture
def acs(monkeypatch: pytest.MonkeyPatch) -> Iterator[AcsReader]:
    # Its thread may get no time for seconds, which makes it neither deaf nor nameless.
    monkeypatch.setattr(acs_driver, "DEAF_AFTER_S", 60.0)
    monkeypatch.setattr(acs_driver, "_FIRMWARE_WITHIN_S", 30.0)
    emulator = AcsReader(baud=115200)
    with emulator:
        yield emulator


@asynccontextmanager
async def dialogue(acs: AcsReader, profile: ProfileSettings = ACS) -> AsyncIterator[SerialReader]:
    reader = serial(acs, profile, poll_interval_s=0.02)
    await reader.open()
    try:
        yield reader
    finally:
        await reader.close()


def phone(**more: float) -> SimulatedPhone:
    return SimulatedPhone(rng=random.Random(1), **more)


async def test_an_acs_reader_tells_its_firmware(acs: AcsReader) -> None:
    reader = serial(acs, ACS)
    info = await reader.open()
    assert (info.driver, info.chip) == ("serial", "acs_ccid, ACR1281S V103")
    await reader.close()


async def test_a_line_without_an_acs_reader_is_no_answer() -> None:
    with serial_readers.id12la() as emulator:
        reader = serial(emulator, ACS)
        with pytest.raises(ReaderError) as raised:
            await reader.open()
        assert raised.value.fault is ReaderFault.NO_ANSWER
        assert "acs_ccid" in raised.value.text
        assert "PN532" not in raised.value.text


async def test_a_phone_takes_apdus_and_leaves(acs: AcsReader) -> None:
    card = phone()
    async with dialogue(acs) as reader:
        acs.place(card)
        session = await session_of(reader)
        assert session.target.kind is TargetKind.ISO_DEP
        assert number_of(session)[0] == 0x08
        fci = await session.transceive(select(TAP_AID), 30.0)
        assert fci.endswith(b"\x90\x00")
        assert (await session.transceive(deliver_token(TOKEN), 30.0)).endswith(b"\x90\x00")
        assert 0 < session.rtt_s < 30.0
        assert card.tokens == [TOKEN]
        gone = asyncio.create_task(session.wait_removed())
        done, _ = await asyncio.wait({gone}, timeout=0.5)
        assert not done
        acs.remove()
        await asyncio.wait_for(gone, 30)


async def test_a_phone_is_only_asked_for_its_uid_where_it_is_wanted(acs: AcsReader) -> None:
    async with dialogue(acs, ProfileSettings("acs_ccid")) as reader:
        acs.place(phone())
        assert number_of(await session_of(reader)) == b""
        acs.place(PlainCard(UID))
        assert number_of(await session_of(reader)) == UID


async def test_a_storage_card_is_plain_and_a_payment_card_is_not(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        acs.place(PlainCard(UID))
        session = await session_of(reader)
        assert (session.target.kind, number_of(session)) == (TargetKind.PLAIN, UID)
        acs.place(PaymentCard(UID))
        session = await session_of(reader)
        assert (session.target.kind, number_of(session)) == (TargetKind.ISO_DEP, UID)


@pytest.mark.parametrize("mishap", [m for m in Mishap if m is not Mishap.ANSWER_LATE])
async def test_a_mishap_on_the_line_costs_nothing_and_no_apdu_goes_out_twice(acs: AcsReader, mishap: Mishap) -> None:
    card = phone()
    async with dialogue(acs) as reader:
        acs.place(card)
        session = await session_of(reader)
        acs.mishaps.append(mishap)
        assert (await session.transceive(select(TAP_AID), 30.0)).endswith(b"\x90\x00")
        acs.mishaps.append(mishap)
        assert (await session.transceive(deliver_token(TOKEN), 30.0)).endswith(b"\x90\x00")
        assert (card.app.selects, card.tokens) == (1, [TOKEN])


async def test_between_two_phones_the_slot_is_powered_off(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        for _ in range(2):
            acs.place(phone())
            await session_of(reader)

    def powers() -> list[int]:
        return [power for power, _again in groupby(c for c in list(acs.commands) if c in (POWER_ON, POWER_OFF))]

    await eventually(lambda: len(powers()) >= 4)  # the last one comes at the closing
    assert powers() == [POWER_ON, POWER_OFF] * 2


async def test_an_answer_that_comes_after_the_budget_is_not_taken_for_the_next_one(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        acs.place(phone())
        session = await session_of(reader)
        acs.mishaps.append(Mishap.ANSWER_LATE)
        with pytest.raises(SessionLost) as lost:
            await session.transceive(select(TAP_AID), 0.3)
        assert lost.value.reason is LostReason.TIMEOUT
        session = await session_of(reader)
        assert (await session.transceive(select(TAP_AID), 30.0)).startswith(b"\x6f")


async def test_time_extensions_are_counted(acs: AcsReader) -> None:
    class Slow:
        def command(self, apdu: bytes) -> Response | None:
            return Response(b"\x90\x00", extensions=3)

        def link_lost(self) -> None:
            pass

    async with dialogue(acs) as reader:
        acs.place(IsoDepCard(Slow(), random_uid(random.Random(1))))
        session = await session_of(reader)
        assert await session.transceive(b"\x00\xa4\x04\x00", 30.0) == b"\x90\x00"
        assert session.wtx == 3


async def test_a_phone_that_asks_for_time_for_ever_is_cut_off_and_the_next_one_is_served(acs: AcsReader) -> None:
    class Endless:
        def command(self, apdu: bytes) -> Response | None:
            return Response(b"\x90\x00", extensions=ENDLESS)

        def link_lost(self) -> None:
            pass

    async with dialogue(acs) as reader:
        acs.place(IsoDepCard(Endless(), random_uid(random.Random(1))))
        session = await session_of(reader)
        with pytest.raises(SessionLost) as lost:
            await session.transceive(b"\x00\xa4\x04\x00", 0.3)
        assert lost.value.reason is LostReason.TIMEOUT
        acs.place(phone())
        session = await session_of(reader)
        assert (await session.transceive(select(TAP_AID), 30.0)).endswith(b"\x90\x00")


async def test_a_phone_that_is_mute_or_leaves_has_vanished_and_is_no_fault_of_the_reader(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        leaving = phone(latency_s=0.4)

        def leave(event: AppEvent) -> None:
            if event is AppEvent.SELECTED:  # by the emulator's own thread: before the answer, however late both are
                acs._at(time.monotonic() + 0.1, acs.remove)

        leaving.app.watcher = leave
        acs.place(leaving)
        session = await session_of(reader)
        with pytest.raises(SessionLost) as lost:
            await session.transceive(select(TAP_AID), 30.0)
        assert lost.value.reason is LostReason.VANISHED
        acs.place(phone())
        await session_of(reader)


async def test_an_apdu_that_no_frame_can_hold_is_lost(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        acs.place(phone())
        session = await session_of(reader)
        with pytest.raises(SessionLost) as lost:
            await session.transceive(bytes(262), 1.0)
        assert lost.value.reason is LostReason.PROTOCOL


async def test_a_reader_that_tells_of_cards_by_itself_is_believed() -> None:
    with AcsReader(baud=115200, notify=True) as acs:
        async with dialogue(acs) as reader:
            acs.place(phone())
            session = await session_of(reader)
            gone = asyncio.create_task(session.wait_removed())
            acs.remove()
            await asyncio.wait_for(gone, 30)


async def test_pulling_out_an_acs_reader_is_an_unplug(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        acs.unplug()
        with pytest.raises(ReaderError) as raised:
            await session_of(reader)
        assert raised.value.fault is ReaderFault.UNPLUGGED
        acs.replug()
        await reader.open()


async def test_the_dialogue_can_be_begun_anew_and_a_reader_of_numbers_has_none(acs: AcsReader) -> None:
    async with dialogue(acs) as reader:
        acs.place(phone())
        await session_of(reader)
        assert (await reader.recover(Step.SOFT_RESET)).tried is Tried.DONE
        await session_of(reader)
        assert (await reader.recover(Step.USB_RESET)).tried is Tried.IMPOSSIBLE, "a pty is no USB device"
    async with opened(serial_readers.id12la(), STX_ETX) as numbers:
        assert (await numbers.recover(Step.SOFT_RESET)).tried is Tried.IMPOSSIBLE


# -- whole taps -------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A service at work on a serial reader, and everything that it told."""

    reader: SerialReader
    clock: Clock = field(default_factory=SystemClock)
    cues: list[Cue] = field(default_factory=list)
    issued: list[TapFacts] = field(default_factory=list)
    ends: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = ReaderService(
            self.reader,
            settings=ExchangeSettings(aids=(TAP_AID,), budget_s=60.0, commit_s=30.0, cards=CardPolicy.PSEUDONYM),
            issue=self._issue,
            show=self.cues.append,
            clock=self.clock,
            pseudonyms=Pseudonyms(),
            delays=FAST,
            observer=lambda outcome, _facts, _timings: self.ends.append(outcome),
        )

    async def _issue(self, facts: TapFacts) -> StoredTap:
        self.issued.append(facts)
        return StoredTap(b"chain-id", len(self.issued), TOKEN, exp=0, committed_at=time.monotonic())

    async def polling(self) -> None:
        await eventually(lambda: self.service.snapshot().state is ReaderState.POLLING)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            await self.polling()
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_a_phone_at_an_acs_reader_gets_its_token(acs: AcsReader) -> None:
    bench = Bench(serial(acs, ACS))
    async with bench.running():
        for seed in range(3):
            card = SimulatedPhone(rng=random.Random(seed))
            nonce = card.nonce
            acs.place(card)
            await eventually(lambda count=seed + 1: len(bench.ends) == count)
            assert card.tokens == [TOKEN]
            assert (bench.issued[-1].mode, bench.issued[-1].nonce) == (TapMode.PHONE_APP, nonce)
            acs.remove()
            await bench.polling()
    assert bench.ends == [Outcome.ACCEPTED] * 3
    assert bench.cues == [Cue.READING, Cue.THANKS] * 3


class Steady(SystemClock):
    """A clock on which the machine never stands still: whoever looks again finds 0.2 s gone at most."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._told = self._looked = time.monotonic()

    def monotonic(self) -> float:
        with self._lock:
            now = time.monotonic()
            self._told += min(now - self._looked, 0.2)
            self._looked = now
            return self._told


async def test_a_card_at_an_rdm6300_is_a_tap_under_a_pseudonym_once_for_each_stay() -> None:
    emulator = serial_readers.rdm6300()
    with emulator:
        clock = Steady()
        bench = Bench(
            SerialReader("serial0", emulator.device_path, clock=clock, baud=emulator.baud, profile=STX_ETX), clock
        )
        async with bench.running():
            for count, number in enumerate((EM_CARD, OTHER, EM_CARD)):
                said = emulator.said
                emulator.place(number)
                await eventually(lambda count=count: len(bench.ends) > count)
                await eventually(lambda said=said: emulator.said > said + 3)
                if number == OTHER:
                    emulator.remove()
                    await bench.polling()
    first, second, third = (facts.sub for facts in bench.issued)
    assert {facts.mode for facts in bench.issued} == {TapMode.CARD}
    assert first == third != second
    assert first is not None
    assert EM_CARD not in first
    assert bench.cues == [Cue.READING, Cue.THANKS] * 3


async def test_a_card_at_an_acs_reader_has_the_pseudonym_that_it_has_at_a_reader_of_lines(acs: AcsReader) -> None:
    subs = []
    pseudonyms = Pseudonyms()
    async with dialogue(acs) as reader:
        acs.place(PlainCard(UID))
        subs.append(pseudonyms.of((await session_of(reader)).target.uid, 0.0))
    lines = serial_readers.ascii_line()
    async with opened(lines, ProfileSettings("ascii_line")) as reader:
        lines.tap(UID)
        subs.append(pseudonyms.of((await session_of(reader)).target.uid, 0.0))
    assert subs[0] == subs[1]


class Lines(logging.Handler):
    """Everything that any library logs."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def test_no_number_reaches_a_log_or_an_error_whatever_happens_on_the_line(acs: AcsReader) -> None:
    handler = Lines()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(0)
    told: list[str] = []
    rng = random.Random(5)
    plain = serial_readers.rdm6300()
    lines = serial_readers.ascii_line()
    try:
        with capture_logs() as logs, plain, lines:
            for emulator, profile in ((plain, STX_ETX), (lines, ProfileSettings("ascii_line", prefix="#"))):
                bench = Bench(serial(emulator, profile, gone_after_s=0.1))
                async with bench.running():
                    for _ in range(30):
                        emulator.tap(EM_CARD)
                        emulator.noise(rng.randbytes(5) + EM_CARD.hex().encode() + rng.randbytes(20) + b"\r")
                        await asyncio.sleep(0.01)
                    emulator.unplug()
                    await eventually(lambda bench=bench: bench.service.snapshot().last_error)
                    told.append(bench.service.snapshot().last_error)
            bench = Bench(serial(acs, ACS))
            async with bench.running():
                for mishap in Mishap:
                    acs.mishaps.append(mishap)
                    acs.place(PlainCard(UID))
                    await asyncio.sleep(0.1)
                acs.unplug()
                await eventually(lambda: bench.service.snapshot().last_error)
                told.append(bench.service.snapshot().last_error)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    text = " ".join([repr(logs), *handler.lines, *told]).lower()
    assert "serial_reader_noise" in text
    for number in (EM_CARD, UID):
        assert number.hex() not in re.sub(r"[ :-]", "", text)
        assert repr(number)[2:-1].lower() not in text

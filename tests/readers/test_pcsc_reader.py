"""The PC/SC reader above a real pcscd and its virtual reader: phones, cards, their vanishing, and every way to fail."""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import SystemClock
from edge_agent.errors import LostReason, ReaderError, ReaderFault, SessionLost
from edge_agent.models import Cue, StoredTap, TapFacts
from edge_agent.readers import apdu, threaded_reader
from edge_agent.readers.base import TargetKind
from edge_agent.readers.exchange import ExchangeSettings
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState, ReopenDelays
from edge_agent.simulation.iso_dep import Response
from edge_agent.simulation.odd_phones import Fixed, Silent, Vanishing
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone, TapApp
from edge_agent.simulation.vpcd_card import PHONE_ATR, STORAGE_ATR, VirtualCard, VirtualSlot
from tests.fakes.pcscd import Pcscd, virtual_reader
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from edge_agent.readers.pcsc_reader import PcscReader

pytestmark = pytest.mark.system

SELECT = apdu.select(TAP_AID)
TOKEN = bytes(i & 0xFF for i in range(248))
GET_UID = bytes.fromhex("ffca000000")
UID = bytes.fromhex("04a1b2c3d4e5f6")
LONG_S = 30.0
"""Enough for any answer, also on a machine that stands still for a while."""
HOLD = """
import sys
from smartcard import scard
_, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
code, _, _ = scard.SCardConnect(context, sys.argv[1], scard.SCARD_SHARE_EXCLUSIVE, scard.SCARD_PROTOCOL_T1)
print(code, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def pcscd(tmp_path: Path) -> Iterator[Pcscd]:
    with virtual_reader(tmp_path) as running:
        yield running


@pytest.fixture
def slot(pcscd: Pcscd) -> Iterator[VirtualSlot]:
    with VirtualSlot(pcscd.port) as made:
        yield made


def make_reader(reader: str | None = None, **options: Any) -> "PcscReader":
    from edge_agent.readers.pcsc_reader import PcscReader  # noqa: PLC0415 - its library is an extra

    options.setdefault("gone_after_s", 0.05)
    options.setdefault("clock", SystemClock())
    return PcscReader("nfc0", reader=reader, **options)


@pytest.fixture
async def reader(pcscd: Pcscd) -> AsyncIterator["PcscReader"]:
    opened = make_reader()
    await opened.open()
    yield opened
    await opened.close()


def phone(app: TapApp | None = None) -> VirtualCard:
    return VirtualCard(app or TapApp(random.Random(7)))


# -- opening ----------------------------------------------------------------------------------------------------------


async def test_open_tells_what_it_found(pcscd: Pcscd) -> None:
    reader = make_reader()
    info = await reader.open()
    await reader.close()
    assert (info.driver, info.device, info.chip) == ("pcsc", "pcscd", pcscd.reader)


async def test_a_reader_is_found_by_a_part_of_its_name(pcscd: Pcscd) -> None:
    reader = make_reader("pcd 00 01")
    info = await reader.open()
    await reader.close()
    assert info.chip == "Virtual PCD 00 01"


@pytest.mark.parametrize(
    ("wanted", "remedy"), [("ACR1252", "correct `reader`"), ("Virtual", "more of the name")], ids=["none", "two"]
)
async def test_a_name_that_fits_none_or_two_is_told(pcscd: Pcscd, wanted: str, remedy: str) -> None:
    with pytest.raises(ReaderError) as told:
        await make_reader(wanted).open()
    assert told.value.fault is ReaderFault.NOT_FOUND
    assert remedy in told.value.remedy
    assert "Virtual PCD 00 00" in told.value.text


async def test_a_slot_for_a_sam_is_no_reader_for_phones(tmp_path: Path) -> None:
    sam = virtual_reader(tmp_path, name="ACS ACR1252 [ACR1252 Dual Reader SAM]")
    with sam, pytest.raises(ReaderError, match="no contactless reader"):
        await make_reader().open()


async def test_without_pcscd_it_says_how_to_start_it(tmp_path: Path) -> None:
    virtual_reader(tmp_path).socket.unlink(missing_ok=True)
    with pytest.raises(ReaderError, match="pcscd is not running") as told:
        await make_reader().open()
    assert told.value.fault is ReaderFault.NO_SERVICE
    assert "systemctl enable --now pcscd.socket" in told.value.remedy


async def test_a_pcscd_that_crashed_and_left_its_socket_is_not_running(pcscd: Pcscd) -> None:
    pcscd.kill()
    assert pcscd.socket.exists()
    with pytest.raises(ReaderError, match="pcscd is not running"):
        await make_reader().open()


@pytest.mark.parametrize("heard", [0, 1, 999])
async def test_a_pcscd_that_hangs_up_refuses_the_user(tmp_path: Path, heard: int) -> None:
    path = virtual_reader(tmp_path).socket
    path.unlink(missing_ok=True)

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listening.accept()[0]
                if heard:  # polkit takes its time
                    client.recv(heard)
                client.close()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(ReaderError) as told:
            await make_reader().open()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert told.value.fault is ReaderFault.NO_PERMISSION
    assert "polkit" in told.value.remedy


async def test_two_that_lead_to_one_reader_never_both_serve(pcscd: Pcscd) -> None:
    in_use: dict[str, object] = {}
    first, second = make_reader(in_use=in_use), make_reader(in_use=in_use)
    await first.open()
    with pytest.raises(ReaderError, match=r"another of \[\[readers\]\] has the reader Virtual") as told:
        await second.open()
    assert told.value.fault is ReaderFault.TAKEN
    await first.close()
    await second.open()
    await second.close()
    assert in_use == {}


# -- phones -----------------------------------------------------------------------------------------------------------


async def test_a_phone_gets_its_token_and_is_asked_for_nothing_else(reader: "PcscReader", slot: VirtualSlot) -> None:
    app = TapApp(random.Random(7))
    stay = slot.insert(phone(app))
    session = await reader.next_session()
    assert (session.target.kind, session.target.sak) == (TargetKind.ISO_DEP, 0x20)
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    assert session.rtt_s > 0
    assert session.wtx == 0
    assert (await session.transceive(apdu.deliver_token(TOKEN), LONG_S)).endswith(b"\x90\x00")
    assert app.tokens == [TOKEN]
    assert stay.commands == [SELECT, apdu.deliver_token(TOKEN)]


async def test_a_phone_that_stays_is_no_new_tap_and_is_left_in_peace(reader: "PcscReader", slot: VirtualSlot) -> None:
    stay = slot.insert(phone())
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    waiting = asyncio.create_task(session.wait_removed())
    before = reader.last_poll
    await eventually(lambda: reader.last_poll > before + 0.3)
    assert not waiting.done()
    assert (stay.commands, stay.resets) == ([SELECT], 0)
    slot.remove()
    await asyncio.wait_for(waiting, LONG_S)


async def test_a_phone_that_was_lost_too_soon_comes_back_with_its_nonce(
    reader: "PcscReader", slot: VirtualSlot
) -> None:
    held = SimulatedPhone()
    leaving = Vanishing(held, after=1)
    slot.insert(VirtualCard(held.application))
    session = await reader.next_session()
    first = await session.transceive(SELECT, LONG_S)
    delivery = asyncio.create_task(session.transceive(apdu.deliver_token(TOKEN), LONG_S))
    await eventually(lambda: leaving.gone)
    slot.remove()
    with pytest.raises(SessionLost) as lost:
        await delivery
    assert lost.value.reason in (LostReason.VANISHED, LostReason.PROTOCOL)
    await session.wait_removed()
    leaving.come_back()
    slot.insert(VirtualCard(held.application))
    again = await reader.next_session()
    assert await again.transceive(SELECT, LONG_S) == first
    assert (await again.transceive(apdu.deliver_token(TOKEN), LONG_S)).endswith(b"\x90\x00")
    assert held.tokens == [TOKEN]


async def test_a_phone_that_left_before_its_first_apdu_is_lost(reader: "PcscReader", slot: VirtualSlot) -> None:
    slot.insert(phone())
    session = await reader.next_session()
    slot.remove()
    with pytest.raises(SessionLost):
        await session.transceive(SELECT, LONG_S)
    await session.wait_removed()


async def test_a_phone_that_never_answers_is_cut_off_and_the_next_one_is_served(
    reader: "PcscReader", slot: VirtualSlot
) -> None:
    slot.insert(VirtualCard(Silent()))
    session = await reader.next_session()
    with pytest.raises(SessionLost) as lost:
        await session.transceive(SELECT, 0.3)
    assert lost.value.reason is LostReason.TIMEOUT
    slot.remove()
    await session.wait_removed()
    slot.insert(phone())
    session = await reader.next_session()
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


async def test_a_session_that_broke_is_reset_before_the_next_one(
    pcscd: Pcscd, slot: VirtualSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, loop = threading.Event(), asyncio.get_running_loop()

    class Slow(TapApp):
        def command(self, apdu: bytes) -> Response:
            answers.wait(LONG_S)
            return super().command(apdu)

    class Leaping(SystemClock):
        ahead_s = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead_s

    clock, now = Leaping(), loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + clock.ahead_s)
    reader = make_reader(clock=clock)
    await reader.open()
    stay = slot.insert(phone(Slow(random.Random(7))))
    session = await reader.next_session()
    asking = asyncio.create_task(session.transceive(SELECT, LONG_S))
    await eventually(lambda: stay.commands)  # what is given up before it was asked breaks nothing
    clock.ahead_s = LONG_S
    with pytest.raises(SessionLost):
        await asking
    answers.set()
    session = await reader.next_session()
    assert stay.resets == 1
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00")
    await reader.next_session()
    assert stay.resets == 1, "a session that ended well leaves the card alone"
    await reader.close()


async def test_a_phone_that_keeps_breaking_off_while_it_is_there_is_activated_anew(
    reader: "PcscReader", slot: VirtualSlot
) -> None:
    stay = slot.insert(VirtualCard(Fixed(b"")))
    began = asyncio.get_running_loop().time()
    while stay.resets == 0:
        session = await reader.next_session()
        with pytest.raises(SessionLost):
            await session.transceive(SELECT, 0.1)
        assert asyncio.get_running_loop().time() < began + 30


async def test_a_phone_that_is_back_at_once_is_served(reader: "PcscReader", slot: VirtualSlot) -> None:
    for _ in range(3):
        slot.insert(VirtualCard(Silent()))
        session = await reader.next_session()
        with pytest.raises(SessionLost):
            await session.transceive(SELECT, 0.1)
        slot.remove()
        slot.insert(phone())  # before pcscd has noticed
        async with asyncio.timeout(LONG_S):
            answer = b""
            while not answer.endswith(b"\x90\x00"):
                session = await reader.next_session()
                with contextlib.suppress(SessionLost):
                    answer = await session.transceive(SELECT, 1.0)
        slot.remove()
        await session.wait_removed()


async def test_a_phone_at_the_edge_is_activated_again_until_it_answers(
    reader: "PcscReader", slot: VirtualSlot, pcscd: Pcscd
) -> None:
    card = phone()
    card.atr = bytes(60)  # longer than any ATR: the activation fails
    slot.insert(card)
    coming = asyncio.create_task(reader.next_session())
    await eventually(lambda: "Error powering up card" in pcscd.log)
    before = reader.last_poll
    await eventually(lambda: reader.last_poll > before)
    assert not coming.done()
    card.atr = PHONE_ATR
    assert (await (await coming).transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


@pytest.mark.parametrize("answer", [b"\x90", b"\x00" * 600, b"\xff" * 65_535], ids=["one byte", "oversize", "huge"])
async def test_a_hostile_answer_comes_through_as_it_is(reader: "PcscReader", slot: VirtualSlot, answer: bytes) -> None:
    slot.insert(VirtualCard(Fixed(answer)))
    session = await reader.next_session()
    assert await session.transceive(SELECT, LONG_S) == answer
    with pytest.raises(apdu.ApduError):
        apdu.parse_application(apdu.parse_response(answer).data, TAP_AID)


async def test_an_empty_answer_costs_one_tap(reader: "PcscReader", slot: VirtualSlot) -> None:
    slot.insert(VirtualCard(Fixed(b"")))
    session = await reader.next_session()
    with pytest.raises(SessionLost):
        await session.transceive(SELECT, 0.3)
    slot.remove()
    await session.wait_removed()
    slot.insert(phone())
    assert (await (await reader.next_session()).transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


async def test_hundreds_of_sessions_with_babble_leave_nothing_behind_in_pcscd(
    reader: "PcscReader", slot: VirtualSlot
) -> None:
    rng = random.Random(3)
    card = VirtualCard(Fixed(b""))
    slot.insert(card)
    for _ in range(250):  # pcscd gives 200 handles to one client
        answer = rng.randbytes(rng.randint(1, 300))
        card.application = Fixed(answer)
        session = await reader.next_session()
        assert await session.transceive(SELECT, LONG_S) == answer
    card.application = TapApp(rng)
    assert (await (await reader.next_session()).transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


# -- cards ------------------------------------------------------------------------------------------------------------


async def test_a_storage_card_is_plain_and_takes_no_apdus(reader: "PcscReader", slot: VirtualSlot) -> None:
    stay = slot.insert(VirtualCard(Fixed(b"\x90\x00"), STORAGE_ATR, UID))
    session = await reader.next_session()
    assert session.target.kind is TargetKind.PLAIN
    with pytest.raises(SessionLost):
        await session.transceive(SELECT, LONG_S)
    assert stay.commands == [], "under cards = ignore nobody asks for a UID"
    assert Pseudonyms().of(session.target.uid, 0.0) is None


@pytest.mark.parametrize("atr", [STORAGE_ATR, PHONE_ATR], ids=["storage card", "ISO-DEP card"])
async def test_a_card_has_the_same_pseudonym_each_time(pcscd: Pcscd, slot: VirtualSlot, atr: bytes) -> None:
    reader = make_reader(read_uids=True)
    await reader.open()
    pseudonyms, subs = Pseudonyms(), []
    for _ in range(2):
        stay = slot.insert(VirtualCard(Fixed(b"\x6a\x82"), atr, UID))
        session = await reader.next_session()
        assert repr(session.target.uid) == "RawUid(hidden)"
        subs.append(pseudonyms.of(session.target.uid, 0.0))
        assert stay.commands == [GET_UID]
        slot.remove()
        await session.wait_removed()
    await reader.close()
    assert subs[0] is not None
    assert subs[0] == subs[1]


@pytest.mark.parametrize("uid", [b"", b"\x08\x01\x02\x03", b"\x04" * 5], ids=["none", "random", "of no legal size"])
async def test_a_uid_that_names_nobody_gives_no_pseudonym(pcscd: Pcscd, slot: VirtualSlot, uid: bytes) -> None:
    reader = make_reader(read_uids=True)
    await reader.open()
    slot.insert(VirtualCard(TapApp(random.Random(7)), uid=uid))
    session = await reader.next_session()
    assert Pseudonyms().of(session.target.uid, 0.0) is None
    assert (await session.transceive(SELECT, LONG_S)).endswith(b"\x90\x00"), "and a phone is served all the same"
    await reader.close()


# -- faults -----------------------------------------------------------------------------------------------------------


async def test_pcscd_killed_amid_a_poll_is_an_error_of_the_reader(reader: "PcscReader", pcscd: Pcscd) -> None:
    polling = asyncio.create_task(reader.next_session())
    await asyncio.sleep(0.05)
    pcscd.kill()
    with pytest.raises(ReaderError) as told:
        await asyncio.wait_for(polling, LONG_S)
    assert told.value.fault is ReaderFault.NO_SERVICE
    assert "journalctl -u pcscd" in told.value.remedy


async def test_pcscd_killed_amid_a_session_is_an_error_of_the_reader(
    reader: "PcscReader", pcscd: Pcscd, slot: VirtualSlot
) -> None:
    slot.insert(phone())
    session = await reader.next_session()
    await session.transceive(SELECT, LONG_S)
    pcscd.kill()
    with pytest.raises(ReaderError):
        await session.transceive(SELECT, LONG_S)
    with pytest.raises(ReaderError):
        await session.wait_removed()


@contextlib.contextmanager
def held_exclusively(name: str) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline().strip() == b"0"
        try:
            yield
        finally:
            holder.stdin.close()


async def test_a_reader_that_another_program_holds_is_told_as_what_to_do(
    reader: "PcscReader", pcscd: Pcscd, slot: VirtualSlot
) -> None:
    slot.insert(phone())
    session = await reader.next_session()
    with held_exclusively(pcscd.reader):
        with pytest.raises(ReaderError, match="another program holds the reader Virtual PCD 00 00") as told:
            await session.transceive(SELECT, LONG_S)
        assert told.value.fault is ReaderFault.TAKEN
        assert "gpgconf --kill scdaemon" in told.value.remedy
        with pytest.raises(ReaderError, match="another program holds"):
            await reader.open()
    async with asyncio.timeout(LONG_S):
        opened = False
        while not opened:  # pcscd tells a little later that nobody holds it any more
            with contextlib.suppress(ReaderError):
                opened = bool(await reader.open())
    assert (await (await reader.next_session()).transceive(SELECT, LONG_S)).endswith(b"\x90\x00")


class CountingClock(SystemClock):
    """Counts how often it is looked at: at least once in a poll."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic()


async def test_an_idle_reader_waits_instead_of_asking_again_and_again(pcscd: Pcscd) -> None:
    clock = CountingClock()
    reader = make_reader(clock=clock)
    await reader.open()
    polling = asyncio.create_task(reader.next_session())
    await asyncio.sleep(1.2)
    assert clock.looks < 300, "thousands of polls in a second"
    polling.cancel()
    await reader.close()


async def test_stopping_ends_a_wait_at_once(pcscd: Pcscd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_reader, "_CLOSE_WITHIN_S", LONG_S)
    reader = make_reader(wait_s=60)
    for pause in (0.0, 0.01, 0.2):
        await reader.open()
        polling = asyncio.create_task(reader.next_session())
        await asyncio.sleep(pause)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await reader.close()
        assert reader._thread.left_behind == [], "the thread came back in time"


async def test_a_pcscd_that_hangs_is_left_behind_and_found_again(reader: "PcscReader", pcscd: Pcscd) -> None:
    polling = asyncio.create_task(reader.next_session())
    await asyncio.sleep(0.05)
    pcscd.pause()
    async with asyncio.timeout(LONG_S):
        await reader.close()
        with pytest.raises(ReaderError) as told:
            await reader.open()
    assert told.value.fault is ReaderFault.HANGS
    assert "systemctl restart pcscd" in told.value.remedy
    pcscd.resume()
    polling.cancel()
    await eventually(lambda: not any(owner.alive for owner in reader._thread.left_behind))
    assert (await reader.open()).chip == pcscd.reader


# -- under supervision ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(reader: "PcscReader", cues: list[Cue]) -> AsyncIterator[ReaderService]:
    async def issue(facts: TapFacts) -> StoredTap:
        return StoredTap(chain=bytes(8), seq=1, token=TOKEN, exp=0)

    service = ReaderService(
        reader,
        settings=ExchangeSettings(budget_s=LONG_S, commit_s=LONG_S),
        issue=issue,
        show=cues.append,
        clock=SystemClock(),
        pseudonyms=Pseudonyms(),
        delays=ReopenDelays(first=0.05, last=0.1, absent=0.1),
    )
    running = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def is_in(service: ReaderService, state: ReaderState) -> Callable[[], bool]:
    return lambda: service.snapshot().state is state


async def test_a_reader_is_back_after_pcscd_was_restarted(pcscd: Pcscd, slot: VirtualSlot) -> None:
    cues: list[Cue] = []
    async with served(make_reader(), cues) as service:
        await eventually(is_in(service, ReaderState.POLLING))
        pcscd.kill()
        await eventually(lambda: "pcscd is not running" in service.snapshot().last_error)
        assert cues == [Cue.FAULT]
        pcscd.start()
        await eventually(is_in(service, ReaderState.POLLING))
        app = TapApp(random.Random(7))
        slot.insert(phone(app))
        await eventually(lambda: app.tokens == [TOKEN])
        await eventually(lambda: cues == [Cue.FAULT, Cue.INVITE, Cue.READING, Cue.THANKS])


async def test_a_reader_that_is_plugged_in_later_is_found(tmp_path: Path) -> None:
    daemon = virtual_reader(tmp_path)
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as taken:
        for port in (daemon.port, daemon.port + 1):  # the driver cannot have them: pcscd starts without the reader
            listening = taken.enter_context(socket.socket())
            listening.bind(("0.0.0.0", port))  # noqa: S104 - as the driver would
            listening.listen()
        stack.callback(daemon.stop)
        daemon.start()
        async with served(make_reader(), []) as service:
            await eventually(lambda: "pcscd knows no reader" in service.snapshot().last_error)
            taken.close()
            daemon.stop()
            daemon.start()
            await eventually(is_in(service, ReaderState.POLLING))

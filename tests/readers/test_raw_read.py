"""What a technician hears of each phone "that does nothing": the real PN532 driver over the emulated chip."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_agent.clock import SystemClock
from edge_agent.readers import raw_read
from edge_agent.readers.base import TargetKind
from edge_agent.readers.nfcpy_reader import NfcpyReader
from edge_agent.readers.raw_picture import Picture, verdict_of
from edge_agent.readers.raw_read import look
from edge_agent.simulation.cards import PPSE, PaymentCard, PlainCard, type2_tag
from edge_agent.simulation.odd_phones import ODD_PHONES
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from edge_agent.simulation.picc import Picc
from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.pn532_host import have_patience

CLOCK = SystemClock()

VERDICTS = {
    "locked": {"locked"},
    "no_app": {"no-app"},
    "foreign_6d00": {"no-app"},
    "foreign_6e00": {"no-app"},
    "foreign_6f00": {"app-fails"},
    "ats_one_byte": {"app"},
    "ats_without_ta": {"app"},
    "sak_60": {"app"},
    "wtx_endless": {"lost"},
    "wtx_three": {"app"},
    "gone_before_select": {"too-far", "lost"},
    "gone_before_token": {"app"},
    "gone_before_receipt": {"app"},
    "fci_oversize": {"app-fails", "lost"},
    "fci_junk": {"foreign-app"},
    "fci_no_nonce": {"foreign-app"},
    "fci_short_nonce": {"foreign-app"},
    "no_status_word": {"app-fails", "lost", "too-far"},
    "babbling": {"app-fails", "lost", "foreign-app", "no-app", "locked"},
    "frame_noise": {"lost"},
    "silent": {"lost"},
    "slow": {"lost"},
}


@asynccontextmanager
async def opened(card: Picc | None = None) -> AsyncIterator[NfcpyReader]:
    with Pn532Emulator() as emulator:
        if card is not None:
            emulator.place(card)
        reader = NfcpyReader("nfc0", emulator.device_path, clock=CLOCK, poll_interval_s=0.01)
        await reader.open()
        try:
            yield reader
        finally:
            await reader.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers has time; who never comes back is not waited for as long as people are."""
    have_patience(monkeypatch)
    monkeypatch.setattr(raw_read, "ANSWER_WITHIN_S", 30.0)
    monkeypatch.setattr(raw_read, "_BACK_WITHIN_S", 0.2)


async def picture_of(card: Picc | None, wait_s: float = 30.0) -> Picture | None:
    async with opened(card) as reader:
        return await look(reader, (TAP_AID,), wait_s, CLOCK)


@pytest.mark.parametrize("name", ODD_PHONES)
async def test_each_odd_phone_gets_a_verdict_that_helps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in ("wtx_endless", "slow"):
        monkeypatch.setattr(raw_read, "ANSWER_WITHIN_S", 0.6)
    picture = await picture_of(ODD_PHONES[name](random.Random(1)))
    verdict = verdict_of(picture)
    assert verdict.id in VERDICTS[name], (verdict, picture)
    assert verdict.good is (verdict.id == "app")
    assert verdict.next


async def test_a_phone_with_the_app_is_seen_in_full_and_makes_no_tap() -> None:
    phone = SimulatedPhone(rng=random.Random(1))
    nonce = phone.nonce
    picture = await picture_of(phone)
    assert picture is not None
    assert (picture.kind, picture.sak, picture.uid_bytes, picture.uid_random) == (TargetKind.ISO_DEP, 0x20, 4, True)
    assert picture.atqa is not None
    assert picture.ats
    assert [(one.aid, one.sw, one.version) for one in picture.selects] == [(TAP_AID, 0x9000, 1)]
    assert (phone.tokens, phone.nonce) == ([], nonce)
    assert nonce.hex() not in repr(picture)


async def test_nothing_in_the_field_is_told_as_such() -> None:
    assert await picture_of(None, wait_s=0.1) is None
    assert verdict_of(None).id == "nothing"


async def test_a_payment_card_is_never_asked_for_its_application() -> None:
    card = PaymentCard(b"\x04\x01\x02\x03\x04\x05\x06")
    picture = await picture_of(card)
    assert verdict_of(picture).id == "card"
    assert picture is not None
    assert picture.ndef is not None  # an NDEF tag is asked for, which is no payment application
    assert card.app.commands
    assert not any(PPSE in command for command in card.app.commands)


@pytest.mark.parametrize(
    ("card", "words"),
    [(type2_tag(random.Random(1)), "a Type 2 tag"), (PlainCard(b"\x01\x02\x03\x04"), "a MIFARE Classic card")],
)
async def test_a_plain_card_is_named_by_its_sak(card: PlainCard, words: str) -> None:
    picture = await picture_of(card)
    assert verdict_of(picture).text.startswith(words)
    assert picture is not None
    assert picture.uid_bytes in {4, 7}
    assert not picture.uid_random
    assert card.uid.hex() not in repr(picture)


async def test_the_application_of_a_payment_system_is_refused() -> None:
    async with opened() as reader:
        with pytest.raises(ValueError, match="PPSE"):
            await look(reader, (PPSE,), 0.1, CLOCK)


async def test_who_comes_late_is_waited_for() -> None:
    with Pn532Emulator() as emulator:
        reader = NfcpyReader("nfc0", emulator.device_path, clock=CLOCK, poll_interval_s=0.01)
        await reader.open()
        looking = asyncio.create_task(look(reader, (TAP_AID,), 20.0, CLOCK))
        await asyncio.to_thread(emulator.wait_for_polls, 3)
        emulator.place(SimulatedPhone(rng=random.Random(1)))
        assert verdict_of(await looking).good
        await reader.close()

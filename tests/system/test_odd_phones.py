"""Bad input at the antenna: whatever was held to the reader, the next phone is served and its tap is stored."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from edge_agent.models import TapMode
from edge_agent.readers.presence import RetryAllowance
from edge_agent.simulation.cards import PaymentCard, PlainCard, type2_tag
from edge_agent.simulation.iso_dep import Answer, Ats
from edge_agent.simulation.odd_phones import ODD_PHONES, Fixed, Vanishing, phone_with
from edge_agent.simulation.phones import SW_NOT_FOUND, SimulatedPhone
from edge_agent.simulation.picc import Picc
from edge_agent.tokens.tap_token import parse
from firmware_bridge.cues import CueName
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import QUICK, WholePath, whole_path

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_S = 0.6
"""Longer than the exchange's budget here, so that every hostile phone meets its end."""

# Phones that speak the contract in their own way: each is a tap. So is one that left after the commit.
TAPS = {
    "ats_one_byte",
    "ats_without_ta",
    "sak_60",
    "wtx_three",
    "gone_before_token",
    "gone_before_receipt",
}
CARDS: dict[str, Callable[[random.Random], Picc]] = {
    "plain_card": lambda rng: PlainCard(rng.randbytes(4)),
    "type2_tag": type2_tag,
    "payment_card": lambda rng: PaymentCard(b"\x04" + rng.randbytes(6)),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    async with whole_path(tmp_path_factory.mktemp("odd"), **QUICK) as running:
        yield running
        await running.all_stored()
        await running.audit()


@pytest.mark.parametrize("name", [*ODD_PHONES, *CARDS])
async def test_the_next_phone_is_served_after(path: WholePath, name: str) -> None:
    make = ODD_PHONES.get(name) or CARDS[name]
    before = await path.last_seq()
    await path.terminal.hold_until_done_with(make(random.Random(name)), patience_s=PATIENCE_S)
    token = await path.terminal.good_tap()
    assert parse(token).claims.seq == before + (name in TAPS) + 1
    await eventually(lambda: path.rows and path.rows[-1].token == token)
    assert path.rows[-1].verdict == "fresh"


async def test_a_locked_phone_is_asked_to_unlock_and_served_after_that(path: WholePath) -> None:
    phone = SimulatedPhone(locked=True)
    shown = len(path.terminal.cues)
    await path.terminal.tap(phone)
    await eventually(lambda: path.terminal.showed_tap(shown, CueName.UNLOCK))
    phone.app.locked = False
    await path.terminal.tap(phone)
    assert len(phone.tokens) == 1


class Approaching(SimulatedPhone):
    """At the edge of the field: powered, but too far away for its first answers."""

    def __init__(self, unheard: int) -> None:
        super().__init__()
        self.unheard = unheard

    def receive(self, frame: bytes) -> Answer | None:
        if frame[:1] == b"\xe0" and self.unheard:
            self.unheard -= 1
            return None
        return super().receive(frame)


async def test_a_phone_that_comes_slowly_is_served_without_leaving_first(
    path: WholePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    (service,) = path.terminal.agent._readers
    monkeypatch.setattr(service, "_retries", RetryAllowance(for_s=60.0, within_s=60.0))  # however slow the machine is
    phone = Approaching(unheard=12)
    await path.terminal.tap(phone)
    assert phone.unheard == 0
    assert len(phone.tokens) == 1


async def test_a_phone_that_left_too_soon_is_asked_to_hold_longer(path: WholePath) -> None:
    shown = len(path.terminal.cues)
    await path.terminal.hold_until_gone(Vanishing(SimulatedPhone(), after=0))
    await eventually(lambda: path.terminal.showed_tap(shown, CueName.RETRY))


async def test_two_phones_at_once_are_no_tap_and_either_is_served_alone(path: WholePath) -> None:
    before = await path.last_seq()
    first, second = SimulatedPhone(), SimulatedPhone()
    path.terminal.emulator.place(first)
    placed = path.terminal.emulator.place(second)
    served_at_once = bool(first.tokens)
    path.terminal.emulator.remove(first)
    await path.terminal.until(lambda: placed.seen_at is not None)
    await path.terminal.until(lambda: second.tokens)
    path.terminal.emulator.remove(second)
    await path.terminal.field_clear()
    if not served_at_once:
        await path.terminal.tap(first)
    token = await path.terminal.good_tap()
    assert (len(first.tokens), len(second.tokens)) == (1, 1)
    assert parse(token).claims.seq == before + 3


async def test_a_phone_and_a_card_in_its_case_is_no_tap_and_no_end(path: WholePath) -> None:
    before = await path.last_seq()
    card = PlainCard(b"\x11\x22\x33\x44")
    path.terminal.emulator.place(card)
    phone = SimulatedPhone()
    path.terminal.emulator.place(phone)
    await asyncio.to_thread(path.terminal.emulator.wait_for_polls, 3)
    path.terminal.emulator.remove()
    await path.terminal.field_clear()
    assert phone.tokens == []
    assert await path.terminal.next_seq() == before + 1


async def test_a_payment_card_is_asked_for_our_application_and_nothing_else(path: WholePath) -> None:
    card = PaymentCard(b"\x04\x11\x22\x33\x44\x55\x66")
    await path.terminal.hold_until_done_with(card, patience_s=PATIENCE_S)
    assert [command[:4] for command in card.app.commands] == [b"\x00\xa4\x04\x00"]
    assert not [command for command in card.app.commands if b"2PAY" in command or b"\xa0\x00\x00\x00" in command]


async def test_cards_become_taps_under_a_pseudonym_where_the_policy_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    uid = b"\x04\x66\x55\x44\x33\x22\x11"
    cards: list[Picc] = [
        PlainCard(uid),
        PlainCard(uid),
        PlainCard(b"\x04\x66\x55\x44\x33\x22\x12"),
        phone_with(Fixed(SW_NOT_FOUND), random.Random(1), timing=Ats()),
    ]
    async with whole_path(tmp_path_factory.mktemp("cards"), cards="pseudonym", **QUICK) as path:
        for card in cards:
            await path.terminal.hold_until_done_with(card, patience_s=PATIENCE_S)
        await path.terminal.good_tap()
        await path.all_stored()
        rows = path.rows
        assert [row.mode for row in rows] == [TapMode.CARD] * 4 + [TapMode.PHONE_APP]
        same, again, other, phone, _ = (row.sub for row in rows)
        assert same is not None
        assert other is not None
        assert same == again != other
        assert phone is None  # a random UID names nobody
        assert not [row for row in rows if uid in row.token or uid[:4] in row.token]
        await path.audit()

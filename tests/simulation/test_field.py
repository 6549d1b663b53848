import asyncio
import contextlib
import random
import threading

import nfc.tag
import pytest

from edge_agent.simulation.cards import PlainCard
from edge_agent.simulation.field import SimulatedField, TapEnd, TapOutcome
from edge_agent.simulation.phones import TAP_AID, SimulatedPhone
from tests.fakes.pn532_host import sense
from tests.fakes.waiting import eventually

SELECT = bytes.fromhex("00a4040009") + TAP_AID + b"\x00"
GIVE = bytes.fromhex("80540000c8") + bytes(200) + b"\x00"


@pytest.fixture
def agent(frontend):
    """A reader in a few lines, on its own thread: tap whatever comes, then wait until it is gone."""
    stop = threading.Event()
    give_tokens = threading.Event()
    give_tokens.set()

    def serve() -> None:
        while not stop.wait(0.005):
            target = sense(frontend)
            tag = target and nfc.tag.activate(frontend, target)
            if tag is None or tag.TYPE != "Type4Tag":
                continue
            with contextlib.suppress(nfc.tag.TagCommandError):
                if tag.transceive(SELECT, 30.0)[-2:] == b"\x90\x00" and give_tokens.is_set():
                    tag.transceive(GIVE, 30.0)
            while tag.is_present and not stop.wait(0.005):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield give_tokens
    stop.set()
    thread.join()


def _field(emulator, **kwargs) -> SimulatedField:
    return SimulatedField(emulator, **{"rng": random.Random(1), "dwell_s": 0.02, "patience_s": 60.0, **kwargs})


async def test_a_tap_is_delivered_and_the_phone_is_gone(emulator, agent):
    outcome = await _field(emulator).tap()
    assert outcome.end is TapEnd.DELIVERED
    assert outcome.card.tokens == [bytes(200)]
    assert outcome.placed_at <= outcome.seen_at <= outcome.delivered_at
    assert outcome.removed_at - outcome.delivered_at >= 0.02
    await asyncio.to_thread(emulator.wait_idle)


async def test_the_same_phone_taps_twice_with_two_nonces(emulator, agent):
    field, phone = _field(emulator), SimulatedPhone()
    nonces = set()
    for _ in range(2):
        nonces.add(phone.nonce)
        assert (await field.tap(phone)).end is TapEnd.DELIVERED
    assert len(nonces) == len(phone.tokens) == 2


async def test_a_locked_phone_is_refused(emulator, agent):
    outcome = await _field(emulator).tap(SimulatedPhone(locked=True))
    assert (outcome.end, outcome.delivered_at) == (TapEnd.REFUSED, None)


async def _held_until(emulator, monkeypatch, card, happened) -> TapOutcome:
    """Hold a card until this has happened; then patience is at its end."""
    loop = asyncio.get_running_loop()
    ahead, now = [0.0], loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + ahead[0])
    holding = asyncio.create_task(_field(emulator).tap(card))
    await eventually(happened)
    with emulator._changed:  # what the emulator's thread was doing is done, and told
        ahead[0] = 60.0
    return await holding


async def test_without_a_token_the_holder_gives_up(emulator, agent, monkeypatch):
    agent.clear()
    phone = SimulatedPhone()
    outcome = await _held_until(emulator, monkeypatch, phone, lambda: phone.app.selects)
    assert outcome.end is TapEnd.SELECTED


async def test_a_plain_card_is_held_and_taken_away(emulator, agent, monkeypatch):
    seen = threading.Event()
    emulator.on_field(lambda _placement: seen.set())
    outcome = await _held_until(emulator, monkeypatch, PlainCard(bytes(4)), seen.is_set)
    assert outcome.end is TapEnd.UNANSWERED
    assert outcome.seen_at is not None
    await asyncio.to_thread(emulator.wait_idle)


async def test_without_a_reader_nothing_is_seen(emulator):
    outcome = await _field(emulator, patience_s=0.05).tap()
    assert (outcome.end, outcome.seen_at) == (TapEnd.UNANSWERED, None)


async def test_a_row_of_people(emulator, agent):
    outcomes = []
    await _field(emulator).run(0.02, outcomes.append, taps=4)
    assert [outcome.end for outcome in outcomes] == [TapEnd.DELIVERED] * 4
    assert len({outcome.card.tokens[0] + outcome.card.nonce for outcome in outcomes}) == 4


async def test_cancelling_takes_the_phone_away(emulator):
    phone = SimulatedPhone()
    task = asyncio.create_task(_field(emulator).tap(phone))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    placement = emulator.place(phone)
    assert placement.removed_at is None


async def test_two_taps_at_once_take_turns(emulator, agent):
    field = _field(emulator)
    outcomes = await asyncio.gather(field.tap(), field.tap(), field.tap())
    assert [outcome.end for outcome in outcomes] == [TapEnd.DELIVERED] * 3

"""From a phone in the field to a verified row of the ledger: the real driver, broker, databases and receiver."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edge_agent.simulation.odd_phones import Vanishing
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from edge_agent.uplink.wire import State, StateWord, Topics
from firmware_bridge.cues import CueName
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholePath, whole_path

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    async with whole_path(tmp_path_factory.mktemp("path"), gone_after_s=None) as running:
        yield running


async def test_the_display_shows_reading_then_thanks_to_each(path: WholePath) -> None:
    await eventually(lambda: path.terminal.display.showing.cue is CueName.INVITE)
    shown = len(path.terminal.cues)
    phone = SimulatedPhone(latency_s=0.2)  # `reading` has the time to be shown
    path.terminal.emulator.place(phone)
    await eventually(lambda: path.terminal.showed_tap(shown, CueName.THANKS))
    assert CueName.READING in path.terminal.cues[shown:]
    path.terminal.emulator.remove(phone)
    await path.terminal.field_clear()


async def test_each_phones_token_is_a_fresh_row_of_an_unbroken_chain(path: WholePath) -> None:
    first = await path.last_seq() + 1
    phones = [SimulatedPhone(sub=b"someone%d" % number) for number in range(4)]
    for phone in phones:
        await path.terminal.tap(phone)
    await path.all_stored()
    tokens = [token for phone in phones for token in phone.tokens]
    rows = path.rows[-len(phones) :]
    assert [row.token for row in rows] == tokens
    assert {row.verdict for row in rows} == {"fresh"}
    assert [row.sub for row in rows] == [phone.app.sub for phone in phones]
    assert [parse(token).claims.seq for token in tokens] == [first, first + 1, first + 2, first + 3]
    assert {parse(token).claims.iss for token in tokens} == {TERMINAL}
    assert [phone.receipts for phone in phones] == [[token[-16:]] for token in tokens]
    await path.audit()


async def test_every_step_of_a_tap_is_timed_in_the_order_of_the_path(path: WholePath) -> None:
    claims = parse(await path.terminal.good_tap()).claims

    def done() -> bool:
        return any(times.seq == claims.seq and times.stored for times in path.terminal.steps)

    await eventually(done)
    times = next(times for times in path.terminal.steps if times.seq == claims.seq)
    assert times.chain == claims.chain
    took_ms = times.latency_ms()
    reading_ms = took_ms.pop("seen_to_reading_cue", 0.0)  # on a busy machine the display may be the last
    assert list(took_ms) == ["seen_to_committed", "seen_to_puback", "seen_to_stored"]
    assert list(took_ms.values()) == sorted(took_ms.values())
    assert min(reading_ms, *took_ms.values()) >= 0


async def test_a_phone_that_left_after_the_commit_gets_its_token_when_it_comes_back(path: WholePath) -> None:
    seq = await path.terminal.next_seq()
    leaving = Vanishing(SimulatedPhone(), after=1)
    await path.terminal.hold_until_gone(leaving)
    token = await come_back(path, leaving)
    assert parse(token).claims.seq == seq + 1
    assert await path.terminal.next_seq() == seq + 2
    await path.all_stored()
    assert [row.token for row in path.rows].count(token) == 1


async def test_it_gets_the_same_token_after_a_restart_of_the_agent_too(path: WholePath) -> None:
    seq = await path.terminal.next_seq()
    leaving = Vanishing(SimulatedPhone(), after=1)
    await path.terminal.hold_until_gone(leaving)
    await path.terminal.restart()
    await path.terminal.connected()
    token = await come_back(path, leaving)
    assert parse(token).claims.seq == seq + 1
    assert await path.terminal.next_seq() == seq + 2
    await path.all_stored()
    assert [row.token for row in path.rows].count(token) == 1


async def come_back(path: WholePath, leaving: Vanishing) -> bytes:
    """Tap with the phone that left; returns the one token that it has now."""
    phone = leaving.phone
    assert isinstance(phone, SimulatedPhone)
    assert phone.tokens == []
    leaving.come_back()
    await path.terminal.tap(phone)
    (token,) = phone.tokens
    return token


async def test_a_phone_held_for_five_seconds_is_one_tap(path: WholePath) -> None:
    seq = await path.terminal.next_seq()
    phone = SimulatedPhone()
    path.terminal.emulator.place(phone)
    await asyncio.sleep(5.2)
    path.terminal.emulator.remove(phone)
    await path.terminal.field_clear()
    assert [parse(token).claims.seq for token in phone.tokens] == [seq + 1]
    assert await path.terminal.next_seq() == seq + 2


async def test_the_retained_state_names_the_place_in_the_chain(path: WholePath) -> None:
    topic = Topics(FLEET, TERMINAL).state
    probe = Probe(link_settings(path.port, client_id="observer"))
    await probe.up(topic)
    await eventually(lambda: [s for s in map(State.decode, probe.payloads(topic)) if s.readers == {"nfc0": "ok"}])
    await probe.link.close()
    state = State.decode(probe.payloads(topic)[-1])
    assert state.state is StateWord.ONLINE
    assert state.chain == parse(path.rows[-1].token).claims.chain
    assert state.kid == path.terminal.public.kid


async def test_the_chain_is_whole_in_the_end(path: WholePath) -> None:
    await path.terminal.good_tap()
    await path.all_stored()
    await path.audit()
    assert {row.verdict for row in path.rows} == {"fresh"}

"""Anti-abuse at a whole terminal: who taps too soon or too often sees `resting`, and the next person is served."""

import random
from pathlib import Path

from edge_agent.models import TapMode
from edge_agent.simulation.cards import type2_tag
from edge_agent.simulation.odd_phones import ODD_PHONES
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tap_gate import FLOOD_ALARM
from edge_agent.tokens.tap_token import parse
from edge_agent.uplink.wire import Alarm, Topics
from firmware_bridge.cues import CueName
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, whole_agent, whole_path


async def test_a_phone_that_taps_too_soon_sees_resting_and_the_next_one_is_served(tmp_path: Path) -> None:
    async with whole_agent(tmp_path, limits__cooldown_s=3600) as terminal:
        first, again = (SimulatedPhone(sub=b"the same") for _ in range(2))
        await terminal.tap(first)
        assert len(first.tokens) == 1
        shown = len(terminal.cues)
        await terminal.hold_until_done_with(again)
        assert again.tokens == []
        await terminal.until(lambda: terminal.showed_tap(shown, CueName.RESTING))
        await terminal.until(lambda: terminal.display.showing.cue is CueName.INVITE)
        claims = parse(await terminal.good_tap()).claims
        assert claims.seq == 2, "what is refused uses up no place in the chain"
        assert claims.rtt is not None
        assert claims.wtx == 0
        status = await terminal.started()
        assert status["limits"] == {"resting": False, "refused": {"cooling": 1, "flood": 0}}
        assert status["health"]["state"] == "degraded", "of the uplink alone, which has no broker here"
        assert (await terminal.agent._reporter.telemetry()).figures["taps_refused"] == 1


async def test_a_card_that_taps_too_soon_is_known_by_its_pseudonym(tmp_path: Path) -> None:
    async with whole_agent(tmp_path, cards="pseudonym", limits__cooldown_s=3600) as terminal:
        card = type2_tag(random.Random(1))
        for _ in range(2):
            await terminal.hold_until_done_with(card)
        await terminal.hold_until_done_with(type2_tag(random.Random(2)))
        rows = [parse(stored.token).claims for stored in await terminal.issued()]
        assert [(row.mode, row.seq) for row in rows] == [(TapMode.CARD, 1), (TapMode.CARD, 2)]
        assert rows[0].sub != rows[1].sub
        assert (await terminal.status())["limits"]["refused"]["cooling"] == 1


async def test_a_flood_rests_the_screens_is_told_once_and_ends_by_itself(tmp_path: Path) -> None:
    topics = Topics(FLEET, TERMINAL)
    async with whole_path(tmp_path, limits__taps_per_minute=20, limits__burst=2) as path:
        terminal = path.terminal
        probe = Probe(link_settings(path.port, client_id="observer"))
        await probe.up(topics.evt_alarm)
        for _ in range(20):
            phone = SimulatedPhone()
            await terminal.hold_until_done_with(phone)
            if not phone.tokens:
                break
        assert phone.tokens == []
        await terminal.until(lambda: CueName.RESTING in terminal.cues)
        served = await path.last_seq()
        assert served >= 2
        await eventually(lambda: probe.payloads(topics.evt_alarm))
        alarm = Alarm.decode(probe.payloads(topics.evt_alarm)[0])
        assert alarm.code == FLOOD_ALARM
        assert alarm.data == {"refused": 1, "floods": 1, "burst": 2, "taps_per_minute": 20}

        await terminal.until(lambda: terminal.agent.bridge.current == CueName.INVITE)
        await terminal.until(lambda: not terminal.agent._gate.flooded)
        await terminal.tap(phone)
        assert parse(phone.tokens[0]).claims.seq == served + 1
        assert len(probe.payloads(topics.evt_alarm)) == 1
        await path.all_stored()
        await probe.link.close()


async def test_the_time_that_a_phone_asked_for_is_in_its_token(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.tap(ODD_PHONES["wtx_three"](random.Random(1)))
        (stored,) = await terminal.issued()
        claims = parse(stored.token).claims
        assert claims.wtx == 3
        assert claims.rtt is not None
        assert claims.rtt > 0

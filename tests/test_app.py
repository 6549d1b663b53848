"""The composition root: what it joins, what it refuses, and in which order it ends."""

import asyncio
import json
from pathlib import Path

import pytest

from edge_agent.app import Agent
from edge_agent.clock import SystemClock
from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.cloud.rewards import CampaignRewards, Reward
from edge_agent.errors import KeyFileError, OutboxError
from edge_agent.models import ComponentState
from edge_agent.outbox.base import Notice
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.supervision.restart import FILE_NAME, RestartFile
from edge_agent.tokens.tap_token import parse
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import Alarm, Command, Response, ResponseStatus, State, StateWord, Topics
from tests.fakes.mqtt_probe import Probe
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, whole_agent, whole_path

TOPICS = Topics(FLEET, TERMINAL)


async def test_without_its_key_no_agent_is_built_and_no_database_is_made(tmp_path: Path) -> None:
    terminal = WholeAgent(tmp_path)
    with terminal.emulator, terminal.display:
        configured = terminal.configured()
        (tmp_path / "tap.key").unlink()
        with pytest.raises(KeyFileError):
            Agent(configured)
    assert not (tmp_path / "outbox.db").exists()


async def test_without_its_outbox_it_does_not_run(tmp_path: Path) -> None:
    terminal = WholeAgent(tmp_path, outbox__path=tmp_path / "none" / "outbox.db")
    with terminal.emulator, terminal.display:
        with pytest.raises(OutboxError):
            await Agent(terminal.configured()).run()
        assert terminal.emulator.polls == 0


async def test_a_stop_before_the_start_is_a_stop(tmp_path: Path) -> None:
    terminal = WholeAgent(tmp_path)
    with terminal.emulator, terminal.display:
        agent = Agent(terminal.configured())
        agent.stop()
        async with asyncio.timeout(15):
            await agent.run()


async def test_every_part_has_stopped_and_nothing_is_left_when_run_returns(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        await terminal.stop()
        health = terminal.agent._board.snapshot(terminal.agent.clock.monotonic())
        states = {part.name: part.state for part in health.components if part.name != "clock"}
        assert set(states.values()) == {ComponentState.STOPPED}, states
        assert not (tmp_path / "control.sock").exists()
        polls = terminal.emulator.polls
        await asyncio.sleep(0.1)
        assert terminal.emulator.polls == polls
        assert len(asyncio.all_tasks()) == 1


async def test_a_stop_in_the_middle_of_a_tap_tears_nothing(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as path:
        probe = Probe(link_settings(path.port, client_id="observer"))

        def told() -> list[State]:
            return [State.decode(payload) for payload in probe.payloads(TOPICS.state)]

        await probe.up(TOPICS.state)
        phone = SimulatedPhone(latency_s=0.2)
        path.terminal.emulator.place(phone)
        await path.terminal.until(lambda: phone.app.selects)
        await path.terminal.stop()
        await eventually(lambda: told() and told()[-1].state is StateWord.STOPPED)
        path.terminal.emulator.remove(phone)
        last = told()[-1]
        await probe.link.close()
        await path.terminal.start()
        assert await path.last_seq() == last.next_seq - 1, "no tap was taken after the last word"
        await path.terminal.good_tap()
        await path.all_stored()
        await path.audit()


async def test_what_a_tap_earned_is_shown_where_the_phone_was_held(tmp_path: Path) -> None:
    async with whole_path(tmp_path, rewards=CampaignRewards({"c-1": Reward("Red packet", 188)})) as path:
        await path.terminal.good_tap()
        display = path.terminal.display
        await eventually(lambda: [text for _, _, text in display.cues if "Red packet" in text])


async def test_the_cloud_asks_which_terminal_this_is(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as path:
        probe = Probe(link_settings(path.port, client_id="cloud"))
        await probe.up(TOPICS.res("identify"))
        expires = path.terminal.agent.clock.read().unix + 60
        command = Command(name="identify", id="ask-1", exp=expires, args={})
        probe.link.publish(Message(TOPICS.cmd("identify"), command.encode()))
        await eventually(lambda: probe.payloads(TOPICS.res("identify")))
        answer = Response.decode(probe.payloads(TOPICS.res("identify"))[0])
        assert (answer.id, answer.status) == ("ask-1", ResponseStatus.DONE)
        await eventually(lambda: path.terminal.display.showing.text == TERMINAL)
        await probe.link.close()


async def test_the_campaign_and_the_ttl_of_the_settings_are_in_the_token(tmp_path: Path) -> None:
    async with whole_agent(tmp_path, token__ttl=33, terminal__campaign="winter") as terminal:
        claims = parse(await terminal.good_tap()).claims
        assert (claims.campaign, claims.exp - claims.iat) == ("winter", 33)


async def test_why_it_restarted_is_told_with_the_first_state_and_forgotten_when_the_broker_has_it(
    tmp_path: Path,
) -> None:
    RestartFile(tmp_path / FILE_NAME, SystemClock()).save("part_hangs", "nfc0: hangs")
    with EmbeddedBroker() as broker:
        # Before the terminal: its screen is up a moment after the uplink, and then another state takes the first one's
        # place at the broker.
        probe = Probe(link_settings(broker.port, client_id="observer"))
        await probe.up(TOPICS.state)
        async with whole_agent(tmp_path, host=broker.host, port=broker.port) as terminal:
            await eventually(lambda: probe.payloads(TOPICS.state))
            assert State.decode(probe.payloads(TOPICS.state)[0]).restart == "part_hangs: nfc0: hangs"
            await eventually(lambda: terminal.agent.restarts.news == "")
            assert "code" not in json.loads((tmp_path / FILE_NAME).read_bytes())
            terminal.agent._publisher.rebirth()
            await eventually(lambda: State.decode(probe.payloads(TOPICS.state)[-1]).restart == "")
            assert (await terminal.status())["restarted_because"], "a technician may still ask"
        await probe.link.close()


async def test_an_alarm_that_an_uplink_took_with_it_when_it_ended_is_said_by_the_next_one(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as path:
        probe = Probe(link_settings(path.port, client_id="observer"))
        await probe.up(TOPICS.evt_alarm)
        agent = path.terminal.agent
        publisher = agent._publisher
        publisher._sender.pause()  # it hangs: nothing leaves it any more
        agent._alarms.tell(Notice("part_hangs", "uplink is started anew", {}))
        publisher._sender.wake = None  # the next tick ends it with an error
        await path.terminal.until(lambda: agent._publisher not in {None, publisher})
        await eventually(lambda: probe.payloads(TOPICS.evt_alarm))
        assert Alarm.decode(probe.payloads(TOPICS.evt_alarm)[0]).code == "part_hangs"
        await probe.link.close()

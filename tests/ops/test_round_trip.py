"""The question of doctor to a real publisher at a real broker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.errors import ControlError
from edge_agent.ops.round_trip import OP, RoundTripOps
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import Ack
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.mqtt_probe import Probe
from tests.fakes.refusing_broker import RefusingBroker
from tests.fakes.uplink_terminal import TOPICS, Terminal, link_settings, running_terminal
from tests.fakes.waiting import eventually

# Long where an answer is expected, short where none is.
SURELY_S, IN_VAIN_S = 20.0, 0.05


async def ask(terminal: Terminal, wait_s: float) -> dict[str, object]:
    return await RoundTripOps(lambda: terminal.publisher, terminal.clock, wait_s).ops()[OP]({"op": OP})


async def is_up(terminal: Terminal) -> None:
    await eventually(lambda: terminal.publisher.snapshot().up)


@pytest.mark.system
async def test_it_measures_the_broker_and_the_receiver(require_system: Callable[[str], str], tmp_path: Path) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        cloud = Probe(link_settings(broker.port, client_id="cloud"))
        await cloud.up()
        async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
            await is_up(terminal)
            said = terminal.publisher.ask_for_echo
            ahead = 3600

            def answered() -> bool:
                sent = said()
                at = terminal.clock.read().unix + ahead
                cloud.link.publish(Message(TOPICS.ack, Ack(bytes(8), 0, at=at).encode()))
                return sent

            terminal.publisher.ask_for_echo = answered  # type: ignore[method-assign] # a receiver that answers births
            answer = await ask(terminal, SURELY_S)
            status = terminal.publisher.snapshot().heard
        await cloud.link.close()
    assert answer["up"] is True
    assert isinstance(answer["puback_ms"], float)
    assert isinstance(answer["ack_ms"], float)
    assert isinstance(answer["ahead_s"], list)
    least, most = answer["ahead_s"]
    assert least <= ahead <= most
    assert status.ahead_s is not None
    assert status.puback_at is not None


@pytest.mark.system
async def test_without_a_receiver_only_the_broker_answers(require_system: Callable[[str], str], tmp_path: Path) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
            await is_up(terminal)
            await eventually(lambda: terminal.publisher.snapshot().heard.puback_at)
            answer = await ask(terminal, 1.0)
    assert answer["up"] is True
    assert (answer["ack_ms"], answer["ahead_s"]) == (None, None)


async def test_a_link_that_is_down_is_tried_at_once_and_tells_why_it_failed(tmp_path: Path) -> None:
    poked: list[bool] = []
    async with running_terminal(tmp_path, link_settings(free_port())) as terminal:
        poke = terminal.publisher.poke

        def noted() -> None:
            poked.append(True)
            poke()

        terminal.publisher.poke = noted  # type: ignore[method-assign] # the real one behind a witness
        answer = await ask(terminal, SURELY_S)
    assert poked == [True]
    assert answer["up"] is False
    assert answer["reason"] == "refused"
    assert "refuses connections" in str(answer["text"])
    assert (answer["puback_ms"], answer["ack_ms"]) == (None, None)


async def test_a_broker_that_refuses_our_state_is_told_at_once(tmp_path: Path) -> None:
    async with (
        RefusingBroker(lambda topic, _payload: 0x87 if topic.endswith("/state") else 0) as broker,
        running_terminal(tmp_path, link_settings(broker.port)) as terminal,
    ):
        await is_up(terminal)
        answer = await ask(terminal, SURELY_S)
        assert answer["refusal"] == {"topic": "state", "code": 0x87}
        assert answer["puback_ms"] is None


async def test_a_refusal_is_over_when_the_broker_takes_the_same_again(tmp_path: Path) -> None:
    allowed = False
    async with (
        RefusingBroker(lambda topic, _payload: 0 if allowed or not topic.endswith("/tap") else 0x87) as broker,
        running_terminal(tmp_path, link_settings(broker.port)) as terminal,
    ):
        await is_up(terminal)
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().refusal)
        refusal = terminal.publisher.snapshot().refusal
        assert refusal is not None
        assert (refusal.suffix, refusal.code) == ("evt/tap", 0x87)
        allowed = True
        await eventually(lambda: terminal.publisher.snapshot().refusal is None)


async def test_an_uplink_that_is_not_there_yet_says_so(tmp_path: Path) -> None:
    async with running_terminal(tmp_path, link_settings(free_port())) as terminal:
        with pytest.raises(ControlError, match="starting"):
            await RoundTripOps(lambda: None, terminal.clock, IN_VAIN_S).measure({})

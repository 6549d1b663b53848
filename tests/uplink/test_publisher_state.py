"""The races of will and birth: whatever comes late, twice or from somebody else, the retained state ends true."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest

from edge_agent.uplink.base import DownReason, LinkDown, Received
from edge_agent.uplink.publisher import STATES_AGAIN
from edge_agent.uplink.wire import Alarm, State, StateWord
from tests.fakes.fake_link import FakeBroker, FakeLink
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.uplink_terminal import TOPICS, Terminal, link_settings, running_terminal
from tests.fakes.waiting import eventually

ONLINE, LOST = StateWord.ONLINE, StateWord.LOST
CUT = LinkDown(DownReason.NETWORK, "cut")
STRANGER = "5555555555555555"


class RetainingBroker(FakeBroker):
    """A fake broker that keeps the last state, whoever said it, and lets everybody hear it."""

    def __init__(self) -> None:
        super().__init__()
        self.suback = (1, 1, 1, 1)
        self.acknowledges = True
        self.retained: bytes | None = None
        self.taken = 0

    @property
    def link(self) -> FakeLink:
        return self.links[-1]

    def take(self) -> None:
        """Take what the terminal said since the last time, and echo it."""
        everything = [message for link in self.links for message in link.published if message.topic == TOPICS.state]
        fresh, self.taken = everything[self.taken :], len(everything)
        for message in fresh:
            self.says(message.payload)

    def says(self, payload: bytes) -> None:
        """Somebody published a state: it is retained and delivered live."""
        self.retained = payload
        if not self.link.ended:
            self.link.say(Received(TOPICS.state, payload, qos=1, retain=False, mid=7))


@asynccontextmanager
async def on_a_fake(folder: Path) -> AsyncIterator[tuple[Terminal, RetainingBroker]]:
    broker = RetainingBroker()
    async with running_terminal(folder, link_settings(1), link_factory=broker) as terminal:
        await eventually(lambda: terminal.publisher.snapshot().up)
        yield terminal, broker


def is_up_with(terminal: Terminal, broker: RetainingBroker, links: int) -> bool:
    return len(broker.links) == links and terminal.publisher.snapshot().up


def said(link: FakeLink) -> list[tuple[StateWord, str]]:
    states = [State.decode(message.payload) for message in link.published if message.topic == TOPICS.state]
    return [(state.state, state.session) for state in states]


def will_of(link: FakeLink) -> bytes:
    assert link.settings.will is not None
    return link.settings.will.payload


def birth_of_a_stranger(like: bytes) -> bytes:
    return replace(State.decode(like), state=ONLINE, session=STRANGER).encode()


@pytest.mark.parametrize("order", list(permutations(["old will", "own echo", "own will", "older will"])))
async def test_in_whatever_order_its_own_states_come_the_last_word_is_online(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    async with on_a_fake(tmp_path) as (terminal, broker):
        for number in (2, 3):
            broker.take()
            broker.link.say(CUT)
            await eventually(partial(is_up_with, terminal, broker, number))
        for what in order:
            broker.take()
            match what:
                case "old will":
                    broker.says(will_of(broker.links[1]))
                case "older will":
                    broker.says(will_of(broker.links[0]))
                case "own will":
                    broker.says(will_of(broker.links[2]))
        for _ in range(3):
            broker.take()
        assert broker.retained is not None
        state = State.decode(broker.retained)
        assert (state.state, state.session) == (ONLINE, terminal.presence.session)
        assert len(said(broker.link)) == 4, "the birth, and once for each will"
        assert terminal.publisher.snapshot().identity == ""


async def test_its_own_echo_is_not_answered(tmp_path: Path) -> None:
    async with on_a_fake(tmp_path) as (_, broker):
        for _ in range(5):
            broker.take()
        assert len(said(broker.link)) == 1


async def test_a_broker_that_contradicts_without_end_is_corrected_so_often_and_no_more(tmp_path: Path) -> None:
    async with on_a_fake(tmp_path) as (_, broker):
        for _ in range(50):
            broker.says(will_of(broker.link))
        assert len(said(broker.link)) == 1 + STATES_AGAIN


async def test_a_strangers_birth_is_an_alarm_and_no_shouting_match(tmp_path: Path) -> None:
    async with on_a_fake(tmp_path) as (terminal, broker):
        for _ in range(3):
            broker.says(birth_of_a_stranger(will_of(broker.link)))
        assert len(said(broker.link)) == 1
        alarms = [message for message in broker.link.published if message.topic == TOPICS.evt_alarm]
        assert [Alarm.decode(alarm.payload).code for alarm in alarms] == ["identity_conflict"]
        assert STRANGER in terminal.publisher.snapshot().identity
        assert terminal.connection._session._shared, "it comes back slowly"


async def test_what_the_broker_has_retained_at_the_first_connection_is_the_past(tmp_path: Path) -> None:
    broker = RetainingBroker()
    broker.suback = None
    async with running_terminal(tmp_path, link_settings(1), link_factory=broker) as terminal:
        await eventually(lambda: broker.links and broker.link.subscribed)
        payload = birth_of_a_stranger(will_of(broker.link))
        broker.link.say(Received(TOPICS.state, payload, qos=1, retain=True, mid=1))  # before SUBACK, as some do
        broker.suback = (1, 1, 1, 1)
        broker.link.subscribe(broker.link.subscribed)
        await eventually(lambda: terminal.publisher.snapshot().up)
        assert terminal.publisher.snapshot().identity == ""
        assert terminal.presence.session in str(said(broker.link))


async def test_the_state_that_the_broker_has_is_told(tmp_path: Path) -> None:
    async with on_a_fake(tmp_path) as (terminal, _):
        await eventually(lambda: terminal.onlines == [terminal.presence.session])


async def test_without_the_right_to_hear_itself_it_delivers_all_the_same(tmp_path: Path) -> None:
    broker = RetainingBroker()
    broker.suback = (1, 1, 1, 0x87)
    async with running_terminal(tmp_path, link_settings(1), link_factory=broker) as terminal:
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().acked == 1)
        assert len(broker.links) == 1


@pytest.mark.system
async def test_after_a_half_open_connection_and_a_take_over_by_itself_the_newest_session_is_online(
    broker: Mosquitto, tmp_path: Path
) -> None:
    cloud = Probe(link_settings(broker.port, client_id="cloud"))
    await cloud.up(TOPICS.state)
    async with (
        TcpProxy(broker.port) as half_open,
        TcpProxy(broker.port) as other_way,
        running_terminal(tmp_path, link_settings(half_open.port)) as terminal,
    ):
        await eventually(lambda: [state.state for state in states(cloud)] == [ONLINE])
        first = terminal.presence.session
        terminal.settings = link_settings(other_way.port)
        half_open.hold()  # the broker goes on to believe in the old connection
        terminal.connection.give_up(DownReason.TIMEOUT, "silent")  # we do not
        await eventually(lambda: other_way.accepted and terminal.publisher.snapshot().up)
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().acked == 1)
        await eventually(lambda: [state.state for state in states(cloud)][:3] == [ONLINE, LOST, ONLINE])
        half_open.go_on()
        half_open.cut()
        late = Probe(link_settings(broker.port, client_id="late"))
        await late.up(TOPICS.state)
        await eventually(lambda: states(late))
        assert (states(late)[0].state, states(late)[0].session) == (ONLINE, terminal.presence.session)
        assert [state.session for state in states(cloud)][:2] == [first, first]
        assert terminal.publisher.snapshot().identity == "", "to push out oneself is no conflict"
        await late.link.close()
    await cloud.link.close()


def states(probe: Probe) -> list[State]:
    return [State.decode(payload) for payload in probe.payloads(TOPICS.state)]


@pytest.mark.system
async def test_a_will_that_comes_after_the_birth_is_contradicted(broker: Mosquitto, tmp_path: Path) -> None:
    cloud = Probe(link_settings(broker.port, client_id="cloud"))
    await cloud.up(TOPICS.state)
    async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
        await eventually(lambda: states(cloud))
        birth = states(cloud)[0]
        for session in (birth.session, "0123456789abcdef"):
            late_will = replace(birth, state=LOST, session=session)
            cloud.link.publish(replace(terminal.presence.online(), payload=late_will.encode()))
        await eventually(lambda: len(states(cloud)) == 5)
        assert [state.state for state in states(cloud)].count(ONLINE) == 3
        assert states(cloud)[-1].state is ONLINE
    await cloud.link.close()

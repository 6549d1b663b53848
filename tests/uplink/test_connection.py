"""Connection on a fake link: what it tells its handler, the log and the link."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs

from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.errors import UplinkError
from edge_agent.uplink.base import (
    Acked,
    DownReason,
    LinkDown,
    LinkSettings,
    LinkUp,
    Message,
    Received,
)
from edge_agent.uplink.connection import REMEDIES, Connection
from edge_agent.uplink.session import SessionState
from tests.fakes.fake_link import FakeBroker
from tests.fakes.waiting import eventually

SETTINGS = LinkSettings(host="broker", port=8883, client_id="t-1", connect_timeout_s=30)
LOST = LinkDown(DownReason.NETWORK, "lost")


class Handler:
    """Writes down what it is told; ``on_up_do`` is run in on_up."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.on_up_do: Callable[[], object] = lambda: None

    def on_up(self, up: LinkUp) -> None:
        self.told.append(up)
        self.on_up_do()

    def on_down(self, down: LinkDown) -> None:
        self.told.append(down)

    def on_ack(self, acked: Acked) -> None:
        self.told.append(acked)

    def on_message(self, received: Received) -> None:
        self.told.append(received)


class Bench:
    """A connection with its fake broker and handler."""

    def __init__(self, base: float = 0.001) -> None:
        self.broker = FakeBroker()
        self.handler = Handler()
        self.settings: Callable[[], LinkSettings] = lambda: SETTINGS
        self.connection = Connection(
            self._settings_now,
            subscriptions=["a"],
            handler=self.handler,
            clock=SystemClock(),
            backoff=Backoff(base=base, cap=base),
            link_factory=self.broker,
        )

    def _settings_now(self) -> LinkSettings:
        return self.settings()


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.connection.run())
    try:
        yield bench
        await bench.connection.stop()
    finally:
        await asyncio.wait([task])
    task.result()


@pytest.fixture(autouse=True)
def _debug_logs() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))


async def test_it_comes_back_and_tells_in_order() -> None:
    async with running(Bench()) as bench:
        await eventually(lambda: bench.connection.is_up)
        bench.broker.links[0].say(LOST)
        assert not bench.connection.is_up
        await eventually(lambda: bench.connection.is_up)
        assert [type(told) for told in bench.handler.told] == [LinkUp, LinkDown, LinkUp]
        assert [link.subscribed for link in bench.broker.links] == [("a",), ("a",)]
    assert isinstance(bench.handler.told[-1], LinkDown)
    assert bench.broker.links[-1].sent_will is False


async def test_the_log_warns_once_with_the_remedy_and_then_counts() -> None:
    bench = Bench()
    bench.broker.at_start = [LinkDown(DownReason.TLS, "wrong certificate")]
    with capture_logs() as logs:
        async with running(bench):
            await eventually(lambda: len(bench.broker.links) >= 4)
            bench.broker.at_start = [LinkUp(session_present=False, receive_maximum=20)]
            await eventually(lambda: bench.connection.is_up)
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [(entry["event"], entry["reason"], entry["text"]) for entry in warnings] == [
        ("uplink_down", "tls", "wrong certificate")
    ]
    assert "clock" in warnings[0]["remedy"]
    repeats = [entry["failures"] for entry in logs if entry["event"] == "uplink_still_down"]
    assert repeats[:2] == [2, 3]
    assert all(entry["log_level"] == "debug" for entry in logs if entry["event"] == "uplink_still_down")
    assert logs[-1]["event"] == "uplink_up"
    assert logs[-1]["log_level"] == "info"


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(DownReason)


async def test_a_poke_ends_the_waiting() -> None:
    bench = Bench(base=3000)
    bench.broker.at_start = [LinkDown(DownReason.AUTH, "no")]
    async with running(bench):
        await eventually(lambda: bench.connection.state is SessionState.WAITING)
        bench.broker.at_start = [LinkUp(session_present=False, receive_maximum=20)]
        bench.connection.poke()
        await eventually(lambda: bench.connection.is_up)
        assert len(bench.broker.links) == 2


async def test_a_link_that_never_answers_is_closed_in_time() -> None:
    bench = Bench()
    bench.broker.at_start = []
    bench.settings = lambda: LinkSettings(host="broker", port=1, client_id="t-1", connect_timeout_s=0.01)
    async with running(bench):
        await eventually(lambda: len(bench.broker.links) >= 2)
        assert bench.broker.links[0].sent_will is True
        assert bench.handler.told == []


async def test_settings_that_cannot_be_read_are_a_failed_attempt() -> None:
    bench = Bench(base=3000)

    def fail() -> LinkSettings:
        raise FileNotFoundError(2, "No such file", "password")

    bench.settings = fail
    with capture_logs() as logs:
        async with running(bench):
            await eventually(lambda: bench.connection.state is SessionState.WAITING)
            bench.settings = lambda: SETTINGS
            bench.connection.poke()
            await eventually(lambda: bench.connection.is_up)
    assert "password" in logs[0]["text"]


async def test_a_machine_without_a_thread_or_descriptor_left_is_a_failed_attempt() -> None:
    bench = Bench()
    bench.broker.start_fails = UplinkError("can't start new thread")
    with capture_logs() as logs:
        async with running(bench):
            await eventually(lambda: len(bench.broker.links) >= 3)
            bench.broker.start_fails = None
            await eventually(lambda: bench.connection.is_up)
    assert "can't start new thread" in logs[0]["text"]


async def test_nothing_is_published_when_down() -> None:
    bench = Bench()
    with pytest.raises(UplinkError):
        bench.connection.publish(Message("a", b""))
    async with running(bench):
        await eventually(lambda: bench.connection.is_up)
        assert bench.connection.publish(Message("a", b"")) == 1
    with pytest.raises(UplinkError):
        bench.connection.publish(Message("a", b""))


async def test_the_handler_may_publish_and_give_up_inside_on_up() -> None:
    bench = Bench()

    def give_up_once() -> None:
        bench.connection.publish(Message("state", b""))
        if len(bench.broker.links) == 1:
            bench.connection.give_up(DownReason.TIMEOUT, "swallows")

    bench.handler.on_up_do = give_up_once
    async with running(bench):
        await eventually(lambda: len(bench.broker.links) == 2 and bench.connection.is_up)
        assert [type(told) for told in bench.handler.told] == [LinkUp, LinkDown, LinkUp]
        assert bench.handler.told[1] == LinkDown(DownReason.TIMEOUT, "swallows")


async def test_what_happens_inside_a_handler_is_dealt_with_in_order() -> None:
    bench = Bench(base=3000)

    def two_at_once() -> None:
        bench.connection.give_up(DownReason.TIMEOUT, "first")
        bench.connection.give_up(DownReason.BROKER, "second")

    bench.handler.on_up_do = two_at_once
    async with running(bench):
        await eventually(lambda: len(bench.handler.told) == 2)
        assert bench.handler.told[1] == LinkDown(DownReason.TIMEOUT, "first")


async def test_a_late_ack_never_reaches_another_connection() -> None:
    bench = Bench()
    bench.settings = lambda: replace(SETTINGS, manual_ack=True)
    async with running(bench):
        await eventually(lambda: bench.connection.is_up)
        before = Received("a", b"1", qos=1, mid=1)
        bench.broker.links[0].say(before)
        bench.broker.links[0].say(LOST)
        await eventually(lambda: bench.connection.is_up)
        after = Received("a", b"1", qos=1, mid=1)
        bench.broker.links[1].say(after)
        bench.connection.ack(before)
        assert bench.broker.links[1].acknowledged == []
        bench.connection.ack(after)
        bench.connection.ack(after)
        assert bench.broker.links[1].acknowledged == [after]


async def test_events_of_a_link_that_is_history_are_ignored() -> None:
    bench = Bench()
    async with running(bench):
        await eventually(lambda: bench.connection.is_up)
        bench.broker.links[0].say(LOST)
        await eventually(lambda: bench.connection.is_up)
        told = list(bench.handler.told)
        for event in (Acked(1, 0), Received("a", b""), LinkUp(session_present=False, receive_maximum=1)):
            bench.broker.links[0].say(event)
        assert bench.handler.told == told


@pytest.mark.parametrize("heard", [True, False])
async def test_the_will_stands_in_for_a_last_word_that_nobody_heard(heard: bool) -> None:
    bench = Bench()
    bench.broker.acknowledges = heard
    task = asyncio.create_task(bench.connection.run())
    await eventually(lambda: bench.connection.is_up)
    await bench.connection.stop(Message("state", b"stopped"))
    await task
    assert [message.payload for message in bench.broker.links[0].published] == [b"stopped"]
    assert bench.broker.links[0].sent_will is not heard


async def test_an_error_of_the_handler_ends_run_with_it_and_leaves_no_link() -> None:
    bench = Bench()

    def fail() -> None:
        raise ZeroDivisionError

    bench.handler.on_up_do = fail
    with pytest.raises(ZeroDivisionError):
        await bench.connection.run()
    assert [(link.ended, link.sent_will) for link in bench.broker.links] == [(True, True)]


async def test_stopping_before_or_without_a_connection() -> None:
    bench = Bench()
    await bench.connection.stop(Message("state", b""))
    await bench.connection.run()
    assert bench.broker.links == []


async def test_cancelling_leaves_no_timer_that_connects_again() -> None:
    bench = Bench()
    task = asyncio.create_task(bench.connection.run())
    await eventually(lambda: bench.connection.is_up)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.02)
    assert [(link.ended, link.sent_will) for link in bench.broker.links] == [(True, True)]
    assert bench.connection.state is SessionState.STOPPED


async def test_what_nobody_will_acknowledge_is_not_kept() -> None:
    bench = Bench()
    async with running(bench):
        await eventually(lambda: bench.connection.is_up)
        for mid in range(1, 1000):
            bench.broker.links[0].say(Received("a", b"1", qos=1, mid=mid))
        assert len(bench.handler.told) == 1000
        assert not bench.connection._unacknowledged, "the library acknowledges by itself"


@pytest.mark.parametrize("attempt", [1, 2])
async def test_an_error_of_our_own_in_an_attempt_ends_run_with_it_and_is_no_silence_for_ever(attempt: int) -> None:
    bench = Bench()
    bench.broker.at_start = [LOST]

    def fail() -> LinkSettings:
        if len(bench.broker.links) + 1 < attempt:
            return SETTINGS
        raise ZeroDivisionError

    bench.settings = fail
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await bench.connection.run()
    assert bench.connection.state is SessionState.STOPPED

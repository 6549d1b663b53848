"""Story 12: cloned SD card, two terminals with one identity kick each other. Both notice, slow down and say so.

A broker may end the first connection without a word, so that it looks like a bad network; a bad network alone must
never be called a clone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.uplink.session import SHARED_FLOOR_S, SessionState
from edge_agent.uplink.wire import Alarm
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.uplink_terminal import TOPICS, Terminal, link_settings, running_terminal
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system


@contextmanager
def a_broker(kind: str, require_system: Callable[[str], str], folder: Path) -> Iterator[int]:
    if kind == "mosquitto":
        with Mosquitto(require_system("mosquitto"), folder) as mosquitto:
            yield mosquitto.port
    else:
        with EmbeddedBroker() as embedded:
            yield embedded.port


@asynccontextmanager
async def watching(port: int) -> AsyncIterator[Probe]:
    """Somebody in the cloud who hears the alarms."""
    probe = Probe(link_settings(port, client_id="cloud", host="127.0.0.1"))
    await probe.up("tap/v1/+/+/evt/alarm")
    try:
        yield probe
    finally:
        await probe.link.close()


def alarms(probe: Probe) -> list[str]:
    return [Alarm.decode(payload).code for payload in probe.payloads(TOPICS.evt_alarm)]


def waits_long(terminal: Terminal) -> bool:
    connection = terminal.connection
    timer = connection._timer
    return (
        connection.state is SessionState.WAITING
        and timer is not None
        and timer.when() - asyncio.get_running_loop().time() > SHARED_FLOOR_S / 2
    )


def came_back(proxy: TcpProxy, before: int) -> bool:
    return proxy.accepted > before


@pytest.mark.parametrize("kind", ["mosquitto", "iotcore"])
async def test_two_terminals_with_one_identity_notice_each_other(
    kind: str, require_system: Callable[[str], str], tmp_path: Path
) -> None:
    with a_broker(kind, require_system, tmp_path) as port:
        async with AsyncExitStack() as stack:
            cloud = await stack.enter_async_context(watching(port))
            settings = link_settings(port, host="127.0.0.1")
            twins = [
                await stack.enter_async_context(running_terminal(tmp_path, settings, name=name))
                for name in ("original", "clone")
            ]
            await eventually(lambda: "identity_conflict" in alarms(cloud))
            await eventually(lambda: any(waits_long(twin) for twin in twins))
            named = [twin.publisher.snapshot().identity for twin in twins]
            assert any("another terminal uses our identity" in text for text in named), named
            # While one waits the other is alone with the broker, and its taps arrive.
            (served,) = [twin for twin in twins if not waits_long(twin)]
            await served.tap()
            await eventually(lambda: served.publisher.snapshot().acked == 1)


async def test_a_lone_terminal_on_a_flapping_network_is_no_clone(
    require_system: Callable[[str], str], tmp_path: Path
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path) as broker:
        async with (
            watching(broker.port) as cloud,
            TcpProxy(broker.port) as proxy,
            running_terminal(tmp_path, link_settings(proxy.port, host="127.0.0.1")) as terminal,
        ):
            for _ in range(12):
                await eventually(lambda: terminal.publisher.snapshot().up)
                before = proxy.accepted
                proxy.cut()
                await eventually(partial(came_back, proxy, before))
            await eventually(lambda: terminal.publisher.snapshot().up)
            assert "another terminal uses" not in terminal.publisher.snapshot().identity
            assert "a bad network, or another terminal" in terminal.publisher.snapshot().identity
            await terminal.tap()
            await eventually(lambda: terminal.publisher.snapshot().acked == 1)
            assert alarms(cloud) == []

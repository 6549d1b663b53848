import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.errors import UplinkError
from edge_agent.uplink.base import Acked, LinkDown, LinkEvent, LinkSettings, LinkUp, Message, Received, Subscribed
from edge_agent.uplink.paho_link import PahoLink
from tests.fakes.waiting import eventually


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


class Client:
    """One PahoLink and all its events."""

    def __init__(self, broker: EmbeddedBroker, client_id: str, **options: object) -> None:
        self.events: list[LinkEvent] = []
        settings = LinkSettings(broker.host, broker.port, client_id, **options)  # type: ignore[arg-type]  # by the tests
        self.link = PahoLink(settings, self.events.append)

    @property
    def received(self) -> list[Received]:
        return [event for event in self.events if isinstance(event, Received)]

    @property
    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.received]

    def has(self, kind: type[LinkEvent]) -> bool:
        return any(isinstance(event, kind) for event in self.events)

    async def up(self, *filters: str) -> "Client":
        self.link.start()
        await eventually(lambda: self.has(LinkUp))
        if filters:
            self.link.subscribe(filters)
            await eventually(lambda: self.has(Subscribed))
        return self

    async def publish(self, message: Message) -> None:
        mid = self.link.publish(message)
        await eventually(lambda: any(isinstance(event, Acked) and event.mid == mid for event in self.events))


async def test_qos_1_goes_through_and_is_acknowledged(broker: EmbeddedBroker) -> None:
    reader = await Client(broker, "qos1-reader").up("qos1/+")
    writer = await Client(broker, "qos1-writer").up()
    payload = bytes(16 * 1024)
    await writer.publish(Message("qos1/a", payload))
    await eventually(lambda: reader.payloads == [payload])
    await writer.link.close()
    await reader.link.close()


async def test_retained_messages_reach_who_comes_later(broker: EmbeddedBroker) -> None:
    writer = await Client(broker, "retain-writer").up()
    await writer.publish(Message("retain/state", b"online", retain=True))
    reader = await Client(broker, "retain-reader").up("retain/+")
    await eventually(lambda: reader.payloads == [b"online"])
    assert reader.received[0].retain
    await writer.link.close()
    await reader.link.close()


async def test_the_will_speaks_for_who_is_lost(broker: EmbeddedBroker) -> None:
    reader = await Client(broker, "will-reader").up("will/+")
    lost = await Client(broker, "will-writer", will=Message("will/state", b"lost", retain=True)).up()
    await lost.link.close(send_will=True)
    await eventually(lambda: reader.payloads == [b"lost"])
    await reader.link.close()


async def test_two_share_names_of_two_filters_lose_nothing(broker: EmbeddedBroker) -> None:
    # rumqttd keeps one round robin for each share name: one name for two filters would lose half.
    readers = [
        await Client(broker, f"share-{n}").up("$share/ledger-tap/share/+/tap", "$share/ledger-batch/share/+/batch")
        for n in range(2)
    ]
    writer = await Client(broker, "share-writer").up()
    sent = []
    for n in range(10):
        for kind in ("tap", "batch"):
            sent.append(b"%s %d" % (kind.encode(), n))
            await writer.publish(Message(f"share/t/{kind}", sent[-1]))
    await eventually(lambda: sum(len(reader.payloads) for reader in readers) == len(sent))
    assert sorted(readers[0].payloads + readers[1].payloads) == sorted(sent)
    for client in (*readers, writer):
        await client.link.close()


async def test_what_was_not_acknowledged_comes_again_to_a_resumed_session(broker: EmbeddedBroker) -> None:
    options = {"manual_ack": True, "session_expiry_s": 60}
    first = await Client(broker, "manual", **options).up("manual/+")
    writer = await Client(broker, "manual-writer").up()
    for n in range(3):
        await writer.publish(Message("manual/a", b"%d" % n))
    await eventually(lambda: len(first.payloads) == 3)
    first.link.ack(first.received[0])
    await asyncio.sleep(0.1)
    await first.link.close(send_will=True)
    again = await Client(broker, "manual", **options).up()
    await eventually(lambda: again.payloads == [b"1", b"2"])
    await again.link.close()
    await writer.link.close()


async def test_an_expired_message_is_not_delivered(broker: EmbeddedBroker) -> None:
    options = {"session_expiry_s": 60}
    away = await Client(broker, "expiry", **options).up("expiry/+")
    await away.link.close()
    writer = await Client(broker, "expiry-writer").up()
    await writer.publish(Message("expiry/a", b"void", expiry_s=1))
    await writer.publish(Message("expiry/a", b"valid", expiry_s=300))
    await asyncio.sleep(1.5)
    back = await Client(broker, "expiry", **options).up()
    await eventually(lambda: back.payloads)
    assert back.payloads == [b"valid"]
    await back.link.close()
    await writer.link.close()


async def test_a_clean_end_is_told_once(broker: EmbeddedBroker) -> None:
    client = await Client(broker, "end").up()
    await client.link.close()
    assert [type(event) for event in client.events].count(LinkDown) == 1


def test_it_stops_promptly_and_frees_its_port() -> None:
    broker = EmbeddedBroker()
    assert not broker.is_running
    with broker:
        assert broker.is_running
        with socket.create_connection((broker.host, broker.port), timeout=5):
            pass
        started = time.monotonic()
    assert time.monotonic() - started < 20
    assert not broker.is_running
    with pytest.raises(OSError), socket.create_connection((broker.host, broker.port), timeout=5):  # noqa: PT011 (any)
        pass
    broker.stop()


def test_it_prints_nothing_and_survives_an_interrupt() -> None:
    script = """
import os, signal, socket, time
from edge_agent.cloud.broker import EmbeddedBroker
signal.signal(signal.SIGINT, lambda *_: None)
with EmbeddedBroker() as broker:
    os.killpg(os.getpgrp(), signal.SIGINT)
    time.sleep(0.3)
    assert broker.is_running
    socket.create_connection((broker.host, broker.port), timeout=5).close()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, start_new_session=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "iotcore", None)
    with pytest.raises(UplinkError, match=r"edge-agent\[cloud\]"):
        EmbeddedBroker().start()


def test_a_port_that_was_taken_meanwhile_is_no_reason_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]])
        choose = sys.modules["edge_agent.cloud.broker"]._free_port
        monkeypatch.setattr("edge_agent.cloud.broker._free_port", lambda: next(ports, None) or choose())
        with EmbeddedBroker() as broker:
            assert broker.port != taken.getsockname()[1]

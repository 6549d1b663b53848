"""What proves that nothing is missing: checkpoints, gap records, and rows sent again because somebody asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.outbox.base import Bounds, OutboxStats
from edge_agent.outbox.store import StoreSettings
from edge_agent.uplink.base import Acked, DownReason, LinkDown, Message, Received
from edge_agent.uplink.checkpoints import EVERY_TAPS
from edge_agent.uplink.publisher import PublisherSettings
from edge_agent.uplink.resend import ResendArgs
from edge_agent.uplink.wire import Ack, Command, Response, ResponseStatus, decode_batch
from tests.fakes.fake_link import FakeBroker
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.mqtt_probe import Probe
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.uplink_terminal import TOPICS, Terminal, fake_checkpoint, link_settings, running_terminal, seq_of
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

SMALL = StoreSettings(close_s=CLOSE_S, keep_newest=0, bounds=Bounds(max_rows=100))


@asynccontextmanager
async def the_cloud(port: int) -> AsyncIterator[Probe]:
    probe = Probe(link_settings(port, client_id="cloud"))
    await probe.up("tap/#")
    try:
        yield probe
    finally:
        await probe.link.close()


def seqs(probe: Probe) -> list[int]:
    found: list[int] = []
    for received in probe.of(Received):
        if received.topic == TOPICS.evt_tap:
            found.append(seq_of(received.payload))
        elif received.topic == TOPICS.evt_batch:
            found.extend(seq_of(token) for token in decode_batch(received.payload))
    return found


def sworn(probe: Probe) -> list[int]:
    """The seq of each checkpoint that arrived."""
    return [int.from_bytes(payload[11:19], "big") for payload in probe.payloads(TOPICS.evt_chk)]


def topics(probe: Probe) -> list[str]:
    return [received.topic for received in probe.of(Received)]


async def up(terminal: Terminal) -> None:
    await eventually(lambda: terminal.publisher.snapshot().up)


@pytest.mark.usefixtures("heard_to_the_end")
async def test_the_end_of_the_chain_is_sworn_to_when_it_is_news(broker: Mosquitto, tmp_path: Path) -> None:
    async with the_cloud(broker.port) as cloud, TcpProxy(broker.port) as proxy:
        async with running_terminal(tmp_path, link_settings(proxy.port)) as terminal:
            await up(terminal)
            await terminal.taps(1)
            await eventually(lambda: sworn(cloud) == [1])
            await terminal.taps(EVERY_TAPS - 1)
            await eventually(lambda: len(seqs(cloud)) == EVERY_TAPS)
            assert sworn(cloud) == [1]
            await terminal.taps(1)
            await eventually(lambda: sworn(cloud) == [1, EVERY_TAPS + 1])
            await eventually(lambda: terminal.publisher.snapshot().in_flight == 0)  # else it says it again
            proxy.cut()
            await eventually(lambda: len(sworn(cloud)) == 3)
            await terminal.taps(2)
            head = terminal.outbox.head()
        await eventually(lambda: "stopped" in str(cloud.payloads(TOPICS.state)[-1]))
        assert sworn(cloud) == [1, EVERY_TAPS + 1, EVERY_TAPS + 1, EVERY_TAPS + 3]
        assert cloud.payloads(TOPICS.evt_chk)[-1] == fake_checkpoint(head)
        assert topics(cloud)[-2:] == [TOPICS.evt_chk, TOPICS.state], "sworn to before it said stopped"
        content = {received.topic for received in cloud.of(Received)}
        assert TOPICS.evt_gap not in content


@pytest.mark.usefixtures("heard_to_the_end")
async def test_without_news_nothing_is_sworn_to(broker: Mosquitto, tmp_path: Path) -> None:
    async with the_cloud(broker.port) as cloud:
        async with running_terminal(tmp_path, link_settings(broker.port)) as terminal:
            await up(terminal)
        await eventually(lambda: len(cloud.payloads(TOPICS.state)) == 2)
        assert sworn(cloud) == []


async def test_of_the_checkpoints_that_wait_only_the_newest_is_sent(broker: Mosquitto, tmp_path: Path) -> None:
    async with (
        the_cloud(broker.port) as cloud,
        running_terminal(tmp_path, link_settings(broker.port), PublisherSettings(max_in_flight=1)) as terminal,
    ):
        await up(terminal)
        await terminal.tap()
        await eventually(lambda: terminal.publisher.snapshot().in_flight == 0)
        broker.pause()
        await terminal.taps(5 * EVERY_TAPS)
        waiting = [message for message in terminal.publisher._sender._control if message.topic == TOPICS.evt_chk]
        assert len(waiting) == 1
        broker.resume()
        await eventually(lambda: 5 * EVERY_TAPS + 1 in sworn(cloud))
        assert len(sworn(cloud)) <= 3


def _evicted(stats: OutboxStats) -> bool:
    """Whether it has done all of it: what is given up leaves before its gap record is there."""
    return stats.pending <= 100 and stats.pending + stats.evicted == 300


@asynccontextmanager
async def with_a_gap(port: int, folder: Path) -> AsyncIterator[tuple[Terminal, TcpProxy]]:
    """A terminal whose outbox was too small for the time without a network: that ends with ``refuse = False``."""
    async with TcpProxy(port) as proxy:
        proxy.refuse = True
        async with running_terminal(folder, link_settings(proxy.port), backlog=300, storing=SMALL) as terminal:
            async with asyncio.timeout(30):
                while not _evicted(await terminal.outbox.stats()):  # noqa: ASYNC110 - the outbox tells nobody
                    await asyncio.sleep(0.01)
            while (look := terminal.outbox._upkeep._look_task) is not None and not look.done():
                await look  # it may give up more, in the same record
            yield terminal, proxy


async def test_gap_records_come_after_the_state_and_before_the_backlog(broker: Mosquitto, tmp_path: Path) -> None:
    async with the_cloud(broker.port) as cloud, with_a_gap(broker.port, tmp_path) as (terminal, proxy):
        gaps = terminal.outbox.gaps_to_send()
        pending = (await terminal.outbox.stats()).pending
        proxy.refuse = False
        await eventually(lambda: len(seqs(cloud)) == pending)
        assert cloud.payloads(TOPICS.evt_gap) == [gap.token for gap in gaps] != []
        assert topics(cloud)[0] == TOPICS.state
        assert topics(cloud).index(TOPICS.evt_gap) < topics(cloud).index(TOPICS.evt_batch)
        await eventually(lambda: terminal.outbox.gaps_to_send() == [])
        assert (await terminal.outbox.stats()).gaps == len(gaps), "kept until an ack covers them"
        head = terminal.outbox.head()
        cloud.link.publish(Message(TOPICS.ack, Ack(head.chain, head.seq).encode()))
        await eventually(lambda: terminal.stored)
        assert (await terminal.outbox.stats()).gaps == 0


async def test_a_gap_record_without_an_ack_is_sent_again_over_the_next_connection(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async with the_cloud(broker.port) as cloud, with_a_gap(broker.port, tmp_path) as (terminal, proxy):
        before = [gap.token for gap in terminal.outbox.gaps_to_send()]
        assert before
        proxy.refuse = False
        await eventually(lambda: set(before) <= set(cloud.payloads(TOPICS.evt_gap)))
        await eventually(lambda: terminal.outbox.gaps_to_send() == [])  # their PUBACKs came
        sent = len(cloud.payloads(TOPICS.evt_gap))
        proxy.cut()
        await eventually(lambda: set(before) <= set(cloud.payloads(TOPICS.evt_gap)[sent:]))


@pytest.mark.parametrize("code", [None, 0x99])
async def test_a_gap_record_that_was_lost_or_refused_comes_again_with_the_next_connection_only(
    tmp_path: Path, code: int | None
) -> None:
    broker = FakeBroker()
    broker.suback = (1, 1, 1, 1)

    def mids() -> list[list[int]]:
        published = [enumerate(link.published, 1) for link in broker.links]
        return [[mid for mid, message in link if message.topic == TOPICS.evt_gap] for link in published]

    settings = link_settings(1)
    async with running_terminal(tmp_path, settings, backlog=300, link_factory=broker, storing=SMALL) as terminal:
        await eventually(lambda: any(mids()))
        if code is not None:
            broker.links[0].say(Acked(mids()[0][0], code))
            terminal.publisher._sender.wake()
            await terminal.tap()
            sent = [broker.links[0].published[mid - 1].payload for mid in mids()[0]]
            assert len(sent) == len(set(sent)), "it does not spin"
        before = broker.links[0].published[mids()[0][0] - 1].payload
        broker.links[0].say(LinkDown(DownReason.NETWORK, "cut"))
        await eventually(lambda: len(mids()) == 2 and mids()[1])
        again = broker.links[1].published[mids()[1][0] - 1].payload
        assert again.startswith(before[:15])


async def test_rows_come_again_when_somebody_asks_and_the_answer_counts_them(broker: Mosquitto, tmp_path: Path) -> None:
    storing = StoreSettings(close_s=CLOSE_S, keep_sent_s=3600.0)
    async with (
        the_cloud(broker.port) as cloud,
        running_terminal(
            tmp_path, link_settings(broker.port), PublisherSettings("broker"), storing=storing
        ) as terminal,
    ):
        await up(terminal)
        await terminal.taps(20)
        await eventually(lambda: terminal.publisher.snapshot().acked == 20)
        exp = terminal.clock.read().unix + 60
        args = ResendArgs(terminal.outbox.head().chain, 5, 30).encode()
        for id_, wanted in (("1", args), ("1", args), ("2", args | {"from": 0}), ("3", args | {"chain": "00" * 8})):
            cloud.link.publish(Message(TOPICS.cmd("resend"), Command("resend", id_, exp, wanted).encode()))
        await eventually(lambda: len(seqs(cloud)) == 36)
        assert sorted(seqs(cloud)) == sorted([*range(1, 21), *range(5, 21)])
        await eventually(lambda: len(cloud.payloads(TOPICS.res("resend"))) == 3)
        answers = [Response.decode(payload) for payload in cloud.payloads(TOPICS.res("resend"))]
        assert [(answer.id, answer.status, answer.code) for answer in answers] == [
            ("1", ResponseStatus.DONE, "ok"),
            ("2", ResponseStatus.REFUSED, "bad_args"),
            ("3", ResponseStatus.DONE, "ok"),
        ]
        assert answers[0].detail == "16 again, 0 pending, 10 gone"
        assert answers[2].detail == "0 again, 0 pending, 26 gone"


@pytest.mark.parametrize("session_expiry_s", [0, 3600])
async def test_a_session_that_the_broker_kept_makes_no_difference(
    broker: Mosquitto, tmp_path: Path, session_expiry_s: int
) -> None:
    with capture_logs() as logs:
        async with (
            the_cloud(broker.port) as cloud,
            TcpProxy(broker.port) as proxy,
            running_terminal(tmp_path, link_settings(proxy.port, session_expiry_s=session_expiry_s)) as terminal,
        ):
            for swallowed in (0, 20, 0):
                await up(terminal)
                await terminal.taps(20)
                before = proxy.accepted
                proxy.hold()
                await terminal.taps(swallowed)
                proxy.cut()
                proxy.go_on()
                await eventually(partial(came_back, proxy, before))
            await eventually(lambda: terminal.publisher.snapshot().acked == 80)
            stats = await terminal.outbox.stats()
            assert (stats.sent, stats.pending, stats.leased) == (80, 0, 0)
            confirmed = [seq for first, last in terminal.sent for seq in range(first, last + 1)]
            assert sorted(confirmed) == list(range(1, 81)), "each row has one PUBACK that counts"
            assert set(seqs(cloud)) == set(range(1, 81))
            assert (
                terminal.publisher.snapshot().identity == ""
                or "a bad network" in terminal.publisher.snapshot().identity
            )
    present = [entry["session_present"] for entry in logs if entry["event"] == "uplink_up"]
    assert present == [False] + [session_expiry_s > 0] * 3


def came_back(proxy: TcpProxy, before: int) -> bool:
    return proxy.accepted > before

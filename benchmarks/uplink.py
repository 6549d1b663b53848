"""The uplink over TLS into mosquitto: drain of a backlog beside a tuned mosquitto bridge, live taps meanwhile, PUBACK
round trip against bare paho.

Needs mosquitto. The tokens are stand-ins of 240 bytes: signing is measured elsewhere. The bridge has the same number of
messages of that size waiting. Both drain to a subscriber that hears everything, in turns; and once more without any.
"""

import asyncio
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt

from benchmarks import bridge
from benchmarks.arrivals import counting
from benchmarks.figures import Figure
from edge_agent.clock import SystemClock
from edge_agent.models import ChainPosition
from edge_agent.outbox.store import OutboxStore
from edge_agent.uplink.base import LinkSettings, Message, TlsSettings
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.tls import client_context
from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.uplink_terminal import Terminal, fake_codec, fake_token, link_settings, running_terminal
from tests.fakes.waiting import eventually
from tests.system_parts import PARTS

BACKLOG = 50_000
LIVE_EVERY_S = 0.02
ROUND_TRIPS = 300
ROUNDS = 3
TOKEN_BYTES = len(fake_token(ChainPosition(bytes(8), 1)))
LOAD = bridge.Load(BACKLOG, TOKEN_BYTES)
RATE_BOUND = 60_000


def run() -> list[Figure]:
    """Measure; an empty list where there is no mosquitto."""
    binary = PARTS["mosquitto"].find()
    if binary is None:
        print(f"  skipped, no mosquitto: {PARTS['mosquitto'].how_to}")
        return []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates = make_certificates(folder / "certificates")
        tls = TlsSettings(ca=certificates.ca)
        beside = asyncio.run(_beside_bridge(binary, folder, certificates))
        with Mosquitto(binary, folder, tls=certificates, quiet=True) as broker:
            settings = link_settings(broker.port, tls=tls)
            alone = asyncio.run(_drain(folder, settings, live=True))
            ours = asyncio.run(_round_trips(folder, settings))
            link = asyncio.run(_link_round_trips(settings))
            bare = _bare_round_trips(settings, tls)
        unheard = bridge.seconds_to_broker(binary, folder, certificates, LOAD)
    to_broker = alone.rate * unheard / BACKLOG
    middle = statistics.median(alone.live_ms)
    return [
        *beside,
        Figure("drain without a subscriber, with live taps", alone.rate, "tokens/s"),
        Figure("  ... against the tuned bridge without a subscriber", to_broker, "x"),
        Figure("live taps meanwhile, commit to PUBACK, median", middle, "ms", "< 50", ok=middle < 50),
        Figure("live taps meanwhile, slowest", max(alone.live_ms), "ms"),
        Figure("live taps meanwhile", len(alone.live_ms), "taps"),
        Figure("idle uplink, commit to PUBACK, median", ours, "ms"),
        Figure("link alone, publish to PUBACK, median", link, "ms"),
        Figure("bare paho, publish to PUBACK, median", bare, "ms"),
        Figure("link against bare paho", link / bare, "ratio"),
    ]


@dataclass(frozen=True, slots=True)
class _Drained:
    """From the moment the link was up to the last PUBACK; what live taps needed meanwhile; rows found sent on disk."""

    rate: float
    live_ms: list[float]
    on_disk: int


async def _beside_bridge(binary: str, folder: Path, certificates: Certificates) -> list[Figure]:
    """In turns, both to a subscriber that hears all; the medians of both and of their ratios."""
    ours: list[float] = []
    theirs: list[float] = []
    on_disk = 0
    for number in range(ROUNDS):
        theirs.append(bridge.seconds_to_subscriber(binary, folder, certificates, LOAD))
        cloud = bridge.cloud_broker(binary, folder, certificates)
        with cloud.broker, counting(cloud.plain_port, "tap/v1/+/+/evt/batch", LOAD.payload_bytes) as arrivals:
            settings = link_settings(cloud.broker.port, tls=TlsSettings(ca=certificates.ca))
            drained = await _drain(folder, settings, name=f"drain-{number}")
            ours.append(arrivals.seconds())
        on_disk += drained.on_disk
    rate, bridged = BACKLOG / statistics.median(ours), BACKLOG / statistics.median(theirs)
    ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
    all_rows = ROUNDS * BACKLOG
    return [
        Figure(f"drain of {BACKLOG:,} tokens", rate, "tokens/s", f">= {RATE_BOUND:,}", ok=rate >= RATE_BOUND),
        Figure(f"tuned mosquitto bridge, {BACKLOG:,} messages", bridged, "messages/s"),
        Figure("drain against the tuned bridge", ratio, "x", "> 1", ok=ratio > 1),
        Figure("rows confirmed on disk afterwards", on_disk, "rows", f"= {all_rows:,}", ok=on_disk == all_rows),
    ]


async def _drain(folder: Path, settings: LinkSettings, *, name: str = "drain", live: bool = False) -> _Drained:
    async with running_terminal(folder, settings, name=name, backlog=BACKLOG) as terminal:
        await eventually(lambda: terminal.publisher.snapshot().up)
        up_since = terminal.publisher.snapshot().since
        tapping = asyncio.create_task(_tap_for_ever(terminal)) if live else None
        await eventually(lambda: _rows_acked(terminal) >= BACKLOG, deadline_s=300)
        if tapping is not None:
            tapping.cancel()
            await asyncio.wait([tapping])
        drained_at = max(terminal.acked_at[seq] for seq in range(1, BACKLOG + 1))
        latencies = _latencies_ms(terminal, after=BACKLOG)
    store = OutboxStore(folder / f"{name}.db", fake_codec(), clock=SystemClock(assume_synced=True))
    stats = await store.open()
    await store.close()
    return _Drained(BACKLOG / (drained_at - up_since), latencies, stats.sent)


def _rows_acked(terminal: Terminal) -> int:
    """Rows of the backlog, without the live ones."""
    return sum(last - first + 1 for first, last in terminal.sent if last <= BACKLOG)


async def _tap_for_ever(terminal: Terminal) -> None:
    while True:
        await terminal.tap()
        await asyncio.sleep(LIVE_EVERY_S)


async def _round_trips(folder: Path, settings: LinkSettings) -> float:
    async with running_terminal(folder, settings, name="idle") as terminal:
        await eventually(lambda: terminal.publisher.snapshot().up)
        for _ in range(ROUND_TRIPS):
            terminal.heard.clear()
            await terminal.tap()
            await terminal.heard.wait()
        return statistics.median(_latencies_ms(terminal, after=0))


def _latencies_ms(terminal: Terminal, *, after: int) -> list[float]:
    """From the commit to the PUBACK of each tap above seq ``after`` that has both."""
    return [
        1000 * (terminal.acked_at[seq] - committed)
        for seq, committed in terminal.committed_at.items()
        if seq > after and seq in terminal.acked_at
    ]


async def _link_round_trips(settings: LinkSettings) -> float:
    """Back on the event loop, as everything that uses a link gets it."""
    acknowledged = asyncio.Event()
    link = PahoLink(settings, lambda _: acknowledged.set())
    link.start()
    await acknowledged.wait()
    message = Message("bare/evt/tap", fake_token(ChainPosition(bytes(8), 1)), content_type="application/cwt")
    spent = []
    for _ in range(ROUND_TRIPS):
        acknowledged.clear()
        start = time.perf_counter()
        link.publish(message)
        await acknowledged.wait()
        spent.append(1000 * (time.perf_counter() - start))
    await link.close()
    return statistics.median(spent)


def _bare_round_trips(settings: LinkSettings, tls: TlsSettings) -> float:
    """The same messages by paho alone, one after the other."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.tls_set_context(client_context(tls))
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect(settings.host, settings.port)
    client.loop_start()
    assert connected.wait(10)
    token = fake_token(ChainPosition(bytes(8), 1))
    spent = []
    for _ in range(ROUND_TRIPS):
        start = time.perf_counter()
        client.publish("bare/evt/tap", token, qos=1).wait_for_publish(10)
        spent.append(1000 * (time.perf_counter() - start))
    client.disconnect()
    client.loop_stop()
    return statistics.median(spent)

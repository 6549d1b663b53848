"""One tap from its facts to the commit and to the PUBACK, tap by tap beside the bare reference script.

Both do one tap in turn on the same disk and the same mosquitto, so that a busy machine slows both. Ours goes the whole
way of the agent: issuer, chain, sealing on the writer thread, outbox, publisher, connection. The radio part of a tap is
not in it; the whole tap over an emulated PN532 at a modelled 115200-baud line is measured below.
"""

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.reference import Reference, Step
from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.demo.report import percentiles
from edge_agent.demo.stage import Stage
from edge_agent.issuer import Issuer
from edge_agent.models import StoredTap, Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore
from edge_agent.sealing import outbox_codec
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.keyring import create_key_file
from edge_agent.uplink.base import LinkSettings
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.publisher import Hooks, Publisher, PublisherSettings
from edge_agent.uplink.wire import State, StateWord, Topics
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.open_gate import open_gate

TAPS = 1000
WARM_UP = 50
REST_EVERY, REST_S = 300, 1.5
"""No hall sees a thousand taps without a second's pause; the outbox uses it to copy its WAL back."""
EMULATED_TAPS = 30
RATIO_BOUND = 1.3


class _Ours:
    """The agent's path without reader and screens."""

    def __init__(self, folder: Path, port: int) -> None:
        self._clock = SystemClock(assume_synced=True)
        self._acked: asyncio.Future[float] | None = None
        topics = Topics("bench", "bench-000001-a")
        key = create_key_file(folder / "tap.key")
        codec = outbox_codec(key, topics.fleet, topics.terminal, self._clock)
        self.outbox = OutboxStore(folder / "outbox.db", codec, clock=self._clock)
        self.up = asyncio.Event()

        def state(word: StateWord, session: str) -> State:
            self.up.set()
            return State(word, session, "0", key.kid, bytes(8), 1, "", {}, {}, 0)

        presence = Presence(topics, state)
        self.publisher = Publisher(
            self.outbox,
            lambda handler: Connection(
                lambda: LinkSettings("127.0.0.1", port, client_id=topics.terminal, will=presence.will()),
                subscriptions=topics.subscriptions,
                handler=handler,
                clock=self._clock,
                backoff=Backoff(),
            ),
            topics=topics,
            presence=presence,
            clock=self._clock,
            settings=PublisherSettings(),
            hooks=Hooks(observer=self),
        )
        self._issuer = Issuer(
            append=self.outbox.append,
            clock=self._clock,
            ttl=90,
            campaign=lambda _at: "c-1",
            on_new=self._offer,
            gate=open_gate(self._clock),
        )

    def on_sent(self, _chain: bytes, _first: int, _last: int, at: float) -> None:
        if self._acked is not None and not self._acked.done():
            self._acked.set_result(at)

    def on_stored(self, chain: bytes, through: int, at: float) -> None:
        """Nobody confirms here."""

    def _offer(self, _tap: Tap, stored: StoredTap) -> None:
        self.publisher.offer(stored)

    async def tap(self, number: int) -> Step:
        self._acked = asyncio.get_running_loop().create_future()
        seen = self._clock.monotonic()
        facts = TapFacts(TapMode.PHONE_APP, "bench", nonce=number.to_bytes(12, "big"), rtt_ms=20, seen_at=seen)
        stored = await self._issuer.issue(facts)
        acked_at = await asyncio.wait_for(self._acked, 10)
        return Step(stored.committed_at - seen, acked_at - seen)


async def _in_turn(folder: Path, port: int) -> tuple[list[Step], list[Step]]:
    ours, reference = _Ours(folder, port), Reference(folder, port)
    await ours.outbox.open()
    running = asyncio.create_task(ours.publisher.run())
    steps: tuple[list[Step], list[Step]] = ([], [])
    try:
        await asyncio.wait_for(ours.up.wait(), 10)
        await asyncio.sleep(0.2)
        for number in range(WARM_UP + TAPS):
            pair = await ours.tap(number), reference.tap()
            if number % REST_EVERY == 0:
                await asyncio.sleep(REST_S)
            if number >= WARM_UP:
                steps[0].append(pair[0])
                steps[1].append(pair[1])
    finally:
        await ours.publisher.stop()
        await running
        await ours.outbox.close()
        reference.close()
    return steps


def _compare(name: str, ours: list[Step], reference: list[Step], pick: Callable[[Step], float]) -> list[Figure]:
    mine, theirs = (statistics.median(pick(step) for step in steps) * 1000 for steps in (ours, reference))
    ratio = mine / theirs
    return [
        Figure(f"seen to {name}, median", mine, "ms"),
        Figure(f"reference script to {name}, median", theirs, "ms"),
        Figure(f"seen to {name}, ours / reference", ratio, "x", f"<= {RATIO_BOUND}", ratio <= RATIO_BOUND),
    ]


async def _emulated() -> list[Figure]:
    latencies: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), page_port=0)
        async with stage.raised() as people:
            for _ in range(EMULATED_TAPS):
                outcome = await people.tap()
                if not isinstance(outcome.card, SimulatedPhone) or outcome.delivered_at is None:
                    raise RuntimeError(f"an emulated tap ended as {outcome.end}")
                times, _event = await stage.outcome_of(outcome.card.tokens[-1])
                for name, value in times.latency_ms().items():
                    latencies.setdefault(name, []).append(value)
                latencies.setdefault("held_to_delivered", []).append((outcome.delivered_at - outcome.placed_at) * 1000)
                await asyncio.sleep(0.8)
    figures = []
    for name, values in latencies.items():
        middle = percentiles(values)["p50"] or 0.0
        is_cue = name == "seen_to_reading_cue"
        title = f"emulated tap, {name.replace('_', ' ')}, median"
        figures.append(Figure(title, middle, "ms", "< 20" if is_cue else "", middle < 20 if is_cue else None))
    return figures


def run() -> list[Figure]:
    """Needs mosquitto."""
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if binary is None:
        raise SystemExit("this benchmark needs mosquitto: sudo apt-get install mosquitto")
    with tempfile.TemporaryDirectory() as name, Mosquitto(binary, Path(name), quiet=True) as broker:
        ours, reference = asyncio.run(_in_turn(Path(name), broker.port))
    return [
        *_compare("committed", ours, reference, lambda step: step.committed),
        *_compare("PUBACK", ours, reference, lambda step: step.acked),
        *asyncio.run(_emulated()),
    ]

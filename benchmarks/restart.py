"""Start with a long queue: from the start of the process to READY and to the first tap, beside an empty outbox.

The real agent as a process of its own, an emulated PN532 at a modelled 115200-baud line, a serial display and the page;
a phone lies on the reader from the first moment. No broker can be reached, so all 100,000 signed tokens go on waiting.
"""

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.agent import as_on_a_terminal
from benchmarks.figures import Figure
from edge_agent.clock import SystemClock
from edge_agent.demo.stage import FLEET, TERMINAL, config_text
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore
from edge_agent.sealing import outbox_codec
from edge_agent.simulation.field import SimulatedField, TapEnd
from edge_agent.simulation.pn532_chip import REALISTIC
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file, load_key_file
from firmware_bridge.simulator import McuSimulator
from tests.fakes.agent_process import AgentProcess
from tests.fakes.mosquitto import free_port

WAITING = 100_000
ROUNDS = 5
FIRST_TAP_BOUND_S = 2.0
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Start:
    """Seconds from the start of the process."""

    ready: float
    tapped: float


async def fill(folder: Path, rows: int) -> None:
    """Make a queue as taps leave it: every row sealed with the key of the demo's terminal, which is in ``folder``."""
    clock = SystemClock(assume_synced=True)
    codec = outbox_codec(load_key_file(folder / "tap.key"), FLEET, TERMINAL, clock)
    store = OutboxStore(folder / "outbox.db", codec, clock=clock)
    await store.open()
    facts = TapFacts(TapMode.PHONE_APP, "nfc0", nonce=bytes(12), sub=bytes(10), rtt_ms=20)
    for _ in range(0, rows, 500):
        await asyncio.gather(*(store.append(Tap(facts=facts, at=clock.read(), ttl=90)) for _ in range(500)))
    await store.close()


async def _waiting(folder: Path) -> int:
    """Rows that are pending on disk."""
    clock = SystemClock(assume_synced=True)
    codec = outbox_codec(load_key_file(folder / "tap.key"), FLEET, TERMINAL, clock)
    store = OutboxStore(folder / "outbox.db", codec, clock=clock)
    pending = (await store.open()).pending
    await store.close()
    return pending


async def _start(folder: Path) -> _Start:
    with Pn532Emulator(baud_model=115_200, timing=REALISTIC) as chip, McuSimulator() as display:
        config = folder / "edge-agent.toml"
        parts = {"reader": chip.device_path, "screen": display.device_path}
        config.write_text(config_text(folder, **parts, page_port=0, broker=("127.0.0.1", free_port())))
        held = asyncio.create_task(SimulatedField(chip, dwell_s=0.0, patience_s=PATIENCE_S).tap())
        await asyncio.sleep(0.05)  # the phone is there before the process
        began = time.monotonic()
        agent = AgentProcess(config, folder, as_on_a_terminal(folder.parent), None)
        try:
            await asyncio.to_thread(agent.told, "READY=1")
            ready = time.monotonic()
            outcome = await held
            agent.end()
        finally:
            agent.close()
    if outcome.end is not TapEnd.DELIVERED or outcome.delivered_at is None:
        raise RuntimeError(f"the first tap ended as {outcome.end}:\n{agent.log}")
    return _Start(ready - began, outcome.delivered_at - began)


async def _measure(folder: Path) -> list[Figure]:
    full, empty = folder / "full", folder / "empty"
    for room in (full, empty):
        room.mkdir()
        create_key_file(room / "tap.key")
    await fill(full, WAITING)
    await _start(empty)  # makes the bytecode
    starts: dict[Path, list[_Start]] = {full: [], empty: []}
    for _ in range(ROUNDS):
        for room in (full, empty):
            if room is empty:
                for file in room.glob("outbox.db*"):
                    file.unlink()
            starts[room].append(await _start(room))
    waiting = await _waiting(full)
    tapped = statistics.median(start.tapped for start in starts[full])
    slowest = max(start.tapped for start in starts[full])
    to_empty = tapped / statistics.median(start.tapped for start in starts[empty])
    return [
        Figure("start to READY, 100,000 rows waiting, median", _ready(starts[full]), "s"),
        Figure("start to READY, empty outbox, median", _ready(starts[empty]), "s"),
        Figure(
            "start to the first tap, 100,000 rows waiting, median", tapped, "s", "< 2", ok=tapped < FIRST_TAP_BOUND_S
        ),
        Figure("  ... slowest", slowest, "s"),
        Figure("  ... against an empty outbox", to_empty, "x"),
        Figure(
            "rows still waiting after all taps", waiting, "rows", f"= {WAITING + ROUNDS:,}", waiting == WAITING + ROUNDS
        ),
    ]


def _ready(starts: list[_Start]) -> float:
    return statistics.median(start.ready for start in starts)


def run() -> list[Figure]:
    """Measure everything; about 15 s."""
    with tempfile.TemporaryDirectory(prefix="bench-restart-") as folder:
        return asyncio.run(_measure(Path(folder)))

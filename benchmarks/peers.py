"""The same faults for the agent and for what people use instead: kill -9 with a full queue, amid its drain, and amid a
drain into a broker that has fallen silent.

Each takes messages while no broker is there, and says that it has them. It is killed, and started again with a broker.
What arrives is counted by a subscriber, for the agent by the ledger. Prints a table; with PROOF_REPORT set it adds a
line of JSON for each row to that file. ``--python PATH``: an interpreter with paho-mqtt and persist-queue, to try that
one, too.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import structlog

from benchmarks.agent import as_on_a_terminal
from benchmarks.bridge import TUNED, bridge_lines
from benchmarks.figures import Figure
from benchmarks.peer_queue import message
from benchmarks.raw_mqtt import RawMqtt
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.demo.stage import FLEET, TERMINAL, config_text
from edge_agent.simulation.pn532_line import Pn532Emulator
from edge_agent.tokens.keyring import create_key_file
from firmware_bridge.simulator import McuSimulator
from tests.fakes.agent_process import AgentProcess
from tests.fakes.ledger_rows import ledger_rows
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.whole_agent import cloud_site
from tests.system_parts import PARTS

OURS = "edge-agent"
QUEUED = "killed with a full queue"
AMID = "killed amid the drain"
SILENT = "broker silent amid the drain, then both killed"
TAKEN = 2000
MANY = 20_000
"""For the agent and the bridge: they are too fast to be caught amid fewer."""
DEADLINE_S = 30.0
QUIET_S = 0.5
SILENCE_S = 1.0
RESEND_AFTER_S = 5
BRIDGE_QUIET_S = 4.0
BATCH = 64
BATCHES = "tap/v1/+/+/evt/batch"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of the messages that a queue had taken; ``recover_s`` from its start again to the last arrival."""

    fault: str
    peer: str
    taken: int
    lost: int
    duplicates: int
    recover_s: float | None


class _Heard:
    """Counts on a thread of its own what a broker hands out, also after the broker's restart."""

    def __init__(self, port: int, topic_filter: str = "up/#") -> None:
        self.messages = 0
        self._filter = topic_filter
        self.numbers: Counter[int] = Counter()
        self.last_at = time.monotonic()
        self._port = port
        self.connect()

    def connect(self) -> None:
        """Subscribe."""
        self._mqtt = RawMqtt(self._port, "heard")
        self._mqtt.subscribe(self._filter)
        self._thread = threading.Thread(target=self._count, args=(self._mqtt,), daemon=True)
        self._thread.start()

    def _count(self, mqtt: RawMqtt) -> None:
        for publish in mqtt.received(2 * DEADLINE_S):
            self.numbers[int.from_bytes(publish.payload[:4], "big")] += 1
            self.messages += 1
            self.last_at = time.monotonic()

    def wait(self, over: Callable[[], bool]) -> None:
        """Until it is over, or the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not over() and time.monotonic() < deadline:
            time.sleep(0.002)

    def quiet(self, seconds: float) -> None:
        """Wait until nothing has come for so long."""
        since = time.monotonic()
        self.wait(lambda: time.monotonic() - max(self.last_at, since) > seconds)

    def row(self, fault: str, peer: str, taken: int, began: float) -> Row:
        """What became of ``taken`` messages that were numbered from 0."""
        lost = taken - len(self.numbers)
        again = sum(self.numbers.values()) - len(self.numbers)
        recovered = self.last_at - began if self.last_at > began else None
        return Row(fault, peer, taken, lost, again, recovered)

    def close(self) -> None:
        """End the thread."""
        self._mqtt.close()
        self._thread.join(DEADLINE_S)


class _Child:
    """One process of a queue; ended by its handle."""

    def __init__(self, python: str, kind: str, folder: Path, port: int, count: int) -> None:
        command = [python, "-m", "benchmarks.peer_queue", kind, str(folder), str(port), str(count)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def told(self, word: str) -> None:
        """Wait for this line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line.strip() != word:
            raise RuntimeError(f"{self.process.args} said {line!r} instead of {word}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _queue(binary: str, fault: str, name: str, kind: str, python: str, folder: Path) -> Row:
    """A queue in a process around paho."""
    broker = Mosquitto(binary, folder, quiet=True, lines=("max_queued_messages 0",))
    with ExitStack() as stack:
        child = _Child(python, kind, folder, broker.port, TAKEN)
        stack.callback(child.kill)
        child.told("taken")
        child.process.send_signal(signal.SIGKILL if fault == QUEUED else signal.SIGSTOP)
        stack.enter_context(broker)
        heard = _Heard(broker.port)
        stack.callback(heard.close)
        if fault != QUEUED:
            child.process.send_signal(signal.SIGCONT)
            heard.wait(lambda: len(heard.numbers) >= TAKEN // 4)
        if fault == SILENT:
            broker.pause()
            time.sleep(SILENCE_S)
        child.kill()
        if fault == SILENT:
            heard.close()
            broker.restart()
            heard.connect()
        heard.quiet(QUIET_S)
        began = time.monotonic()
        again = _Child(python, kind, folder, broker.port, 0)
        stack.callback(again.kill)
        again.told("taken")
        again.told("empty")
        heard.quiet(QUIET_S)
        return heard.row(fault, name, TAKEN, began)


def _bridge(binary: str, fault: str, name: str, lines: tuple[str, ...], folder: Path) -> Row:
    """Mosquitto on the terminal, and its bridge; the cloud's broker is down while it takes messages."""
    cloud = Mosquitto(binary, folder, quiet=True, lines=TUNED)
    kept = ("persistence true", f"persistence_location {folder}/")
    terminal = Mosquitto(binary, folder, quiet=True, lines=(*lines, *kept, *bridge_lines(cloud.port)))
    with ExitStack() as stack:
        stack.enter_context(terminal)
        taps = RawMqtt(terminal.port, "taps")
        assert taps.publish_all(("up/tap", message(number)) for number in range(MANY)) == MANY
        taps.close()
        if fault == AMID:
            terminal.pause()
        else:
            terminal.kill()
        stack.enter_context(cloud)
        heard = _Heard(cloud.port)
        stack.callback(heard.close)
        if fault == AMID:
            terminal.resume()
            heard.wait(lambda: len(heard.numbers) >= (MANY if "max_queued_messages 0" in lines else 1000) // 4)
            terminal.kill()
        heard.quiet(QUIET_S)
        began = time.monotonic()
        terminal.start()
        heard.wait(lambda: len(heard.numbers) == MANY or time.monotonic() - max(heard.last_at, began) > BRIDGE_QUIET_S)
        return heard.row(fault, name, MANY, began)


def _ours(binary: str, fault: str, folder: Path) -> Row:
    return asyncio.run(_agent(binary, fault, folder))


async def _agent(binary: str, fault: str, folder: Path) -> Row:
    """The agent as a process, a broker, and the receiver with its ledger."""
    key = create_key_file(folder / "tap.key").public
    broker = Mosquitto(binary, folder, quiet=True, lines=("max_queued_messages 0",))
    filling = _Child(sys.executable, "ours", folder, broker.port, MANY)
    try:
        await asyncio.to_thread(filling.told, "taken")
    finally:
        filling.kill()
    site = cloud_site(folder, "127.0.0.1", broker.port)
    site.keys[key.kid] = KeyRecord(key, FLEET, TERMINAL)
    await site.ledger.open()
    with broker, Pn532Emulator() as chip, McuSimulator() as display:
        config = folder / "edge-agent.toml"
        parts = {"reader": chip.device_path, "screen": display.device_path}
        config.write_text(config_text(folder, **parts, page_port=0, broker=("127.0.0.1", broker.port)))
        env = {**as_on_a_terminal(folder), "EDGE_AGENT__UPLINK__RESEND_AFTER_S": str(RESEND_AFTER_S)}
        async with site.receiving():
            if fault != QUEUED:
                await asyncio.to_thread(_kill_amid, config, env, broker, silent=fault == SILENT)
            began = time.monotonic()
            agent = AgentProcess(config, folder, env, None)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    while (await site.ledger.stats()).rows < MANY:  # noqa: ASYNC110 - the ledger has no event
                        await asyncio.sleep(0.02)
                recovered = time.monotonic() - began
                await asyncio.sleep(QUIET_S)
            finally:
                agent.close()
    await site.ledger.close()
    rows = ledger_rows(folder / "ledger.db")
    seqs = {row.seq for row in rows}
    return Row(fault, OURS, MANY, MANY - len(seqs), len(rows) - len(seqs), recovered)


def _kill_amid(config: Path, env: dict[str, str], broker: Mosquitto, *, silent: bool) -> None:
    """Start the agent and kill it when a part of its queue went through the broker."""
    heard = _Heard(broker.port, BATCHES)
    agent = AgentProcess(config, config.parent, env, None)
    try:
        heard.wait(lambda: heard.messages * BATCH > MANY // 8)
        if silent:
            broker.pause()
            time.sleep(SILENCE_S)
        agent.process.kill()
    finally:
        agent.close()
    if silent:
        broker.restart()
    heard.close()
    if not heard.messages * BATCH < MANY:
        raise RuntimeError(f"not killed amid the drain, but after {heard.messages} batches")


def measure(binary: str, python: str | None) -> list[Row]:
    """All queues under both faults; about a minute and a half."""
    queues = {
        "paho, its own queue": "paho",
        "SQLite, publish, then delete": "sqlite",
        "SQLite, wait for PUBACK, then delete": "sqlite-wait",
    }
    bridges = {
        "mosquitto bridge, defaults": (),
        "mosquitto bridge, tuned": TUNED,
    }
    cases: list[Callable[[Path], Row]] = []
    for fault in (QUEUED, AMID, SILENT):
        cases.append(partial(_ours, binary, fault))
        cases += [partial(_queue, binary, fault, name, kind, sys.executable) for name, kind in queues.items()]
        if python is not None:
            cases.append(partial(_queue, binary, fault, "persist-queue", "persist-queue", python))
        if fault != SILENT:
            cases += [partial(_bridge, binary, fault, name, lines) for name, lines in bridges.items()]
    return [_in_room(case) for case in cases]


def _in_room(case: Callable[[Path], Row]) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as name:
        row = case(Path(name))
    recovered = "" if row.recover_s is None else f"{row.recover_s:.2f}"
    print(
        f"  {row.fault:<46} {row.peer:<37} {row.taken:>7,} {row.lost:>7,} {row.duplicates:>7,} {recovered:>7}",
        flush=True,
    )
    return row


def run(python: str | None = None) -> list[Figure]:
    """Needs mosquitto."""
    binary = PARTS["mosquitto"].find()
    if binary is None:
        print(f"  skipped, no mosquitto: {PARTS['mosquitto'].how_to}")
        return []
    print(f"  {'fault':<46} {'queue':<37} {'taken':>7} {'lost':>7} {'twice':>7} {'s':>7}")
    rows = measure(binary, python)
    if report := os.environ.get("PROOF_REPORT"):
        with Path(report).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
    ours = [row for row in rows if row.peer == OURS]
    lost, twice = sum(row.lost for row in ours), sum(row.duplicates for row in ours)
    return [
        Figure("tokens that the agent lost", lost, "tokens", "= 0", ok=lost == 0),
        Figure("tokens that are in the ledger twice", twice, "tokens", "= 0", ok=twice == 0),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    run(parser.parse_args().python)

"""kill -9 of the real agent at any moment of its life, under taps, with a real broker and receiver behind it."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.control_client import ask
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keyring import load_key_file
from tests.fakes.agent_process import AgentProcess
from tests.fakes.audit import audit
from tests.fakes.ledger_rows import ledger_rows
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.proof_report import report
from tests.fakes.tap_load import TapLoad, tap_load
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, cloud_site, register

READERS = 3
ENV = {"EDGE_AGENT__LOGGING__LEVEL": "warning", "EDGE_AGENT__UPLINK__RESEND_AFTER_S": "5"}


async def a_moment(rnd: random.Random, load: TapLoad, agent: AgentProcess, begun: float) -> None:
    """Somewhere in its start, at any time, or in the middle of a tap: sealing, committing, answering, sending."""
    where = rnd.random()
    if where < 0.1:
        await asyncio.sleep(rnd.random() * 0.5)
        return
    await eventually(lambda: load.served_after(begun) or agent.process.poll() is not None)
    assert agent.process.poll() is None, agent.log
    if where < 0.4:
        await asyncio.sleep(rnd.random() * 0.6)
        return
    taps = load.begun
    await eventually(lambda: load.begun > taps)
    await asyncio.sleep(rnd.random() * 0.03)


async def all_known_to_be_stored(folder: Path) -> None:
    """Wait until the running agent has heard of all rows that they are in the ledger."""
    async with asyncio.timeout(60):
        while True:
            outbox = (await asyncio.to_thread(ask, folder / "control.sock", {"op": "status"}))["outbox"]
            if not any(outbox[name] for name in ("pending", "leased", "sent", "gaps")):
                return
            await asyncio.sleep(0.05)


async def still_waiting(folder: Path) -> int:
    """Rows that the outbox of a stopped agent would send again."""
    clock = SystemClock(assume_synced=True)
    codec = outbox_codec(load_key_file(folder / "tap.key"), FLEET, TERMINAL, clock)
    outbox = OutboxStore(folder / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    stats = await outbox.open()
    await outbox.close()
    return stats.pending + stats.leased + stats.sent + stats.parked + stats.gaps


@pytest.mark.system
@pytest.mark.parametrize("kills", [6, pytest.param(120, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_no_token_of_a_phone_is_lost_by_kills(
    tmp_path: Path, require_system: Callable[[str], str], kills: int
) -> None:
    rnd = random.Random(kills)
    recovery_s: list[float] = []
    with Mosquitto(require_system("mosquitto"), tmp_path, quiet=True) as broker:
        async with tap_load(READERS) as load:
            config = load.write_config(tmp_path, host=broker.host, port=broker.port)
            key = load_key_file(tmp_path / "tap.key").public
            site = cloud_site(tmp_path, broker.host, broker.port)
            register(site, key)
            await site.ledger.open()
            async with site.receiving():
                for _ in range(kills):
                    begun = time.monotonic()
                    agent = AgentProcess(config, tmp_path, ENV, None)
                    try:
                        await a_moment(rnd, load, agent, begun)
                        await asyncio.to_thread(agent.end, signal.SIGKILL)
                    finally:
                        agent.close()
                    recovery_s += [served for served in [load.served_after(begun)] if served is not None]
                agent = AgentProcess(config, tmp_path, ENV, None)
                said_before = len(agent.log)
                try:
                    begun = time.monotonic()
                    await eventually(lambda: load.served_after(begun))
                    await load.pause()

                    def all_there() -> bool:
                        return {row.token for row in ledger_rows(tmp_path / "ledger.db")} >= set(load.promised)

                    await eventually(all_there)
                    await all_known_to_be_stored(tmp_path)
                    status, _ = await asyncio.to_thread(agent.end)
                    assert status == 0
                    assert "Traceback" not in agent.log[said_before:], agent.log
                finally:
                    agent.close()
            await site.ledger.close()
            waiting = await still_waiting(tmp_path)
            audited = audit(tmp_path / "ledger.db", load.promised, key=key, stream=(FLEET, TERMINAL), waiting=waiting)
    assert audited.promised >= kills
    report("kill -9 of the agent", "in its start, amid taps, between them", audited, times=kills, recovery_s=recovery_s)

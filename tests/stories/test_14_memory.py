"""Story 14: memory grows over days. A soak of the real process under taps: resident memory and descriptors are bounded.

``SOAK_S`` seconds of it; after a third, what it takes must hardly grow any more.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.tokens.keyring import load_key_file
from tests.fakes.agent_process import AgentProcess
from tests.fakes.audit import audit
from tests.fakes.ledger_rows import ledger_rows
from tests.fakes.mosquitto import Mosquitto
from tests.fakes.proof_report import report
from tests.fakes.tap_load import tap_load
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, cloud_site, register

ENV = {"EDGE_AGENT__LOGGING__LEVEL": "warning", "EDGE_AGENT__UPLINK__HEALTH_S": "1"} | {
    "EDGE_AGENT__UPLINK__RESEND_AFTER_S": "5"  # what a broker took with it when it died
}
MORE_KB = 8 * 1024
"""What may come after the warm-up: SQLite's cache and Python's arenas fill for a while yet."""
MORE_FILES = 4
RESTARTS = 3
SOAK_S = float(os.environ.get("SOAK_S", "0"))


def rss_kb(pid: int) -> int:
    """Resident memory, VmRSS of proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def open_files(pid: int) -> int:
    """Descriptors that it has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.system
@pytest.mark.parametrize(
    "seconds", [SOAK_S or 12, pytest.param(SOAK_S or 180, marks=[pytest.mark.proof, pytest.mark.timeout(7200)])]
)
async def test_memory_and_descriptors_are_bounded_under_taps(
    tmp_path: Path, require_system: Callable[[str], str], seconds: float
) -> None:
    with Mosquitto(require_system("mosquitto"), tmp_path, quiet=True) as broker:
        async with tap_load(3) as load:
            config = load.write_config(tmp_path, host=broker.host, port=broker.port)
            key = load_key_file(tmp_path / "tap.key").public
            site = cloud_site(tmp_path, broker.host, broker.port)
            register(site, key)
            await site.ledger.open()
            async with site.receiving():
                agent = AgentProcess(config, tmp_path, ENV, None)
                try:
                    pid = agent.process.pid
                    await eventually(lambda: load.served_at)
                    begun = time.monotonic()
                    await asyncio.sleep(seconds / 3)
                    warm, files = rss_kb(pid), open_files(pid)
                    largest, most = warm, files
                    while time.monotonic() - begun < seconds:
                        broker.restart()
                        for _ in range(10):
                            await asyncio.sleep(seconds / 15 / RESTARTS)
                            largest, most = max(largest, rss_kb(pid)), max(most, open_files(pid))
                    await load.pause()
                    await eventually(
                        lambda: {row.token for row in ledger_rows(tmp_path / "ledger.db")} >= set(load.promised)
                    )
                    status, _ = await asyncio.to_thread(agent.end, signal.SIGTERM)
                finally:
                    agent.close()
            await site.ledger.close()
    assert status == 0
    assert largest <= warm + MORE_KB, f"resident memory grew from {warm} kB to {largest} kB"
    assert most <= files + MORE_FILES, f"open descriptors grew from {files} to {most}"
    audited = audit(tmp_path / "ledger.db", load.promised, key=key, stream=(FLEET, TERMINAL))
    how = f"{seconds:.0f} s under taps, broker restarts; {warm} to {largest} kB resident, {files} to {most} descriptors"
    report("soak", how, audited, times=1)

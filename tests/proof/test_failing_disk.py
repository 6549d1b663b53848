"""fsync that fails with EIO and writes that find no space: taps are refused, nothing promised is lost, it heals."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox import connection
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.audit import audit
from tests.fakes.cut_life import CutLife
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.proof_report import report
from tests.fakes.table_cloud import STREAM, table_cloud
from tests.fakes.watched_vfs import below

STEPS = 40
ROUNDS = [8, pytest.param(100, marks=[pytest.mark.proof, pytest.mark.timeout(580)])]


async def until_kept(life: CutLife) -> float:
    """Tap until a tap is kept; returns how long that took."""
    begun = time.monotonic()
    async with asyncio.timeout(15):
        while True:
            try:
                await life.tap()
            except OutboxError:
                await asyncio.sleep(0.005)
            else:
                return time.monotonic() - begun


def make_trouble(disk: FaultDisk, fault: OutboxFault) -> None:
    if fault is OutboxFault.FULL:
        disk.full = disk.rnd.random() < 0.5
    else:
        disk.sync_errors = disk.rnd.choice([0.0, 0.0, 0.3, 1.0])


@pytest.mark.parametrize("fault", [OutboxFault.FAILING, OutboxFault.FULL])
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_failing_disk_costs_only_the_taps_that_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int, fault: OutboxFault
) -> None:
    key, clock, rnd = PrivateKey.generate(), FakeClock(), random.Random(5)
    recovery_s: list[float] = []
    reasons: Counter[OutboxFault] = Counter()
    faults = 0
    async with table_cloud(tmp_path, key.public, clock) as cloud:
        life = CutLife(tmp_path, key, clock, cloud, rnd)
        for _ in range(rounds):
            disk = FaultDisk(life.path.parent, rnd)
            with monkeypatch.context() as lower:
                if fault is OutboxFault.FULL:  # else the first 500 taps need no more room
                    lower.setattr(connection, "_make_room", lambda _wal: None)
                below(lower, disk)
                life.store = life.new_store()
                await life.store.open()
                for _ in range(STEPS):
                    make_trouble(disk, fault)
                    try:
                        await life.step(restarts=False)
                    except OutboxError as error:
                        reasons[error.fault] += 1
                disk.full, disk.sync_errors = False, 0.0
                recovery_s.append(await until_kept(life))
                disk.cut()
                await life.store.close()
            faults += disk.faults
            life.survive(disk)
            await life.examine()
        await life.begin_anew()
        audited = audit(cloud.path, life.promised, key=key.public, stream=STREAM)
    assert set(reasons) == {fault}, "it is told as what it is"
    assert reasons[fault] > rounds
    name = {OutboxFault.FAILING: "fsync fails with EIO", OutboxFault.FULL: "write fails with ENOSPC"}[fault]
    how = f"{reasons[fault]} calls refused in {rounds} rounds, each ended by a power cut"
    report(name, how, audited, times=faults, recovery_s=recovery_s)

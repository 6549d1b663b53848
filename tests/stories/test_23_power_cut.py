"""Story 23: power cut between commit and PUBACK, or in the middle of a commit: nothing lost, no seq used twice."""

import random
from itertools import count
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.audit import audit
from tests.fakes.cut_life import CutLife
from tests.fakes.power_cut_vfs import PowerCutDisk
from tests.fakes.table_cloud import STREAM, table_cloud
from tests.fakes.watched_vfs import below


async def test_a_cut_in_any_operation_of_a_tap_or_before_its_puback_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, clock = PrivateKey.generate(), FakeClock()
    async with table_cloud(tmp_path, key.public, clock) as cloud:
        life = CutLife(tmp_path, key, clock, cloud, random.Random(23))
        life.store = life.new_store()
        await life.store.open()
        await life.tap()
        await life.store.close()
        for operation in count(1):
            disk = PowerCutDisk(life.path.parent, life.rnd)
            with monkeypatch.context() as lower:
                below(lower, disk)
                life.store = life.new_store()
                await life.store.open()
                await life.tap()
                disk.cut_at = disk.operations + operation
                try:
                    await life.tap()
                    reached = False
                except OutboxError:
                    reached = True
                lease = await life.store.lease_backlog(1, max_rows=64, max_bytes=16_000)
                assert lease is not None
                await cloud.take(lease.tokens)  # it arrived, and the PUBACK did not
                if not disk.dead:
                    disk.cut()
                await life.store.close()
            life.survive(disk)
            await life.examine()
            if not reached:
                break
        assert operation > 2
        await life.begin_anew()
        audited = audit(cloud.path, life.promised, key=key.public, stream=STREAM)
    assert audited.duplicates > 0

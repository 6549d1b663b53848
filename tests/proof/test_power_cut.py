"""Power cuts in the middle of any operation of the disk: no committed tap is lost, no seq is used twice."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError
from edge_agent.outbox import connection
from edge_agent.outbox.base import Bounds
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.audit import audit
from tests.fakes.cut_life import AMPLE, CutLife
from tests.fakes.proof_report import report, tally
from tests.fakes.table_cloud import STREAM, table_cloud

FULL = {}
MOST_OPERATIONS = 150
LIVES_OF_A_FILE = 10
STAGES = {"open", "tap", "confirm", "checkpoint"}


@asynccontextmanager
async def a_terminal(folder: Path, seed: int, bounds: Bounds = AMPLE) -> AsyncIterator[tuple[CutLife, PrivateKey]]:
    """A terminal without a file yet, and its cloud."""
    key, clock = PrivateKey.generate(), FakeClock()
    async with table_cloud(folder, key.public, clock) as cloud:
        yield CutLife(folder, key, clock, cloud, random.Random(seed), bounds=bounds), key


@pytest.mark.parametrize("cuts", [25, pytest.param(300, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_no_committed_tap_is_lost_by_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    async with a_terminal(tmp_path, seed=23) as (life, key):
        for cut in range(cuts):
            await life.until_cut(monkeypatch, life.rnd.randrange(1, MOST_OPERATIONS), FULL)
            await life.examine()
            if cut % LIVES_OF_A_FILE == LIVES_OF_A_FILE - 1:
                await life.begin_anew()
        await life.begin_anew()
        audited = audit(life.cloud.path, life.promised, key=key.public, stream=STREAM)
    assert audited.promised > cuts * 3, "the cuts came before there was anything to lose"
    if cuts > 100:
        assert set(life.cut_during) >= STAGES, life.cut_during
    how = f"unsynced writes dropped, kept or torn; during {tally(life.cut_during)}"
    report("power cut", how, audited, times=cuts, recovery_s=life.recovery_s)


@pytest.mark.parametrize("cuts", [10, pytest.param(100, marks=[pytest.mark.proof, pytest.mark.timeout(580)])])
async def test_what_a_full_outbox_gives_up_is_accounted_for_over_power_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    async with a_terminal(tmp_path, seed=6, bounds=Bounds(max_rows=40)) as (life, key):
        life.delivery = 0.02
        for _ in range(cuts):
            await life.until_cut(monkeypatch, life.rnd.randrange(200, 600), FULL)
            await life.examine()
        await life.begin_anew()
        audited = audit(life.cloud.path, life.promised, key=key.public, stream=STREAM, may_give_up=True)
    assert audited.given_up > cuts, "nothing had to be given up"
    how = f"outbox of 40 rows that evicts; during {tally(life.cut_during)}"
    report("power cut amid evictions", how, audited, times=cuts, recovery_s=life.recovery_s)


@pytest.mark.parametrize("weaker", ["OFF", "NORMAL"])
async def test_this_proof_fails_where_commits_are_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weaker: str
) -> None:
    without = {"PRAGMA synchronous = FULL": f"PRAGMA synchronous = {weaker}"}
    async with a_terminal(tmp_path, seed=1) as (life, _):
        with pytest.raises((AssertionError, OutboxError), match=r"lost|damaged"):  # noqa: PT012 - in any of the lives
            for _ in range(25):
                await life.until_cut(monkeypatch, life.rnd.randrange(1, MOST_OPERATIONS), without)
                await life.examine()


async def test_a_cut_at_any_operation_of_the_creation_leaves_a_file_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_terminal(tmp_path, seed=2) as (life, key):
        for operation in count(1):
            life.rnd.seed(operation)
            await life.until_cut(monkeypatch, operation, FULL)
            await life.examine()
            await life.begin_anew()
            if not life.cut_during.pop("create", 0):
                break
        assert operation > 20
        audit(life.cloud.path, life.promised, key=key.public, stream=STREAM)


async def test_a_cut_at_any_operation_of_a_migration_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (
        "CREATE TABLE later (number INTEGER PRIMARY KEY, token BLOB NOT NULL) STRICT;\n"
        "INSERT INTO later (token) SELECT token FROM rows;\nUPDATE rows SET exp = exp + 1;\n"
    )
    scripts = connection.schema_scripts()
    newest = max(scripts) + 1
    async with a_terminal(tmp_path, seed=3) as (life, key):
        for operation in count(1):
            life.rnd.seed(operation)
            await life.until_cut(monkeypatch, 60, FULL)
            await life.examine()
            life.cut_during.clear()
            with monkeypatch.context() as upgraded:
                upgraded.setattr(connection, "schema_scripts", lambda: scripts | {newest: more})
                await life.until_cut(monkeypatch, operation, FULL)
                await life.examine()
                await life.begin_anew()
            if not life.cut_during["open"]:
                break
        assert operation > 5
        audit(life.cloud.path, life.promised, key=key.public, stream=STREAM)

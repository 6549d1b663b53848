"""The guardian does what healing decides: to the right part, told once, and never a restart too many."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError
from edge_agent.guardian import Guardian
from edge_agent.monitor import GUARDIAN, MONITOR, OUTBOX, Monitor
from edge_agent.outbox.base import Notice
from edge_agent.supervision.healing import HEAL_EVERY_S, HEALS
from edge_agent.supervision.health import HealthBoard
from edge_agent.supervision.restart import LIMIT_PER_HOUR, RestartFile
from edge_agent.supervision.supervisor import Supervisor


@dataclass
class Parts:
    """What the monitor sees, and what a supervisor is asked for."""

    board: HealthBoard = field(default_factory=HealthBoard)
    found: dict[str, str] = field(default_factory=dict)
    restarted: list[str] = field(default_factory=list)
    others_work: bool = False

    def replaceable(self) -> frozenset[str]:
        return frozenset(self.found) if self.others_work else frozenset()

    def ill(self) -> dict[str, str]:
        return dict(self.found)

    def restart(self, name: str, _why: str) -> bool:
        self.restarted.append(name)
        return True


class World:
    """A guardian on a fake clock, over a real restart file."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.parts = Parts()
        self.parts.board.register(GUARDIAN, self.clock.monotonic(), deadline_s=8)
        self.file = RestartFile(folder / "restart.json", self.clock)
        self.told: list[Notice] = []
        self.reopened = 0
        self.restarts = 0
        self.guardian = Guardian(
            self.clock,
            cast("Monitor", self.parts),
            (cast("Supervisor", self.parts),),
            reopen_outbox=self.reopen,
            restarts=self.file,
            tell=self.told.append,
            restart_agent=self.restart,
        )

    async def reopen(self) -> bool:
        self.reopened += 1
        raise OutboxError("still no disk")

    def restart(self) -> None:
        self.restarts += 1

    async def looks(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """So many looks, a second apart."""
        left = count
        sleep = asyncio.sleep

        async def second(_s: float) -> None:
            nonlocal left
            left -= 1
            self.clock.advance(1.0)
            await sleep(0)
            if not left:
                raise asyncio.CancelledError

        with monkeypatch.context() as patched:
            patched.setattr(asyncio, "sleep", second)
            with pytest.raises(asyncio.CancelledError):
                await self.guardian.watch()


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_who_is_ill_in_one_look_only_is_left_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):  # the whole process was stopped, and goes on
        world.parts.found = {"nfc0": "silent", "uplink": "silent"}
        await world.looks(1, monkeypatch)
        world.parts.found = {}
        await world.looks(1, monkeypatch)
    assert (world.parts.restarted, world.told) == ([], [])
    assert world.parts.board.snapshot(world.clock.monotonic()).late == ()


async def test_a_hung_part_is_started_anew_told_once_and_at_last_the_agent_restarts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parts.found = {"nfc0": "no sign of life"}
    await world.looks(int(HEALS * HEAL_EVERY_S) + 2, monkeypatch)
    assert world.parts.restarted == ["nfc0"] * HEALS
    assert [(notice.code, notice.data) for notice in world.told] == [("part_hangs", {"part": "nfc0"})]
    assert world.restarts == 1
    kept = RestartFile(world.file._path, world.clock).before
    assert kept is not None
    assert (kept.code, kept.late) == ("part_hangs", ("nfc0",))


async def test_the_agent_stays_for_a_hung_reader_while_another_takes_taps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parts.found, world.parts.others_work = {"nfc0": "hangs"}, True
    await world.looks(int(HEALS * HEAL_EVERY_S) + 10, monkeypatch)
    assert world.parts.restarted == ["nfc0"] * HEALS
    assert (len(world.told), world.restarts) == (1, 0)


async def test_an_agent_that_restarted_too_often_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.file._recent = (int(world.clock.up),) * LIMIT_PER_HOUR
    world.parts.found = {"nfc0": "no sign of life"}
    await world.looks(40, monkeypatch)
    assert world.restarts == 0


async def test_without_the_monitor_nobody_else_is_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.parts.found = {"nfc0": "silent", MONITOR: "silent", "uplink": "silent"}
    await world.looks(3, monkeypatch)
    assert world.parts.restarted == [MONITOR]


async def test_an_outbox_whose_thread_ended_is_opened_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.parts.found = {OUTBOX: "the outbox is not open"}
    await world.looks(3, monkeypatch)
    assert (world.reopened, world.parts.restarted) == (1, [])


async def test_where_no_restart_can_be_counted_a_young_agent_stays_and_an_old_one_does_not(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "restart.json").mkdir()  # it cannot be replaced: as on a full or read-only disk
    world.parts.found = {"nfc0": "hangs"}
    until_given_up = int(HEAL_EVERY_S) * (HEALS + 2)
    await world.looks(until_given_up, monkeypatch)
    assert world.restarts == 0, "each new process would be as young, for ever"
    world.clock.advance(3600 / LIMIT_PER_HOUR)
    await world.looks(until_given_up, monkeypatch)
    assert world.restarts > 0

"""What a technician may ask of a running agent, and what he may not; whole agents are in tests/system."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import ControlError
from edge_agent.live.history import BUCKET_S
from edge_agent.live.history_file import HistoryFile
from edge_agent.live.steps import StepName
from edge_agent.models import StoredTap, Tap, TapFacts, TapMode
from edge_agent.ops import technician as technician_module
from edge_agent.ops.technician import MAX_FOLLOWERS, Technician
from edge_agent.outbox.base import OutboxStats
from edge_agent.trace import TapTimes
from edge_agent.uplink.wire import Result
from tests.fakes.waiting import eventually

CHAIN = b"chain-id"


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for news waits longer than any machine stops."""
    monkeypatch.setattr(technician_module, "MAX_WAIT_S", 100.0)


@pytest.fixture
def technician(tmp_path: Path) -> Technician:
    return Technician(FakeClock(), HistoryFile(tmp_path / "history"))


async def steps(technician: Technician, **request: Any) -> dict[str, Any]:
    return await technician.ops()["steps"]({"op": "steps", **request})


def committed(technician: Technician, seq: int, *, test: bool = False, mode: TapMode = TapMode.PHONE_APP) -> StoredTap:
    stored = StoredTap(chain=CHAIN, seq=seq, token=b"", exp=0, committed_at=1000.04)
    facts = TapFacts(mode=mode, reader="nfc0", nonce=b"n" * 8, seen_at=1000.0)
    technician.committed(Tap(facts, FakeClock().read(), 90, test=test), stored)
    return stored


async def test_whoever_asks_first_hears_from_now_on_and_then_each_step_once(technician: Technician) -> None:
    technician.steps.begin("nfc0", 1000.0)
    first = await steps(technician)
    assert (first["steps"], first["next"]) == ([], 1)
    technician.steps.begin("nfc0", 1001.0)
    second = await steps(technician, after=first["next"], run=first["run"])
    assert [step["n"] for step in second["steps"]] == [2]
    assert (await steps(technician, after=second["next"], run=first["run"]))["steps"] == []


@pytest.mark.usefixtures("_patient")
async def test_a_long_poll_ends_with_the_step_that_it_waits_for(technician: Technician) -> None:
    asked = asyncio.create_task(steps(technician, after=0, wait_s=100))
    await eventually(lambda: technician._waiting)
    technician.steps.begin("nfc0", 1000.0)
    assert [step["step"] for step in (await asked)["steps"]] == ["seen"]
    assert technician._waiting == set()


async def test_a_long_poll_without_news_ends_empty(technician: Technician) -> None:
    assert (await steps(technician, after=0, wait_s=0.01))["steps"] == []


@pytest.mark.usefixtures("_patient")
async def test_followers_are_bounded_and_the_others_are_answered_at_once(technician: Technician) -> None:
    tasks = [asyncio.create_task(steps(technician, after=0, wait_s=100)) for _ in range(MAX_FOLLOWERS)]
    await eventually(lambda: len(technician._waiting) == MAX_FOLLOWERS)
    async with asyncio.timeout(30):
        assert (await steps(technician, after=0, wait_s=100))["steps"] == []
    technician.steps.begin("nfc0", 1000.0)
    assert [len((await task)["steps"]) for task in tasks] == [1] * MAX_FOLLOWERS


async def test_steps_of_another_process_are_told_from_the_beginning_and_missed_ones_are_counted(
    technician: Technician,
) -> None:
    for _ in range(300):
        technician.steps.begin("nfc0", 1000.0)
    for wanted in ({"after": 7, "run": "another"}, {"after": 10_000}):
        told = await steps(technician, **wanted)
        assert (len(told["steps"]), told["missed"], told["next"]) == (256, 44, 300)


@pytest.mark.parametrize(
    "wrong", [{"after": -1}, {"after": "1"}, {"after": True}, {"wait_s": 5}, {"wait_s": -1}, {"wait_s": "x"}]
)
async def test_what_makes_no_sense_is_refused(technician: Technician, wrong: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        await steps(technician, **wrong)


async def test_what_becomes_of_a_tap_is_told_behind_its_token_and_passed_on(tmp_path: Path) -> None:
    heard: list[TapTimes] = []
    technician = Technician(FakeClock(), HistoryFile(tmp_path / "history"), heard.append)
    technician.steps.token(technician.steps.begin("nfc0", 1000.0), 1000.04, CHAIN, 1)
    times = TapTimes(CHAIN, 1, TapMode.PHONE_APP, "nfc0", seen=1000.0, committed=1000.04)
    for at in ({}, {"sent": 1000.05}, {"stored": 1000.06}):
        for name, value in at.items():
            setattr(times, name, value)
        technician.on_tap(times)
    assert len(heard) == 3
    assert [step.name for step in technician.steps.after(2)] == [StepName.SENT, StepName.STORED]


async def test_a_test_is_in_no_figure_and_what_the_cloud_says_of_it_is_for_no_passenger(technician: Technician) -> None:
    test, real = committed(technician, 1, test=True), committed(technician, 2)
    committed(technician, 3, mode=TapMode.TAG_READ)
    assert not technician.for_people(Result(test.cti, "accepted"))
    assert technician.for_people(Result(real.cti, "accepted"))
    told: Any = await technician.ops()["history"]({})
    assert told["all"]["taps"] == 2
    assert 35 < told["all"]["p50_ms"] < 45, "the read of a tag takes as long as the phone likes"


async def test_before_the_parts_are_there_nothing_is_simulated_and_nothing_is_looked_at(technician: Technician) -> None:
    with pytest.raises(ControlError):
        await technician.ops()["simulate-tap"]({})
    technician.look()


async def test_what_it_knows_is_kept_for_the_next_process_of_this_boot(tmp_path: Path) -> None:
    clock, file = FakeClock(), HistoryFile(tmp_path / "history")
    before = Technician(clock, file)
    committed(before, 1)
    before.keep()
    told: Any = await Technician(clock, file).ops()["history"]({})
    assert (told["all"]["taps"], told["all"]["starts"]) == (1, 2)


async def test_a_queue_of_which_the_outbox_says_nothing_more_is_not_told_for_ever(tmp_path: Path) -> None:
    clock = FakeClock()
    technician = Technician(clock, HistoryFile(tmp_path / "history"))
    parts: Any = SimpleNamespace(
        readers=(),
        surfaces=(),
        gate=SimpleNamespace(refused={}),
        bridge=SimpleNamespace(snapshot=list),
        uplink_up=lambda: False,
    )
    technician.attend(parts)
    technician.on_stats(OutboxStats(CHAIN, 8, pending=7, leased=0, sent=0, stored=0, parked=0, bytes_on_disk=0))
    technician.look()
    clock.advance(BUCKET_S)
    technician.look()
    told: Any = await technician.ops()["history"]({})
    assert [row[told["fields"].index("queue")] for row in told["rows"]] == [7, 0]

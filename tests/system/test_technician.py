"""A whole terminal as a technician sees it: each step of each phone, a tap without one, the day."""

import asyncio
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli.interactive import walk
from edge_agent.cli.main import main
from edge_agent.cli.render import Paper
from edge_agent.cloud.rewards import CampaignRewards, Reward
from edge_agent.control_client import ask
from edge_agent.errors import ControlError
from edge_agent.ops.technician import TESTS_AT_ONCE
from edge_agent.readers.service import ReaderState
from edge_agent.simulation.cards import type2_tag
from firmware_bridge.cues import CueName
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import WholeAgent, whole_agent, whole_path


async def asked(terminal: WholeAgent, **request: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, terminal.folder / "control.sock", request)


async def steps_through(
    terminal: WholeAgent, last: str, visit: int | None = None, cues: int = 0
) -> list[dict[str, Any]]:
    """All steps of the newest phone, once it has come as far as ``last``, with so many cues."""
    async with asyncio.timeout(15):
        while True:
            told = (await asked(terminal, op="steps", after=0))["steps"]
            newest = max((step["visit"] for step in told), default=0) if visit is None else visit
            found = [step for step in told if step["visit"] == newest]
            if last in names(found) and names(found).count("cue") >= cues:
                return found
            await asyncio.sleep(0.02)


def names(steps: list[dict[str, Any]]) -> list[str]:
    return [step["step"] for step in steps]


async def test_every_step_of_a_phone_is_told_from_the_field_to_the_cloud(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as path:
        await path.terminal.good_tap()
        await path.all_stored()
        steps = await steps_through(path.terminal, "stored", cues=1)
        # Cues and confirmations come beside the reader's own steps; their order among those is nobody's promise.
        assert [name for name in names(steps) if name not in {"cue", "sent", "stored"}] == [
            "seen",
            "ats",
            "answered",
            "nonce",
            "token",
            "delivered",
            "ended",
        ]
        assert {"sent", "stored"} < set(names(steps))
        # A cue that another one overtakes is never sent.
        assert {step["cue"] for step in steps if "cue" in step} <= {"reading", "thanks"}
        assert {step["screen"] for step in steps if "cue" in step} == {"serial0"}
        facts = {step["step"]: step for step in steps}
        assert (facts["seen"]["technology"], facts["seen"]["sak"], facts["seen"]["uid_bytes"]) == ("iso_dep", 0x20, 4)
        assert (facts["answered"]["sw"], facts["token"]["seq"], facts["ended"]["outcome"]) == ("9000", 1, "accepted")
        assert bytes.fromhex(facts["ats"]["ats"])[0] == len(bytes.fromhex(facts["ats"]["ats"]))


async def test_a_card_that_is_left_alone_tells_where_it_ended_and_no_uid(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        card = type2_tag(random.Random(7))
        await terminal.hold_until_done_with(card, patience_s=10)
        steps = await steps_through(terminal, "ended")
        assert names(steps) == ["seen", "ended"]
        assert (steps[0]["technology"], steps[0]["uid_bytes"], steps[1]["outcome"]) == ("plain", 7, "ignored")
        assert card.uid.hex() not in json.dumps(steps).lower()


async def test_a_simulated_tap_goes_the_whole_way_flagged_as_a_test_and_earns_nothing(tmp_path: Path) -> None:
    rewards = CampaignRewards({"c-1": Reward("Red packet", 188)})
    async with whole_path(tmp_path, rewards=rewards) as path:
        made = await asked(path.terminal, op="simulate-tap")
        await path.all_stored()
        steps = await steps_through(path.terminal, "stored", made["visit"])
        assert names(steps)[0] == "seen"
        assert steps[0]["technology"] == "simulated"
        await eventually(lambda: CueName.THANKS in path.terminal.cues)
        (row,) = path.rows
        assert row.seq == made["seq"]
        assert [text for _, _, text in path.terminal.display.cues if "Red packet" in text] == []
        await path.terminal.good_tap()  # the limits and the chain go on as if nothing had been
        await path.all_stored()
        await path.audit()
        assert path.terminal.reader.taps == 1


async def test_tests_are_bounded_and_take_nothing_from_the_limits_of_passengers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.ops.technician.TESTS_PER_MINUTE", 1)  # no other one while these are asked for
    async with whole_agent(tmp_path, limits__burst=1, limits__taps_per_minute=1) as terminal:
        for _ in range(TESTS_AT_ONCE):
            await asked(terminal, op="simulate-tap", reader="nfc0")
            terminal.agent.bridge.show(CueName.INVITE)
        with pytest.raises(ControlError, match="tests a minute"):
            await asked(terminal, op="simulate-tap")
        await terminal.good_tap()
        assert sum(terminal.agent._gate.refused.values()) == 0
        with pytest.raises(ControlError, match="no such reader"):
            await asked(terminal, op="simulate-tap", reader="nfc9")


async def test_while_a_phone_is_served_none_is_made(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        terminal.agent.bridge.show(CueName.READING)
        with pytest.raises(ControlError, match="a phone is being served"):
            await asked(terminal, op="simulate-tap")


async def test_the_day_survives_a_restart_of_the_agent(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        await terminal.restart()
        await terminal.good_tap()
        told = (await asked(terminal, op="history"))["all"]
        assert (told["taps"], told["starts"]) == (2, 2)
        assert told["p50_ms"] > 0


async def test_the_commands_follow_a_real_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with whole_path(tmp_path) as path:
        socket = str(tmp_path / "control.sock")
        await path.terminal.has_component("screens", "ok")
        await path.terminal.has_component("uplink", "ok")
        assert await asyncio.to_thread(main, ["tap", "simulate", "--socket", socket]) == 0
        assert await asyncio.to_thread(main, ["watch", "--once", "--socket", socket]) == 0
        page = ["report", "--no-doctor", "--socket", socket, "-o", str(tmp_path / "day.html")]
        assert await asyncio.to_thread(main, page) == 0
        out = capsys.readouterr().out
        assert "the cloud has stored it" in out
        assert "nfc0 test" in out
        assert "Takes taps, all is well" in (tmp_path / "day.html").read_text(encoding="utf-8")


async def test_somebody_holds_a_phone_and_is_told_what_is_seen(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as path:
        out = io.StringIO()
        walking = asyncio.create_task(asyncio.to_thread(walk, Paper(out, {}), tmp_path / "control.sock"))
        await eventually(lambda: "Hold a phone" in out.getvalue())
        await path.terminal.until(lambda: path.terminal.reader.state is ReaderState.POLLING)
        await path.terminal.good_tap()
        assert await walking == 0
        for word in ("field:", "ATS:", "AID ", "token:", "on serial0", "broker:", "ack:", "ALL IS WELL"):
            assert word in out.getvalue()

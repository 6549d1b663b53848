"""Story 6: the disk is full and stays "full" when space was freed. Ours refuses, serves on, and heals by itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.outbox import database
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from firmware_bridge.cues import CueName
from tests.fakes.whole_agent import WholeAgent, whole_agent

MIB = 1024 * 1024


async def refused_phone(terminal: WholeAgent) -> SimulatedPhone:
    """Tap until there is no page left inside of the file; returns the phone that got nothing."""
    for _ in range(20):
        phone = SimulatedPhone()
        await terminal.tap(phone, patience_s=1.0)
        if not phone.tokens:
            return phone
    raise AssertionError("a full disk took 20 taps")


async def test_a_full_disk_rests_the_screen_and_heals_without_a_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100 * MIB
    monkeypatch.setattr(database, "free_bytes", lambda _: free)
    async with whole_agent(tmp_path) as terminal:
        upkeep = terminal.agent.outbox._upkeep
        upkeep._settings = replace(upkeep._settings, probe_s=0.3)
        served = SimulatedPhone()
        nonce = served.nonce
        await terminal.tap(served)
        free = 64 * MIB  # the floor that is left to others
        upkeep.look_soon()
        refused = await refused_phone(terminal)
        assert terminal.reader.last_refusal.startswith("no space left")
        part = await terminal.has_component("outbox", "degraded")
        assert "full" in part["detail"] or "space" in part["detail"]
        await terminal.until(lambda: terminal.agent.bridge.current == CueName.RESTING)

        served.app.nonce = nonce  # as if it had been moved away too soon
        await terminal.tap(served)
        assert len(served.tokens) == 2, "a phone whose tap was kept is served again, whatever the disk does"
        assert len(set(served.tokens)) == 1, "with the same token"
        kept = (await terminal.agent.outbox.stats()).next_seq - 1
        assert len(await terminal.issued()) == kept, "nothing undelivered was given up"

        free = 100 * MIB
        await terminal.until(lambda: terminal.agent.bridge.current == CueName.INVITE)
        await terminal.has_component("outbox", "ok")
        await terminal.tap(refused)
        (token,) = refused.tokens
        assert parse(token).claims.seq == kept + 1, "no seq was used up by what was refused"

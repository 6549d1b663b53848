"""Story 6: the disk is full and stays "full" when space was freed. Ours refuses, serves on, and heals by itself."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.outbox import database, patient
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.tokens.tap_token import parse
from edge_agent.uplink.base import Received
from edge_agent.uplink.wire import Alarm, State, Topics
from firmware_bridge.cues import CueName
from tests.fakes.mqtt_probe import Probe
from tests.fakes.small_disks import read_only, tmpfs
from tests.fakes.uplink_terminal import link_settings
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, whole_agent, whole_path

MIB = 1024 * 1024


def fill(ballast: Path) -> None:
    """Take all that is free."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1024)):
            pass


async def refused_phone(terminal: WholeAgent) -> SimulatedPhone:
    """Tap until there is no page left inside of the file; returns the phone that got nothing."""
    for _ in range(20):
        phone = SimulatedPhone()
        await terminal.hold_until_done_with(phone)
        if not phone.tokens:
            return phone
    raise AssertionError("a full disk took 20 taps")


async def test_a_full_disk_rests_the_screen_and_heals_without_a_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100 * MIB
    monkeypatch.setattr(database, "free_bytes", lambda _: free)
    async with whole_agent(tmp_path) as terminal:
        upkeep = terminal.agent.outbox.store._upkeep
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


@pytest.mark.system
@pytest.mark.parametrize("how", ["full", "read_only"])
async def test_an_agent_starts_on_a_full_or_read_only_disk_says_so_and_heals_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(patient, "TRY_EVERY_S", 0.2)
    topics = Topics(FLEET, TERMINAL)
    with tmpfs(tmp_path / "disk", "300k") as disk:
        settings = {"outbox__path": disk / "outbox.db", "outbox__min_free_mb": 0}
        async with whole_path(tmp_path, **settings) as path:
            terminal = path.terminal
            first = parse(await terminal.good_tap()).claims
            await path.all_stored()
            await terminal.stop()
            (disk / "ballast").touch()
            if how == "full":
                fill(disk / "ballast")
            else:
                read_only(disk, on=True)
            probe = Probe(link_settings(path.port, client_id="observer"))
            await probe.up(topics.state, topics.evt_alarm)
            await terminal.start()
            await terminal.until(lambda: terminal.agent.bridge.current == CueName.RESTING)
            phone = SimulatedPhone()
            await terminal.hold_until_done_with(phone)
            assert phone.tokens == []
            await terminal.connected()
            part = await terminal.has_component("outbox", "degraded")
            assert how in part["detail"]
            await eventually(lambda: probe.payloads(topics.evt_alarm))
            assert Alarm.decode(probe.payloads(topics.evt_alarm)[0]).code == f"outbox_{how}"

            if how == "full":
                (disk / "ballast").unlink()
            else:
                read_only(disk, on=False)
            await terminal.until(lambda: terminal.agent.bridge.current == CueName.INVITE)
            await terminal.tap(phone)
            claims = parse(phone.tokens[0]).claims
            assert (claims.chain, claims.seq) == (first.chain, first.seq + 1), "no row was lost, no seq used up"
            await path.all_stored()
            await eventually(lambda: State.decode(probe.payloads(topics.state)[-1]).chain == first.chain)
            assert not [
                one for one in probe.of(Received) if one.topic == topics.evt_alarm and b"identity" in one.payload
            ]
            await probe.link.close()

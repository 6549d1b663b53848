"""Story 18: BLE that is stuck in progress for hours. Ours cuts each attempt off, and the other screens show the taps.

The whole agent with two screens: one on a serial line, one behind the real bleak and a fake bluetoothd.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.app import Agent
from firmware_bridge.cues import CueName
from firmware_bridge.links.ble import BleLink
from firmware_bridge.links.nus import Timeouts
from tests.conftest import require_system
from tests.fakes.bluez import FakeBluez, Faults, PrivateBus
from tests.fakes.whole_agent import WholeAgent

BLE_SCREEN = '\n[[screens]]\ndriver = "ble"\naddress = "{address}"\n'
QUICK = replace(Timeouts(), connect_s=0.1, tidy_s=0.05)


class Lift(WholeAgent):
    """A terminal that is less patient with its BLE screen than outside."""

    def built(self, agent: Agent) -> None:
        for entry in agent.bridge._links.values():
            if isinstance(entry.link, BleLink):
                entry.link._timeouts = QUICK

    async def screen(self, kind: str) -> dict[str, Any]:
        """What the status says of a screen."""
        return next(screen for screen in (await self.status())["screens"] if screen["kind"] == kind)


@pytest.fixture
async def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateBus]:
    require_system("dbus-daemon")
    monkeypatch.setattr("firmware_bridge.bridge.RETRY_BASE_S", 0.01)
    monkeypatch.setattr("firmware_bridge.bridge.RETRY_CAP_S", 0.02)
    folder = tmp_path / "bus"
    folder.mkdir()
    bus = PrivateBus(folder)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    yield bus
    bus.close()


@pytest.fixture
async def bluez(bus: PrivateBus) -> AsyncIterator[FakeBluez]:
    bluez = FakeBluez(bus.address)
    yield bluez
    await bluez.crash()


@pytest.fixture
async def lift(tmp_path: Path, bluez: FakeBluez) -> AsyncIterator[Lift]:
    """Not yet started."""
    terminal = Lift(tmp_path, screens=[BLE_SCREEN.format(address=bluez.screen.address)])
    with terminal.emulator, terminal.display:
        yield terminal
        await terminal.stop()


async def taps_are_served(lift: Lift) -> None:
    """A person taps and sees it on the serial screen."""
    before = len(lift.cues)
    await lift.good_tap()
    await lift.until(lambda: lift.showed_tap(before, CueName.THANKS))


async def ble_shows_a_tap(lift: Lift, bluez: FakeBluez) -> None:
    await lift.until(lambda: bluez.screen.cues, deadline_s=40)
    await lift.good_tap()
    await lift.until(lambda: CueName.THANKS in bluez.screen.cues)
    screen = await lift.screen("ble")
    assert screen["state"] == "up"
    assert screen["detail"].startswith(f"{bluez.screen.address}, ")


@pytest.mark.parametrize(("stuck", "times"), [("in-progress", 50), ("never", 20)])
async def test_taps_are_taken_while_ble_is_stuck_and_it_comes_back_by_itself(
    lift: Lift, bluez: FakeBluez, bus: PrivateBus, stuck: str, times: int
) -> None:
    bluez.faults.connect = stuck
    await bluez.start()
    await lift.start()
    await lift.until(lambda: bluez.screen.connects > 2)
    await taps_are_served(lift)
    connections, tasks = await bus.connections(), len(asyncio.all_tasks())

    attempts = bluez.screen.connects
    await lift.until(lambda: bluez.screen.connects > attempts + times, deadline_s=60)
    await taps_are_served(lift)
    # What an attempt has open, another one may have now: its own connection and one question to bluetoothd.
    assert await bus.connections() <= connections + 2 <= 6
    assert len(asyncio.all_tasks()) <= tasks + 8
    screen = await lift.screen("ble")
    assert screen["state"] == "down"
    assert "connecting: " in screen["detail"]
    assert (await lift.screen("serial"))["state"] == "up"

    bluez.faults = Faults()
    await ble_shows_a_tap(lift, bluez)


async def test_a_device_that_is_stale_in_bluetoothd_is_healed_without_anybodys_help(
    lift: Lift, bluez: FakeBluez
) -> None:
    bluez.faults.stale = True
    await bluez.start()
    await lift.start()
    await ble_shows_a_tap(lift, bluez)
    assert bluez.calls.count("RemoveDevice") >= 1


async def test_bluetooth_that_is_missing_at_the_start_and_dies_later_costs_no_tap(lift: Lift, bluez: FakeBluez) -> None:
    await lift.start()
    await taps_are_served(lift)
    await bluez.start()
    await ble_shows_a_tap(lift, bluez)
    await bluez.crash()
    await taps_are_served(lift)
    bluez.restart_mcu()
    bluez.screen.shown.clear()
    await bluez.start()
    await ble_shows_a_tap(lift, bluez)

"""Whatever goes wrong with Bluetooth, in whatever order: the bridge goes on, nothing grows, and all heals by itself."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkState
from firmware_bridge.links.ble import BleLink
from firmware_bridge.links.nus import Timeouts
from tests.conftest import require_system
from tests.fakes.bluez import FakeBluez, Faults, Screen, bluetooth
from tests.fakes.waiting import eventually

QUICK = Timeouts(scan_s=0.3, same_name_s=0.0, connect_s=0.2, ask_s=0.3, write_s=0.2, leave_s=0.2, tidy_s=0.05)
FAULTS = [
    {},
    {"connect": "never"},
    {"connect": "in-progress"},
    {"connect": "abort"},
    {"failing_connects": 2},
    {"stale": True},
    {"scan": "never"},
    {"hidden": True},
    {"unresolved": True},
    {"subscribe_never": True},
    {"write_never": True},
    {"disconnect_never": True},
    {"mute": True},
    {"denied": True},
]


async def something_happens(bluez: FakeBluez, chance: random.Random) -> None:
    """To a screen, to the adapter, to bluetoothd."""
    match chance.randrange(6):
        case 0:
            bluez.drop(chance.choice(bluez.screens))
        case 1:
            bluez.power(on=not bluez.powered)
        case 2:
            await bluez.crash()
            await asyncio.sleep(chance.random() * 0.2)
            await bluez.start()
        case 3:
            bluez.restart_mcu()
        case _:
            merged = chance.choice(FAULTS) | chance.choice(FAULTS)
            bluez.faults = replace(Faults(), **merged)


@pytest.mark.system
@pytest.mark.usefixtures("long_cues")
@pytest.mark.parametrize(("seed", "times"), [(1, 8), pytest.param(2, 300, marks=pytest.mark.proof)])
@pytest.mark.timeout(900)
async def test_whatever_happens_both_screens_are_back_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, times: int
) -> None:
    require_system("dbus-daemon")
    monkeypatch.setattr("firmware_bridge.bridge.RETRY_CAP_S", 0.05)
    chance = random.Random(seed)
    async with bluetooth(tmp_path, Screen("left"), Screen("right", mtu=23)) as (bluez, bus):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        links = [BleLink(name, name, terminal_id="sh-1", timeouts=QUICK) for name in ("left", "right")]
        bridge = Bridge(links, terminal_id="sh-1")
        running = asyncio.create_task(bridge.run())
        most_tasks = most_connections = 0
        for number in range(times):
            await something_happens(bluez, chance)
            bridge.show(chance.choice([CueName.READING, CueName.THANKS, CueName.RETRY]), text=f"{number}")
            await asyncio.sleep(chance.random() * 0.5)
            most_tasks = max(most_tasks, len(asyncio.all_tasks()))
            most_connections = max(most_connections, await bus.connections())
        # Each link may have a connection, a question and one that is just being closed; bleak's and bluetoothd's.
        assert most_connections <= 10
        assert most_tasks <= 30
        bluez.faults = Faults()
        if not bluez.powered:
            bluez.power(on=True)
        for link in links:
            link._timeouts = replace(QUICK, scan_s=5, connect_s=5, ask_s=5, write_s=5)  # a loaded machine has time
        await eventually(lambda: all(link.state is LinkState.UP for link in bridge.snapshot()), deadline_s=60)
        bridge.show(CueName.THANKS, text="at last")
        await eventually(lambda: all(screen.session.showing.text == "at last" for screen in bluez.screens))
        assert not running.done()
        assert all(link.figures.crashes == 0 for link in bridge.snapshot())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.has_connections(2)

"""``play`` and ``status`` over Bluetooth LE: the commands as processes, a fake bluetoothd on a private D-Bus."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from firmware_bridge.cues import CueName
from firmware_bridge.device import DeviceSession
from firmware_bridge.messages import Capability, McuHello
from tests.conftest import require_system
from tests.fakes.bluez import PrivateBus, Screen, bluetooth
from tests.fakes.bridge_command import COMMAND

pytestmark = pytest.mark.system


async def command(bus: PrivateBus, *arguments: str) -> tuple[int | None, str, str]:
    """Run one command; return its exit status and what it said on stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": bus.address},
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode(), err.decode()


async def test_play_and_status_reach_a_display_over_the_air(tmp_path: Path) -> None:
    require_system("dbus-daemon")
    hello = McuHello((1, 4, 2), Capability.TEXT, "LX-7")
    screen = Screen(session=DeviceSession(hello))
    async with bluetooth(tmp_path, screen) as (_, bus):
        # It is still shown when the second command has come up, however long that takes.
        words = ["--text", "a coupon", "--amount", "¥2.00", "--ttl", "60000"]
        played = await command(bus, "play", "thanks", "--ble", screen.name, *words)
        asked = await command(bus, "status", "--ble", screen.address, "--json")
        assert not screen.connected
    status, said, complained = played
    assert (status, complained) == (0, "")
    assert said.startswith("MCU answers: LX-7 1.4.2\nconfirmed: thanks after ")
    assert {(shown.cue, shown.text) for shown in screen.shown if not shown.static} == {
        (CueName.THANKS, "¥2.00\na coupon")
    }
    status, said, complained = asked
    assert (status, complained) == (0, "")
    told = json.loads(said)
    assert (told["target"], told["serial"], told["cue"], told["healthy"]) == (screen.address, "LX-7", "thanks", True)


async def test_where_no_bluetoothd_runs_one_line_says_what_to_do(tmp_path: Path) -> None:
    require_system("dbus-daemon")
    bus = PrivateBus(tmp_path)
    try:
        status, said, complained = await command(bus, "status", "--ble", "TAP-MCU")
    finally:
        bus.close()
    assert (status, said) == (1, "")
    assert complained.startswith("firmware-bridge: TAP-MCU: ")
    assert "systemctl enable --now bluetooth" in complained
    assert len(complained.splitlines()) == 1

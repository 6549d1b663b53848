"""The BLE link: the real bleak over a private D-Bus, a fake bluetoothd, and the real MCU's end behind it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.device import DeviceSession
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.ble import BleLink
from firmware_bridge.links.nus import Timeouts
from firmware_bridge.messages import AskStatus, Capability, McuEvent, McuHello, Status
from firmware_bridge.protocol import Ask, Shown, Told
from tests.conftest import require_system
from tests.fakes.bluez import FakeBluez, PrivateBus, Screen
from tests.fakes.link_recorder import LinkRecorder
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

QUICK = Timeouts(scan_s=0.4, same_name_s=0.1, connect_s=0.4, ask_s=0.4, write_s=0.4, tidy_s=0.1)
# Where nothing is to be cut off, a loaded machine has all the time it needs.
PATIENT = Timeouts(scan_s=20, same_name_s=0.2, connect_s=20, ask_s=20, write_s=20)


class Site:
    """The bus and what is on it."""

    def __init__(self, folder: Path) -> None:
        self.bus = PrivateBus(folder)
        self.bluez = FakeBluez(self.bus.address)

    async def with_screens(self, *screens: Screen) -> FakeBluez:
        self.bluez = FakeBluez(self.bus.address, *screens)
        await self.bluez.start()
        return self.bluez

    def link(self, target: str = "TAP-MCU", timeouts: Timeouts = PATIENT, adapter: str | None = None) -> BleLink:
        return BleLink("door", target, terminal_id="sh-1", adapter=adapter, timeouts=timeouts)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    require_system("dbus-daemon")
    site = Site(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", site.bus.address)
    yield site
    await site.bluez.crash()
    site.bus.close()


@asynccontextmanager
async def serving(link: BleLink) -> AsyncIterator[tuple[LinkRecorder, asyncio.Task[None]]]:
    recorder = LinkRecorder()
    task = asyncio.create_task(link.serve(recorder))
    try:
        yield recorder, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def failure(link: BleLink) -> LinkError:
    """What one attempt ends with."""
    async with asyncio.timeout(30):
        with pytest.raises(LinkError) as caught:
            await link.serve(LinkRecorder())
    return caught.value


async def test_a_cue_reaches_the_mcu_and_is_confirmed(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with serving(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        assert bluez.screen.session.greeted_by == "sh-1"
        before = time.monotonic()
        link.show(Cue(CueName.THANKS, "coupon", "¥2.00", ttl_ms=3500))
        await eventually(lambda: recorder.events)
        name, cue, at = recorder.wire[-1]
        assert (name, cue) == ("door", CueName.THANKS)
        assert before <= at <= time.monotonic()
        (shown,) = recorder.events
        assert isinstance(shown, Shown)
        assert bluez.screen.shown[-1].text == "¥2.00\ncoupon"
        assert link.detail.startswith(f"TAP-MCU, {bluez.screen.address} on hci0, -")
    await eventually(lambda: not bluez.screen.connected)

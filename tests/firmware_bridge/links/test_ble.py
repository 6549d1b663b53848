"""The BLE link: the real bleak over a private D-Bus, a fake bluetoothd, and the real MCU's end behind it."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
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
from tests.fakes.bluez import FakeBluez, Faults, PrivateBus, Screen
from tests.fakes.link_recorder import LinkRecorder, recorded
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.system

# Where nothing is to be cut off, a loaded machine has all the time it needs.
PATIENT = Timeouts(scan_s=20, same_name_s=0.05, connect_s=20, ask_s=20, write_s=20, leave_s=0.3)


def quick_where_it_hangs(bluez: FakeBluez, **quick: float) -> Timeouts:
    """PATIENT with some times that are short; a question only when bluetoothd has the one before that which hangs.

    Connecting to the bus and what else is asked has all the time that a loaded machine needs.
    """

    class Hanging(Timeouts):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            if name == "ask_s" and "ask_s" in quick:
                begun = "Connect" if bluez.faults.subscribe_never else "GetManagedObjects"
                over = "StartNotify" if bluez.faults.subscribe_never else "StartDiscovery"
                return quick["ask_s"] if begun in bluez.calls and over not in bluez.calls else PATIENT.ask_s
            return super().__getattribute__(name)

    return Hanging(**{**asdict(PATIENT), "tidy_s": 0.1, **quick})


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


async def failure(link: BleLink) -> LinkError:
    """What one attempt ends with."""
    async with asyncio.timeout(30):
        with pytest.raises(LinkError) as caught:
            await link.serve(LinkRecorder())
    return caught.value


@pytest.mark.usefixtures("patient_host")
async def test_a_cue_reaches_the_mcu_and_is_confirmed(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with recorded(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        assert bluez.screen.session.greeted_by == "sh-1"
        before = time.monotonic()
        link.show(Cue(CueName.THANKS, "coupon", "¥2.00", ttl_ms=60_000))
        await eventually(lambda: recorder.events)
        name, cue, at = recorder.wire[-1]
        assert (name, cue) == ("door", CueName.THANKS)
        assert before <= at <= time.monotonic()
        (shown,) = recorder.events
        assert isinstance(shown, Shown)
        assert bluez.screen.shown[-1].text == "¥2.00\ncoupon"
        assert link.detail.startswith(f"TAP-MCU, {bluez.screen.address} on hci0, -")
    await eventually(lambda: not bluez.screen.connected)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def up(link: BleLink) -> LinkRecorder:
    """Serve as a bridge does, attempt after attempt, until the screen answers; then leave it."""
    async with asyncio.timeout(60):
        while True:
            async with recorded(link) as (recorder, task):
                await eventually(lambda: recorder.ups or task.done(), deadline_s=30)
                if recorder.ups:
                    return recorder


@pytest.mark.usefixtures("patient_host")
async def test_what_the_mcu_tells_arrives(site: Site) -> None:
    bluez = await site.with_screens(Screen(session=DeviceSession(McuHello((2, 0, 1), Capability.NONE, "A\x1b[31m\n"))))
    link = site.link()
    async with recorded(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        assert recorder.ups == ["A?[31m? 2.0.1"]
        bluez.raise_event(McuEvent(1, b"\x01"))
        link.ask(Ask(AskStatus()))

        def told() -> list[Status | McuEvent]:
            return [event.message for event in recorder.events if isinstance(event, Told)]

        # A question that a loaded machine repeats is answered twice.
        await eventually(lambda: {type(message) for message in told()} == {Status, McuEvent})
        assert [message for message in told() if isinstance(message, McuEvent)] == [McuEvent(1, b"\x01")]
        assert link.heard_at is not None
    assert link.heard_at is None


@pytest.mark.usefixtures("patient_host")
async def test_the_newest_cue_of_before_is_shown_on_connecting(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    link.show(Cue(CueName.INVITE, ttl_ms=60_000))
    link.show(Cue(CueName.FAULT, "reader", ttl_ms=60_000))
    async with recorded(link):
        await eventually(lambda: bluez.screen.cues)
    assert bluez.screen.cues == [CueName.FAULT]


@pytest.mark.usefixtures("patient_host")
@pytest.mark.parametrize(("mtu", "largest"), [(23, 20), (None, 20), (27, 24), (185, 100)])
async def test_no_piece_is_larger_than_the_mtu_allows(site: Site, mtu: int | None, largest: int) -> None:
    bluez = await site.with_screens(Screen(mtu=mtu))
    link = site.link()
    async with recorded(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        for number in range(5):
            link.show(
                Cue(
                    CueName.THANKS, f"{number} of sixty-four bytes of text, which is all that fits a cue", ttl_ms=60_000
                )
            )
            await eventually(lambda number=number: len(recorder.events) == number + 1)
    assert [display.text[0] for display in bluez.screen.shown[-5:]] == list("01234")
    assert max(bluez.screen.pieces) <= largest
    assert bluez.screen.session.decoder.errors == 0


async def test_it_is_found_by_its_address_in_any_case(site: Site) -> None:
    bluez = await site.with_screens(Screen(), Screen(), Screen("other"))
    link = site.link(bluez.screens[1].address.lower())
    async with recorded(link) as (recorder, _):
        await eventually(lambda: recorder.ups)
        assert bluez.screens[1].session.greeted_by == "sh-1"
    assert [screen.connects for screen in bluez.screens] == [0, 1, 0]


async def test_of_two_screens_with_one_name_none_is_taken(site: Site) -> None:
    bluez = await site.with_screens(Screen(), Screen(), Screen("other"))
    error = await failure(site.link())
    assert error.fault is LinkFault.BUSY
    first, second = sorted(screen.address for screen in bluez.screens[:2])
    assert error.text == f"TAP-MCU: 2 devices have this name, configure the address: {first}, {second}"
    assert [screen.connects for screen in bluez.screens] == [0, 0, 0]


async def test_one_that_stayed_connected_when_its_agent_was_killed_is_taken_over(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    bluez.hold_connected()
    await up(site.link())
    assert "StartDiscovery" not in bluez.calls
    assert bluez.screen.connects == 0


async def test_only_one_process_drives_a_screen(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(f"\0firmware-bridge/ble/{bluez.screen.address}")
        error = await failure(site.link())
        assert error.fault is LinkFault.BUSY
        assert error.text == "TAP-MCU: another process drives this screen: the agent, or a firmware-bridge command"
        assert bluez.screen.connects == 0
        assert "RemoveDevice" not in bluez.calls
    await up(site.link())


@pytest.mark.parametrize(
    ("fault", "quick", "kind", "text"),
    [
        ({"connect": "never"}, {"connect_s": 0.3}, LinkFault.NO_ANSWER, "connecting: cut off after 0.3 s"),
        ({"connect": "abort"}, {"connect_s": 0.3}, LinkFault.NO_ANSWER, "connecting: cut off after 0.3 s"),
        (
            {"connect": "in-progress"},
            {},
            LinkFault.BUSY,
            "connecting: bluetoothd is still at an earlier attempt, which is cut off now (Operation already in progr",
        ),
        ({"failing_connects": 1}, {}, LinkFault.IO, "connecting: Software caused connection abort"),
        ({"unresolved": True}, {"connect_s": 0.3}, LinkFault.NO_ANSWER, "connecting: cut off after 0.3 s"),
        ({"subscribe_never": True}, {"ask_s": 0.5}, LinkFault.NO_ANSWER, "subscribing: cut off after 0.5 s"),
        ({"write_never": True}, {"write_s": 0.3}, LinkFault.NO_ANSWER, "writing: cut off after 0.3 s"),
        ({"mute": True}, {}, LinkFault.NO_ANSWER, "no answer for 3 s"),
        (
            {"denied": True},
            {},
            LinkFault.NO_PERMISSION,
            "subscribing: the screen asks for pairing; its firmware must not",
        ),
        ({"scan": "never"}, {"ask_s": 0.5}, LinkFault.NO_ANSWER, "scanning: cut off after 0.5 s"),
        ({"hidden": True}, {"scan_s": 0.3}, LinkFault.NOT_FOUND, "not found in 0.3 s: is it on, in reach, and"),
    ],
    ids=lambda value: "-".join(map(str, *value.items())) if isinstance(value, dict) and len(value) == 1 else "",
)
async def test_what_fails_is_cut_off_and_said_and_heals_by_itself(
    site: Site, fault: dict[str, object], quick: dict[str, float], kind: LinkFault, text: str
) -> None:
    bluez = await site.with_screens(Screen())
    for name, value in fault.items():
        setattr(bluez.faults, name, value)
    link = site.link(timeouts=quick_where_it_hangs(bluez, **quick))
    error = await failure(link)
    assert (error.fault, error.text[: len(f"TAP-MCU: {text}")]) == (kind, f"TAP-MCU: {text}")
    await eventually(lambda: not bluez.scanning)
    await eventually(lambda: not any(screen.connected or screen.connecting for screen in bluez.screens))
    bluez.faults = Faults()
    await up(site.link())


async def test_a_stale_device_is_removed_so_that_the_next_attempt_connects(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    bluez.faults.stale = True
    error = await failure(site.link(timeouts=replace(PATIENT, connect_s=0.3, tidy_s=0.1)))
    assert error.fault is LinkFault.NO_ANSWER
    assert "RemoveDevice" in bluez.calls
    await up(site.link())


async def test_a_device_that_somebody_paired_is_never_removed(site: Site) -> None:
    bluez = await site.with_screens(Screen(paired=True))
    for fault in ({"failing_connects": 1}, {"hidden": True}):
        bluez.faults = Faults(**fault)
        await failure(site.link(timeouts=replace(PATIENT, scan_s=0.5)))
    assert "RemoveDevice" not in bluez.calls


async def test_a_device_that_only_went_away_is_not_removed(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with recorded(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        bluez.drop()
        await eventually(task.done)
        with pytest.raises(LinkError) as caught:
            await task
    assert caught.value.fault is LinkFault.UNPLUGGED
    assert caught.value.text == "TAP-MCU: disconnected: out of reach, switched off or restarted"
    assert "RemoveDevice" not in bluez.calls
    await up(link)


async def test_a_device_that_goes_away_before_it_ever_answered_is_removed(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    bluez.faults.mute = True
    async with recorded(site.link()) as (_, task):
        await eventually(lambda: "WriteValue" in bluez.calls)
        bluez.drop()
        await eventually(task.done)
    assert "RemoveDevice" in bluez.calls


@pytest.mark.parametrize("member", ["Connect", "StartNotify", "WriteValue"])
async def test_a_connection_that_is_lost_at_any_moment_is_made_again(site: Site, member: str) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with recorded(link) as (_, task):
        await eventually(lambda: member in bluez.calls)
        bluez.drop()
        await eventually(task.done)
        assert isinstance(task.exception(), LinkError)
    await up(link)


async def test_an_adapter_that_is_off_is_said_and_used_when_it_is_on(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with recorded(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        bluez.power(on=False)
        await eventually(task.done)
    error = await failure(link)
    assert error.fault is LinkFault.NOT_FOUND
    assert error.text == "TAP-MCU: the Bluetooth adapter hci0 is off: rfkill unblock bluetooth, bluetoothctl power on"
    bluez.power(on=True)
    await up(link)


async def test_a_bluetoothd_that_crashed_is_said_and_used_when_it_is_back(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link()
    async with recorded(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        await bluez.crash()
        await eventually(task.done)
        assert isinstance(task.exception(), LinkError)
    error = await failure(link)
    assert error.fault is LinkFault.NOT_FOUND
    assert error.text.startswith(
        "TAP-MCU: bluetoothd does not run: apt install bluez, systemctl enable --now bluetooth"
    )
    await bluez.start()
    await up(link)


async def test_nothing_is_believed_that_was_true_before_bluetoothd_crashed(site: Site) -> None:
    bluez = await site.with_screens(Screen(paired=True))
    link = site.link()
    async with recorded(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        await bluez.crash()
        bluez.screen.service = "service0020"
        await bluez.start()
        await eventually(task.done)
    async with recorded(link) as (recorder, _):
        await eventually(lambda: recorder.ups)


@pytest.mark.usefixtures("patient_host")
async def test_two_screens_at_one_adapter_are_scanned_for_one_after_the_other(site: Site) -> None:
    bluez = await site.with_screens(Screen("left"), Screen("right"))
    async with recorded(site.link("left")) as (left, _), recorded(site.link("right")) as (right, _):
        await eventually(lambda: left.ups and right.ups)
        assert all(screen.connected for screen in bluez.screens)


async def test_other_ways_to_have_no_adapter_are_said(site: Site) -> None:
    error = await failure(site.link())
    assert error.text.startswith("TAP-MCU: bluetoothd does not run")
    bluez = await site.with_screens(Screen())
    error = await failure(site.link(adapter="hci7"))
    assert error.text == "TAP-MCU: no Bluetooth adapter hci7, there is hci0"
    await bluez.crash()
    bluez.adapters = ()
    await bluez.start()
    error = await failure(site.link())
    assert error.text.startswith("TAP-MCU: no Bluetooth adapter: is it plugged in")


async def test_a_user_who_may_not_speak_to_bluetoothd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_system("dbus-daemon")
    bus = PrivateBus(tmp_path, deny=True)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    bluez = FakeBluez(bus.address)
    try:
        await bluez.start()
        error = await failure(BleLink("door", "TAP-MCU", terminal_id="sh-1"))
    finally:
        await bluez.crash()
        bus.close()
    assert error.fault is LinkFault.NO_PERMISSION
    assert error.text.startswith("TAP-MCU: this user may not speak to bluetoothd: add it to the group bluetooth")


async def test_a_machine_without_a_bus_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    error = await failure(BleLink("door", "A\x1bB", terminal_id="sh-1"))
    assert error.text.startswith("A?B: no D-Bus system bus (No such file or directory): systemctl start dbus")


async def test_a_bus_that_says_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/mute")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        link = BleLink("door", "TAP-MCU", terminal_id="sh-1", timeouts=replace(PATIENT, ask_s=0.2, tidy_s=0.1))
        error = await failure(link)
    assert error.fault is LinkFault.NO_ANSWER
    assert error.text == "TAP-MCU: the D-Bus system bus does not answer: systemctl status dbus"


async def test_no_program_is_run_to_ask_for_the_version(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bluetoothctl"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    await site.with_screens(Screen())
    await up(site.link())
    assert not (tmp_path / "run").exists()


async def test_a_device_without_the_service_is_no_screen(site: Site) -> None:
    await site.with_screens(Screen(nus=False))
    error = await failure(site.link())
    assert error.text == "TAP-MCU: no Nordic UART Service: this is no screen, or has another firmware"


@pytest.mark.usefixtures("patient_host")
async def test_while_a_write_hangs_only_the_newest_cue_waits(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    timeouts = replace(PATIENT)
    link = site.link(timeouts=timeouts)
    async with recorded(link) as (recorder, task):
        await eventually(lambda: recorder.ups)
        bluez.faults.write_never = True
        object.__setattr__(timeouts, "write_s", 0.5)  # from now on
        for number in range(1000):
            link.show(Cue(CueName.READING, str(number), ttl_ms=60_000))
        talk = link._talk
        assert talk is not None
        assert len(talk._unsent) <= 9
        await eventually(task.done)
    object.__setattr__(timeouts, "write_s", PATIENT.write_s)
    bluez.faults = Faults()
    bluez.restart_mcu()
    before = len(bluez.screen.shown)
    async with recorded(link):
        await eventually(lambda: len(bluez.screen.shown) > before)
    assert bluez.screen.shown[before].text == "999"


@pytest.mark.parametrize("fault", [{"connect": "never"}, {"connect": "never", "disconnect_never": True}])
async def test_the_end_waits_for_nothing_that_hangs(site: Site, fault: dict[str, object]) -> None:
    bluez = await site.with_screens(Screen())
    bluez.faults = Faults(**fault)
    task = asyncio.create_task(site.link(timeouts=replace(PATIENT, tidy_s=0.1)).serve(LinkRecorder()))
    await eventually(lambda: "Connect" in bluez.calls)
    task.cancel()
    await eventually(task.done)  # PATIENT alone would wait for 20 s
    assert task.cancelled()


async def test_a_disconnection_that_never_ends_is_cut_off(site: Site) -> None:
    bluez = await site.with_screens(Screen())
    bluez.faults.disconnect_never = True
    async with recorded(site.link(timeouts=replace(PATIENT, leave_s=0.5, tidy_s=0.1))) as (recorder, task):
        await eventually(lambda: recorder.ups)
        task.cancel()
        await eventually(task.done)


async def test_fifty_attempts_leave_nothing_behind(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    bluez = await site.with_screens(Screen())
    link = site.link(timeouts=replace(PATIENT, connect_s=0.05, tidy_s=0.02, same_name_s=0.0))
    faults = [{"connect": "never"}, {"connect": "in-progress"}, {"unresolved": True}, {"failing_connects": 1}]

    async def fail() -> None:
        for fault in faults:
            bluez.faults = Faults(**fault)
            await failure(link)

    await fail()
    await site.bus.has_connections(2)  # bluetoothd's, and bleak's for the whole process
    tasks, descriptors = len(asyncio.all_tasks()), open_descriptors()
    for _ in range(13):
        await fail()
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
    await site.bus.has_connections(2)
    await eventually(lambda: open_descriptors() <= descriptors)
    assert caplog.text == ""  # a bridge tells the first failure, and nobody the rest
    bluez.faults = Faults()
    await up(site.link())

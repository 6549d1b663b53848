"""The firmware in C at the real host: as a process behind a pty, and in an emulated Cortex-M3 over its UART."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links.base import LinkEvent, LinkState
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.messages import AskStatus, Level, McuEvent, Reset, Status
from firmware_bridge.protocol import Ask, Shown, Told, Want
from tests.fakes.link_recorder import LinkRecorder
from tests.fakes.mcu_reference import Firmware, emulated_firmware, host_firmware, make
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.usefixtures("patient_host", "long_cues")

INVITES = "1 100 static"


@asynccontextmanager
async def host_of(firmware: Firmware) -> AsyncIterator[tuple[SerialLink, LinkRecorder]]:
    """A link that is up; ends by closing the port, as a host that is killed does."""
    link = SerialLink("door", firmware.path, terminal_id="sh-1")
    recorder = LinkRecorder()
    task = asyncio.create_task(link.serve(recorder))
    try:
        await eventually(lambda: recorder.ups)
        yield link, recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def show_from_now(link: SerialLink, cue: Cue) -> None:
    """Show a cue whose short life begins when the host comes to it, not while its thread waits for a processor."""
    line = link._line
    assert line is not None
    line.put(Want(cue))


def confirmed(events: list[LinkEvent], cue: CueName) -> Callable[[], bool]:
    return lambda: any(isinstance(event, Shown) and event.cue is cue for event in events)


def told(events: list[LinkEvent]) -> list[Status | McuEvent]:
    return [event.message for event in events if isinstance(event, Told)]


async def status_of(link: SerialLink, events: list[LinkEvent]) -> Status:
    """Ask, and wait for the answer."""

    def answers() -> list[Status]:
        return [message for message in told(events) if isinstance(message, Status)]

    before = len(answers())
    link.ask(Ask(AskStatus()))
    await eventually(lambda: len(answers()) > before)
    return answers()[-1]


async def test_the_bridge_drives_it(firmware: Firmware) -> None:
    assert firmware.shown == [INVITES]
    events: list[LinkEvent] = []
    link = SerialLink("door", firmware.path, terminal_id="sh-000123-a")
    bridge = Bridge([link], terminal_id="sh-000123-a", on_event=lambda _, event: events.append(event))
    running = asyncio.create_task(bridge.run())
    try:
        await eventually(lambda: bridge.snapshot()[0].state is LinkState.UP)
        assert bridge.snapshot()[0].firmware == "C-reference 1.0.0"
        await eventually(confirmed(events, CueName.INVITE))
        bridge.set_level(80)
        bridge.show(CueName.READING)
        await eventually(confirmed(events, CueName.READING))
        bridge.show(CueName.THANKS, text="谢谢", amount="¥2.00")
        await eventually(confirmed(events, CueName.THANKS))
        bridge.set_lasting(CueName.FAULT, on=True, text="reader")
        bridge.show(CueName.IDENTIFY)
        await eventually(confirmed(events, CueName.IDENTIFY))
        await eventually(lambda: "8 80 host sh-000123-a" in firmware.shown)
        for line in ("2 80 host", "3 80 host ¥2.00|谢谢"):
            assert line in firmware.shown
        assert link.detail == firmware.path  # not one unreadable frame
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_keys_become_events_and_each_is_told_once(firmware: Firmware) -> None:
    async with host_of(firmware) as (_, recorder):
        firmware.press("btlb")
        light = McuEvent(3, (320).to_bytes(2, "big"))
        button = McuEvent(1, b"\x01")
        await eventually(lambda: told(recorder.events) == [button, McuEvent(2), light, button])


async def test_falls_back_when_the_host_is_gone_and_comes_back_with_it(firmware: Firmware) -> None:
    async with host_of(firmware) as (link, recorder):
        show_from_now(link, Cue(CueName.FAULT, "reader", ttl_ms=300))
        await eventually(confirmed(recorder.events, CueName.FAULT))
    await eventually(lambda: firmware.shown[-2:] == ["7 100 host reader", "6 100 static"])
    firmware.press("t")
    async with host_of(firmware) as (link, recorder):
        link.show(Cue(CueName.THANKS, ttl_ms=60_000))
        await eventually(lambda: firmware.shown[-1] == "3 100 host")
        await eventually(lambda: McuEvent(2) in told(recorder.events))
        assert (await status_of(link, recorder.events)).cue is CueName.THANKS


async def test_noise_costs_no_cue(firmware: Firmware) -> None:
    noise = random.Random(7)
    async with host_of(firmware) as (link, recorder):
        with second_opening(firmware.path) as line:
            for number in range(30):
                link.show(Cue(CueName.RETRY, str(number), ttl_ms=60_000))
                os.write(line, noise.randbytes(noise.randint(1, 200)))
                await asyncio.sleep(0.005)
            link.show(Cue(CueName.UNLOCK, "the last", ttl_ms=60_000))
            await eventually(confirmed(recorder.events, CueName.UNLOCK))
        await eventually(lambda: firmware.shown[-1] == "4 100 host the last")
        link.ask(Ask(Level(30)))
        await eventually(lambda: firmware.shown[-1] == "4 30 host the last")


async def test_a_reset_starts_it_anew_and_the_cue_comes_back(firmware: Firmware) -> None:
    async with host_of(firmware) as (link, recorder):
        link.show(Cue(CueName.RESTING, "full", ttl_ms=60_000))
        await eventually(confirmed(recorder.events, CueName.RESTING))
        link.ask(Ask(Reset()))
        # One whose ACK was late on a loaded machine is shown again.
        await eventually(lambda: [line for line, _ in groupby(firmware.shown)] == [INVITES, "6 100 host full"] * 2)


def test_a_process_that_was_interrupted_can_be_started_again_and_spoils_no_file(
    host_program: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        with host_firmware(host_program, tmp_path / "screen") as running:
            assert running.shown == [INVITES]
    (tmp_path / "file").write_text("kept")
    done = subprocess.run([host_program, tmp_path / "file"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{tmp_path / 'file'}: File exists\n".encode())
    assert (tmp_path / "file").read_text() == "kept"


async def test_a_cue_lasts_its_time_over_the_wrap_around_of_the_mcu_clock(arm_image: Path, build: Path) -> None:
    make(build / "wrapping", "arm", "DEFINES=-DSTART_MS=0xFFFFF830u")  # 2 s before
    for _ in range(5):
        with emulated_firmware(build / "wrapping" / arm_image.name) as firmware:
            async with host_of(firmware) as (link, recorder):
                before = await status_of(link, recorder.events)
                if before.uptime_ms < 2**31:
                    continue  # a machine so loaded that the host came too late
                show_from_now(link, Cue(CueName.READING, ttl_ms=2400))
                await eventually(lambda: firmware.shown[-2:] == ["2 100 host", INVITES])
                after = await status_of(link, recorder.events)
        assert before.uptime_ms > after.uptime_ms
        assert (after.uptime_ms - before.uptime_ms) % 2**32 >= 2400
        return
    pytest.fail("the host was never up within 2 s")


@contextmanager
def second_opening(path: str) -> Iterator[int]:
    """A second opening of the line, for noise."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield fd
    finally:
        os.close(fd)

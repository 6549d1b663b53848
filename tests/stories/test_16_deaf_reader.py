"""Story 16: a reader that works once and is deaf until a power cycle. Ours climbs a ladder until it hears.

Each rung heals a deafness of its own: set up anew on the open line, opened again, its USB device reset. What none of
them heals is told once, and opening it goes on.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge_agent.outbox.base import Notice
from edge_agent.readers.escalation import Ladder
from edge_agent.readers.pn532_care import SelfCheck
from edge_agent.readers.service import ReaderState, ReopenDelays
from edge_agent.readers.usb_reset import UsbReset
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from firmware_bridge.cues import CueName
from tests.fakes.usb_tree import UsbTree
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import WholeAgent, whole_agent


def deafen(emulator: Pn532Emulator) -> Callable[[], None]:
    """Let the chip hear nothing any more; returns what lets it hear again."""
    hearing = emulator._take_in
    emulator._take_in = lambda _data: None  # type: ignore[method-assign]  # the fault
    return lambda: setattr(emulator, "_take_in", hearing)


class Converter:
    """The USB converter of an emulated board, in a kernel's tree; a reset unplugs the board and plugs it in again."""

    def __init__(self, root: Path, emulator: Pn532Emulator, *, heals: Callable[[], None], error: int = 0) -> None:
        self.resets = 0
        self._tree = UsbTree(root)
        self._emulator = emulator
        self._heals = heals
        self._error = error
        self._plug()

    def reset(self) -> str:
        """What the reader calls; the code under test up to the system call."""
        port = str(Path(self._emulator.device_path).resolve())
        return UsbReset(port, root=self._tree.root, ioctl=self._ioctl)()

    def _plug(self) -> None:
        self._tree.plug(Path(self._emulator.device_path).resolve().name)

    def _ioctl(self, _fd: int, _request: int, _argument: int) -> int:
        self.resets += 1
        if self._error:
            raise OSError(self._error, "Operation not permitted")
        self._emulator.unplug()
        self._heals()
        self._emulator.replug()
        self._plug()
        return 0


@asynccontextmanager
async def impatient_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[WholeAgent, list[Notice]]]:
    """An agent that has seen its reader work, waits shorter between rungs, and what it told the cloud."""
    monkeypatch.setattr("edge_agent.readers.nfcpy_reader._WAKE_FOR_S", 0.1)
    told: list[Notice] = []
    async with whole_agent(tmp_path) as terminal:
        (service,) = terminal.agent._readers
        service._escalation._ladder = Ladder(tell_after_s=0.0)
        service._delays = ReopenDelays(last=0.5, settle=0.3)
        tell = terminal.agent._alarms.tell
        monkeypatch.setattr(terminal.agent._alarms, "tell", lambda notice: (told.append(notice), tell(notice)))
        await terminal.good_tap()
        yield terminal, told


def converter(terminal: WholeAgent, root: Path, *, heals: Callable[[], None], error: int = 0) -> Converter:
    """Put a converter below the reader."""
    (service,) = terminal.agent._readers
    made = Converter(root, terminal.emulator, heals=heals, error=error)
    vars(service._reader)["_reset_usb"] = made.reset
    return made


async def hears_again(terminal: WholeAgent) -> None:
    """Wait until the reader failed and works again, and see that a tap does, too."""
    await terminal.until(lambda: terminal.reader.last_error)
    await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=40)
    await terminal.good_tap()
    assert (await terminal.component("nfc0"))["restarts"] == 0


def open_descriptors(port: Path) -> int:
    """How often this process has a port open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += entry.readlink() == port
    return found


async def test_a_chip_that_hangs_is_told_and_served_again_without_anybodys_help(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        hear_again = deafen(terminal.emulator)
        await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
        await eventually(lambda: terminal.display.showing.cue is CueName.FAULT)
        assert terminal.reader.last_error
        await terminal.until(lambda: terminal.reader.recovery)
        hear_again()
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=40)
        await terminal.good_tap()
        assert terminal.reader.reopens == 1
        assert (await terminal.component("nfc0"))["restarts"] == 0


@pytest.mark.parametrize("fault", ["falls asleep", "forgets its settings"])
async def test_a_chip_that_a_brown_out_reset_is_set_up_anew_on_its_open_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, told):
        if fault == "falls asleep":
            terminal.emulator._chip.power_up()
        else:
            terminal.emulator.brown_out()
        await hears_again(terminal)
        assert terminal.reader.recovery == "soft reset, done"
        (reader,) = (await terminal.status())["readers"]
        assert reader["recovery"] == "soft reset, done"
        assert told == []


async def test_a_chip_that_polls_on_and_hears_no_phone_is_found_out_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SelfCheck.__init__, "__defaults__", (0.2,))  # not a minute
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, told):
        await asyncio.to_thread(terminal.emulator.wait_for_polls, 5)
        phone = SimulatedPhone()
        terminal.emulator.upset()
        terminal.emulator.place(phone)
        await terminal.until(lambda: phone.tokens)
        assert terminal.reader.recovery.startswith("soft reset")
        assert told == []


async def test_a_line_that_is_stuck_until_it_is_closed_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, told):
        hear_again = deafen(terminal.emulator)
        port = await asyncio.to_thread(Path(terminal.emulator.device_path).resolve)

        (service,) = terminal.agent._readers
        driver = vars(service._reader)["_driver"]
        close = driver.close

        def close_and_unstick() -> None:
            close()
            if open_descriptors(port) <= 1:  # the emulator holds its own end
                hear_again()

        driver.close = close_and_unstick
        await hears_again(terminal)
        assert terminal.reader.recovery.startswith("soft reset, failed: no PN532 answers")
        assert terminal.reader.reopens == 1
        assert told == []


async def test_a_converter_that_is_stuck_until_its_usb_device_is_reset_is_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, told):
        usb = converter(terminal, tmp_path / "kernel", heals=deafen(terminal.emulator))
        await hears_again(terminal)
        assert usb.resets == 1
        assert terminal.reader.recovery == "USB reset, done: USB Serial (1-1.2)"
        assert told == []


async def test_a_call_that_hangs_in_the_driver_returns_when_its_device_is_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.readers.threaded_reader._CLOSE_WITHIN_S", 0.1)
    monkeypatch.setattr("edge_agent.monitor.SILENT_S", 3.0)
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, _):
        (service,) = terminal.agent._readers
        driver = vars(service._reader)["_driver"]
        poll, stuck = driver.poll, threading.Event()

        def hangs() -> object:
            while stuck.is_set():
                time.sleep(0.01)
            return poll()

        usb = converter(terminal, tmp_path / "kernel", heals=stuck.clear)
        stuck.set()
        driver.poll = hangs
        try:
            await terminal.until(lambda: usb.resets == 1, deadline_s=40)
        finally:
            stuck.clear()
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=40)
        await terminal.good_tap()
        assert not terminal.agent.restarting.is_set()


@pytest.mark.parametrize("error", [0, 1])
async def test_what_nothing_heals_is_told_once_and_opened_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    async with impatient_agent(tmp_path, monkeypatch) as (terminal, told):
        hear_again = deafen(terminal.emulator)
        usb = converter(terminal, tmp_path / "kernel", heals=lambda: None, error=error)
        await terminal.until(lambda: told, deadline_s=60)
        (alarm,) = told
        assert (alarm.code, alarm.data) == ("reader_deaf", {"reader": "nfc0"})
        assert alarm.text.startswith("the reader nfc0 does not hear: power-cycle the reader; tried: soft reset (failed")
        assert ("USB reset (done" in alarm.text) is (error == 0)
        assert ("USB reset (not possible: no permission" in alarm.text) is (error != 0)
        (reader,) = (await terminal.status())["readers"]
        assert reader["recovery"].startswith("USB reset, ")
        hear_again()  # somebody switched it off and on
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=60)
        await terminal.good_tap()
        assert usb.resets == 1
        assert len(told) == 1

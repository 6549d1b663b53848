"""Story 17: unplugged and back under another number (ttyACM0, ttyACM1). The stable name leads to the new device."""

import os
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from edge_agent.app import Agent
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.readers.ports import resolve
from edge_agent.readers.service import ReaderState
from edge_agent.settings import Checked
from tests.fakes.port_tree import PortTree
from tests.fakes.whole_agent import WholeAgent, whole_agent

USB_NAME = "usb:1a86:7523"


async def test_a_reader_and_a_display_that_come_back_renumbered_are_found_by_their_names(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        names = [Path(terminal.emulator.device_path), Path(terminal.display.device_path)]
        before = [name.readlink() for name in names]
        terminal.emulator.unplug()
        terminal.display.unplug()
        await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
        squatters = list(os.openpty())  # somebody else has the old numbers now
        while not all(port.exists() for port in before):
            squatters += os.openpty()
        terminal.emulator.replug()
        terminal.display.replug()
        assert not set(before) & {name.readlink() for name in names}
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING)
        await terminal.good_tap()
        await terminal.has_component("screens", "ok")
        for fd in squatters:
            os.close(fd)


class UsbTerminal(WholeAgent):
    """A terminal without udev's rules: its reader is configured by its USB device, and the kernel numbers ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kernel = PortTree(folder / "kernel")

    def configured(self) -> Checked:
        super().configured()
        path = self.folder / "edge-agent.toml"
        text = path.read_text(encoding="utf-8").replace(self.emulator.device_path, USB_NAME)
        path.write_text(text, encoding="utf-8")
        return checked(load(path, {}))

    def built(self, agent: Agent) -> None:
        (service,) = agent._readers
        vars(vars(service._reader)["_driver"])["_find_port"] = partial(resolve, root=self.kernel.root)


async def test_a_reader_named_by_its_usb_device_is_found_under_any_number(tmp_path: Path) -> None:
    terminal = UsbTerminal(tmp_path)
    with ExitStack() as hardware:
        hardware.enter_context(terminal.emulator)
        hardware.enter_context(terminal.display)
        first = terminal.kernel.plug("ttyUSB0", terminal.emulator.device_path)
        await terminal.start()
        try:
            assert (await terminal.status())["readers"][0]["device"] == first
            await terminal.good_tap()
            terminal.emulator.unplug()
            terminal.kernel.pull("ttyUSB0")
            await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
            terminal.kernel.plug("ttyUSB0", ids="0403:6001")  # somebody else has the old number now
            terminal.emulator.replug()
            second = terminal.kernel.plug("ttyUSB1", terminal.emulator.device_path)
            await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING)
            assert (await terminal.status())["readers"][0]["device"] == second != first
            await terminal.good_tap()
        finally:
            await terminal.stop()

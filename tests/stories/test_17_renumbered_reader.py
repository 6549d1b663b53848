"""Story 17: unplugged and back under another number (ttyACM0, ttyACM1). The stable name leads to the new device."""

import os
from pathlib import Path

from edge_agent.readers.service import ReaderState
from tests.fakes.whole_agent import whole_agent


async def test_a_reader_and_a_display_that_come_back_renumbered_are_found_by_their_names(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        names = [Path(terminal.emulator.device_path), Path(terminal.display.device_path)]
        before = [name.readlink() for name in names]
        terminal.emulator.unplug()
        terminal.display.unplug()
        await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
        squatters = [fd for _ in range(2) for fd in os.openpty()]  # somebody else has the old numbers now
        terminal.emulator.replug()
        terminal.display.replug()
        assert not set(before) & {name.readlink() for name in names}
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING)
        await terminal.good_tap()
        await terminal.has_component("screens", "ok")
        for fd in squatters:
            os.close(fd)

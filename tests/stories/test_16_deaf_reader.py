"""Story 16: a reader that works once and is deaf until a power cycle. Ours is opened again until it hears."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.readers.service import ReaderState
from edge_agent.simulation.pn532_line import Pn532Emulator
from firmware_bridge.cues import CueName
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import whole_agent


def deafen(emulator: Pn532Emulator) -> Callable[[], None]:
    """Let the chip hear nothing any more; returns what lets it hear again."""
    hearing = emulator._take_in
    emulator._take_in = lambda _data: None  # type: ignore[method-assign]  # the fault
    return lambda: setattr(emulator, "_take_in", hearing)


async def test_a_chip_that_hangs_is_told_and_served_again_without_anybodys_help(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        await terminal.good_tap()
        hear_again = deafen(terminal.emulator)
        await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
        await eventually(lambda: terminal.display.showing.cue is CueName.FAULT)
        assert terminal.reader.last_error
        hear_again()
        await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=40)
        await terminal.good_tap()
        assert terminal.reader.reopens == 1
        assert (await terminal.component("nfc0"))["restarts"] == 0

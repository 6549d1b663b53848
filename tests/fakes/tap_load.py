"""People who never stop tapping: phones on several emulated readers, and every token that one of them was handed.

A phone that has a token was promised that this tap counts. Whoever is not served keeps holding the phone there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from edge_agent.simulation.field import SimulatedField
from edge_agent.simulation.phones import SimulatedPhone
from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.whole_agent import write_config

READER = '\n[[readers]]\ndriver = "pn532"\nname = "nfc{number}"\ndevice = "{device}"\npoll_ms = 20\n'

PAUSE_S = 0.6
"""A reader takes whoever comes sooner for the one who was there before: its debounce."""


class TapLoad:
    """The readers' hardware and the people in front of it."""

    def __init__(self, readers: int, *, pause_s: float = PAUSE_S) -> None:
        self.emulators = [Pn532Emulator() for _ in range(readers)]
        self.phones: list[SimulatedPhone] = []
        self.served_at: list[float] = []
        """CLOCK_MONOTONIC seconds of each handover."""
        self._pause_s = pause_s
        self._tasks: list[asyncio.Task[None]] = []

    def write_config(self, folder: Path, **where: Any) -> Path:
        """The configuration of a terminal with all these readers."""
        first, *others = self.emulators
        more = [READER.format(number=number, device=other.device_path) for number, other in enumerate(others, start=1)]
        return write_config(folder, reader=first.device_path, screens=more, **where)

    @property
    def promised(self) -> list[bytes]:
        """Every token that a phone has."""
        return [token for phone in self.phones for token in phone.tokens]

    @property
    def begun(self) -> int:
        """How many taps have begun: a phone answered, and has no token yet or has it already."""
        return sum(phone.app.selects for phone in self.phones)

    def served_after(self, begun: float) -> float | None:
        """Seconds from ``begun`` to the next handover; None if there was none."""
        return next((at - begun for at in self.served_at if at > begun), None)

    async def pause(self) -> None:
        """Everybody steps back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def go_on(self) -> None:
        """Tap on all readers."""
        self._tasks = [asyncio.create_task(self._people(emulator)) for emulator in self.emulators]

    async def _people(self, emulator: Pn532Emulator) -> None:
        field = SimulatedField(emulator, self._new_phone, dwell_s=0.02, patience_s=3.0)
        while True:
            outcome = await field.tap()
            if outcome.delivered_at is not None:
                self.served_at.append(outcome.delivered_at)
            await asyncio.sleep(self._pause_s)

    def _new_phone(self) -> SimulatedPhone:
        phone = SimulatedPhone()
        self.phones.append(phone)
        return phone


@asynccontextmanager
async def tap_load(readers: int, *, pause_s: float = PAUSE_S) -> AsyncIterator[TapLoad]:
    """People tapping from now on."""
    load = TapLoad(readers, pause_s=pause_s)
    with ExitStack() as hardware:
        for emulator in load.emulators:
            hardware.enter_context(emulator)
        load.go_on()
        try:
            yield load
        finally:
            await load.pause()

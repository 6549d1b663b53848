"""People at the screen: phones come, are held until their tap is over, and go. For the demo, training and tests.

Never polls: it waits for what the phone reports.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.simulation.phones import AppEvent, SimulatedPhone
from edge_agent.simulation.picc import Picc
from edge_agent.simulation.pn532_line import Pn532Emulator

DWELL_S = 0.3
"""How long a person holds the phone after it buzzed."""
PATIENCE_S = 3.0
"""How long a person holds a phone that does nothing."""


class TapEnd(StrEnum):
    """How a tap ended, as its holder sees it."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    SELECTED = "selected"
    """The phone was asked, but no token came."""
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class TapOutcome:
    """One tap; times are CLOCK_MONOTONIC seconds, None where it did not come to that."""

    card: Picc
    end: TapEnd
    placed_at: float
    seen_at: float | None
    delivered_at: float | None
    removed_at: float | None


class SimulatedField:
    """Drives an emulator's antenna from an asyncio loop; one tap at a time."""

    def __init__(
        self,
        emulator: Pn532Emulator,
        make_phone: Callable[[], SimulatedPhone] | None = None,
        *,
        rng: random.Random | None = None,
        dwell_s: float = DWELL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._emulator = emulator
        self._rng = rng or random.SystemRandom()
        self._make_phone = make_phone or (lambda: SimulatedPhone(rng=self._rng))
        self._dwell_s = dwell_s
        self._patience_s = patience_s
        self._one_at_a_time = asyncio.Lock()

    async def tap(self, card: Picc | None = None) -> TapOutcome:
        """Hold a phone (a new one without ``card``) to the reader until its tap is over and return how it ended.

        A card that is no SimulatedPhone is held for the whole patience. The card is off the antenna when this returns
        or is cancelled.
        """
        async with self._one_at_a_time:
            card = self._make_phone() if card is None else card
            watch = _Watch()
            if isinstance(card, SimulatedPhone):
                card.app.watcher = watch.from_any_thread
            placement = self._emulator.place(card)
            try:
                await self._hold(watch)
            finally:
                if isinstance(card, SimulatedPhone):
                    card.app.watcher = lambda _event: None
                self._emulator.remove(card)
            return TapOutcome(
                card, watch.end, placement.placed_at, placement.seen_at, watch.delivered_at, placement.removed_at
            )

    async def run(self, every_s: float, on_tap: Callable[[TapOutcome], None], *, taps: int | None = None) -> None:
        """Tap again and again, about every ``every_s`` seconds (half to one and a half), ``taps`` times or for ever."""
        done = 0
        while taps is None or done < taps:
            await asyncio.sleep(every_s * self._rng.uniform(0.5, 1.5))
            on_tap(await self.tap())
            done += 1

    async def _hold(self, watch: "_Watch") -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await watch.over.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._dwell_s)


class _Watch:
    """Collects the events of one phone on the loop that made it."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.end = TapEnd.UNANSWERED
        self.delivered_at: float | None = None
        self._loop = asyncio.get_running_loop()

    def from_any_thread(self, event: AppEvent) -> None:
        self._loop.call_soon_threadsafe(self._take, event, time.monotonic())

    def _take(self, event: AppEvent, at: float) -> None:
        match event:
            case AppEvent.SELECTED if self.end is not TapEnd.DELIVERED:
                self.end = TapEnd.SELECTED
            case AppEvent.REFUSED:
                self.end = TapEnd.REFUSED
                self.over.set()
            case AppEvent.DELIVERED:
                self.end, self.delivered_at = TapEnd.DELIVERED, at
                self.over.set()

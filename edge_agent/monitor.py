"""Looks at every part once a second and tells the health board; the evidence is the part's own work, never a timer.

The outbox's sign of life is an answer of its writer thread, a reader's is a finished poll. A part that gives none is
left without a report, and the board's deadline does the rest.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.clock import Clock
from edge_agent.health import HealthBoard
from edge_agent.models import ClockTrust, ComponentState
from edge_agent.outbox.base import Outbox
from edge_agent.readers.service import ReaderService
from edge_agent.reports import reader_state
from edge_agent.uplink.publisher import Publisher
from firmware_bridge.bridge import Bridge
from firmware_bridge.links.base import LinkState

LOOK_EVERY_S = 1.0
SILENT_S = 10.0
"""No sign of life for so long means that a part hangs: an exchange, a commit or a presence check takes far less."""

OUTBOX, UPLINK, SCREENS, CONTROL = "outbox", "uplink", "screens", "control"
MONITOR, WATCHDOG, CLOCK = "monitor", "watchdog", "clock"


@dataclass(slots=True)
class Monitor:
    """Watches the parts of one agent; ``uplink`` returns the publisher of the moment."""

    board: HealthBoard
    clock: Clock
    outbox: Outbox
    readers: tuple[ReaderService, ...]
    bridge: Bridge
    uplink: Callable[[], Publisher | None]
    _told: dict[str, str] = field(default_factory=dict)

    async def watch_outbox(self) -> None:
        """For ever: one round trip through the writer thread a second."""
        while True:
            stats = await self.outbox.stats()
            parked = f", {stats.parked} parked" if stats.parked else ""
            self._report(OUTBOX, ComponentState.OK, f"{stats.pending + stats.leased} waiting{parked}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def watch_parts(self) -> None:
        """For ever: readers, screens and uplink; a change of a reader or screen is told to the cloud."""
        while True:
            now = self.clock.monotonic()
            for reader in self.readers:
                self._look_at_reader(reader, now)
            self._look_at_screens()
            self._look_at_uplink()
            self._look_at_clock()
            self._report(MONITOR, ComponentState.OK)
            await asyncio.sleep(LOOK_EVERY_S)

    def _look_at_reader(self, reader: ReaderService, now: float) -> None:
        snap = reader.snapshot()
        state = reader_state(snap.state)
        if state is ComponentState.STOPPED:
            return  # it crashed, and the board has the error
        polls = now - snap.last_poll < SILENT_S
        if polls or state is not ComponentState.OK:
            self._report(snap.name, state, "" if state is ComponentState.OK else snap.last_error)

    def _look_at_screens(self) -> None:
        links = self.bridge.snapshot()
        states = {link.state for link in links}
        if LinkState.STOPPED in states:
            return  # the bridge crashed, and the board has the error
        down = [link.name for link in links if link.state is LinkState.DOWN]
        if down:
            self._report(SCREENS, ComponentState.DEGRADED, ", ".join(down))
        else:
            self._report(SCREENS, ComponentState.STARTING if LinkState.STARTING in states else ComponentState.OK)

    def _look_at_uplink(self) -> None:
        publisher = self.uplink()
        if publisher is None:
            return  # not started yet, or it crashed and the board has the error
        snap = publisher.snapshot()
        if snap.up:
            self._report(UPLINK, ComponentState.OK)
        elif snap.reason:
            self._report(UPLINK, ComponentState.DEGRADED, f"{snap.reason}: {snap.text}")
        else:
            self._report(UPLINK, ComponentState.STARTING, "not connected yet")
        self._tell_changes(publisher)

    def _look_at_clock(self) -> None:
        if self.clock.read().trust is ClockTrust.UNSET:
            self._report(CLOCK, ComponentState.DEGRADED, "not synchronised: taps are kept, but none can be redeemed")
        else:
            self._report(CLOCK, ComponentState.OK)

    def _tell_changes(self, publisher: Publisher) -> None:
        now = {link.name: link.state.value for link in self.bridge.snapshot()}
        now |= {snap.name: reader_state(snap.state).value for snap in (reader.snapshot() for reader in self.readers)}
        if now != self._told:
            publisher.rebirth()
        self._told = now

    def _report(self, name: str, state: ComponentState, detail: str = "") -> None:
        self.board.report(name, state, self.clock.monotonic(), detail)

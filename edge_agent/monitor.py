"""Looks at every part once a second and tells the health board; the evidence is the part's own work, never a timer.

The outbox's sign of life is an answer of its writer thread, a reader's is a finished poll or an announced pause, the
uplink's that its loop came by. A part that gives none becomes late on the board, whatever is reported of it.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import ClockTrust, ComponentState
from edge_agent.outbox.base import NO_CHAIN, Outbox, OutboxStats
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.reports import reader_state
from edge_agent.supervision.health import HealthBoard
from edge_agent.uplink.publisher import Publisher
from firmware_bridge.bridge import Bridge
from firmware_bridge.links.base import LinkState

if TYPE_CHECKING:
    from edge_agent.tags.service import TagService

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
SILENT_S = 8.0
"""No sign of life for so long means that a part hangs: an exchange, a commit or a presence check takes far less."""
SLOW_S = 2.0
"""A writer that has not answered after so long does not keep taps either, for as long as it takes."""
WALL_EVERY_S = 60.0
EVICTING_S = 600.0
"""Rows that were given up so lately mean that it goes on."""

OUTBOX, UPLINK, SCREENS, CONTROL, ADVERTS = "outbox", "uplink", "screens", "control", "adverts"
READERS = "readers"
"""Readers and tags stand in for each other: with one of them the terminal takes taps."""
MONITOR, WATCHDOG, CLOCK, GUARDIAN = "monitor", "watchdog", "clock", "guardian"


@dataclass(slots=True)
class Monitor:
    """Watches the parts of one agent; ``uplink`` returns the publisher of the moment."""

    board: HealthBoard
    clock: Clock
    outbox: Outbox
    readers: tuple[ReaderService, ...]
    bridge: Bridge
    uplink: Callable[[], Publisher | None]
    on_outbox_fault: Callable[[str], None] = lambda _fault: None
    """Hears, after every look, why taps cannot be kept at the moment; "" while they can."""
    on_look: Callable[[], None] = lambda: None
    """Called once a second, for what only the time ends."""
    on_nowhere_to_tap: Callable[[bool], None] = lambda _on: None
    """Hears, after every look, whether there is a tag or code without a ticket, and nothing else to hold a phone to."""
    surfaces: "tuple[TagService, ...]" = ()
    on_stats: Callable[[OutboxStats], None] = lambda _stats: None
    """Hears what the outbox said of itself, once a second while it answers."""
    _outbox_ended: str = ""
    _wall_synced: bool = False
    _wall_due: float = float("-inf")
    _wall_retry: float = float("-inf")
    _told: dict[str, str] = field(default_factory=dict)
    _evicted: int | None = None
    _evicted_at: float = float("-inf")

    async def watch_outbox(self) -> None:
        """For ever: one round trip through the writer thread a second. An error is an answer, too."""
        while True:
            try:
                self._look_at_outbox(await self._ask_outbox())
                self._outbox_ended = ""
                await self._keep_wall_time()
            except OutboxError as error:
                self._outbox_ended = str(error) if error.fault is OutboxFault.CLOSED else ""
                self.on_outbox_fault(error.fault)
                self._report(OUTBOX, ComponentState.FAILED, str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _keep_wall_time(self) -> None:
        """At once when the clock is first known to be right, then as often as it costs nothing."""
        good, now = self.clock.read(), self.clock.monotonic()
        first = good.trust is ClockTrust.SYNCED and not self._wall_synced
        if good.trust is ClockTrust.UNSET or now < (self._wall_retry if first else self._wall_due):
            return
        self._wall_due = now + WALL_EVERY_S
        try:
            await self.outbox.remember_wall(good, at_once=first)
        except OutboxError as error:
            # Taps may be kept all the same: whether they are is told by `stats`.
            log.debug("wall_time_not_kept", error=str(error))
            self._wall_retry = self._wall_due
        else:
            self._wall_synced |= first

    async def _ask_outbox(self) -> OutboxStats:
        asked = asyncio.ensure_future(self.outbox.stats())
        try:
            await asyncio.wait({asked}, timeout=SLOW_S)
            if not asked.done():
                self.on_outbox_fault(OutboxFault.BUSY)
            return await asked
        finally:
            asked.cancel()

    def ill(self) -> dict[str, str]:
        """Parts that do not live, and why that is known; whoever only says that he is unwell is alive."""
        late = self.board.snapshot(self.clock.monotonic()).late
        found = dict.fromkeys(late, f"no sign of life for {SILENT_S:.0f} s")
        found |= {snap.name: snap.last_error for snap in (reader.snapshot() for reader in self.readers) if snap.hangs}
        found |= {snap.name: snap.last_error for snap in (tag.snapshot() for tag in self.surfaces) if snap.hangs}
        return found | ({OUTBOX: self._outbox_ended} if self._outbox_ended else {})

    def replaceable(self) -> frozenset[str]:
        """Readers and tags that another one stands in for: a new process would take that one's taps, too."""
        states = {snap.name: reader_state(snap.state) for snap in (reader.snapshot() for reader in self.readers)}
        states |= {snap.name: snap.condition for snap in (tag.snapshot() for tag in self.surfaces)}
        working = {name for name, state in states.items() if state is ComponentState.OK}
        return frozenset(name for name in states if working - {name})

    def _look_at_outbox(self, stats: OutboxStats) -> None:
        now = self.clock.monotonic()
        if self._evicted is not None and stats.evicted > self._evicted:
            self._evicted_at = now
        self._evicted = stats.evicted
        evicting = now - self._evicted_at < EVICTING_S
        self.on_stats(stats)
        unwell = bool(stats.fault or stats.quarantined or stats.salvaging or evicting)
        self.on_outbox_fault(stats.fault)
        self._report(OUTBOX, ComponentState.DEGRADED if unwell else ComponentState.OK, ", ".join(_outbox_facts(stats)))

    async def watch_parts(self) -> None:
        """For ever: readers, surfaces, screens, uplink; the cloud is told of a change of one of them or the chain."""
        while True:
            for reader in self.readers:
                self._look_at_reader(reader)
            for surface in self.surfaces:
                self._look_at_surface(surface)
            self._look_at_screens()
            self._look_at_uplink()
            self._look_at_clock()
            self._look_for_somewhere_to_tap()
            self.on_look()
            self._report(MONITOR, ComponentState.OK)
            await asyncio.sleep(LOOK_EVERY_S)

    def _look_at_reader(self, reader: ReaderService) -> None:
        snap = reader.snapshot()
        state = reader_state(snap.state)
        if state is ComponentState.STOPPED:
            return  # it crashed, and the board has the error
        detail = "" if state is ComponentState.OK else snap.last_error
        if snap.state is ReaderState.LENT:
            detail = "lent to a technician"
        self._report(snap.name, state, detail, sign=snap.last_sign)

    def _look_at_surface(self, surface: "TagService") -> None:
        snap = surface.snapshot()
        if snap.condition is not ComponentState.STOPPED:  # as for a reader
            self._report(snap.name, snap.condition, snap.detail, sign=snap.last_sign)

    def _look_for_somewhere_to_tap(self) -> None:
        tags = {surface.snapshot().condition for surface in self.surfaces}
        no_reader = {reader_state(reader.snapshot().state) for reader in self.readers} <= {ComponentState.FAILED}
        self.on_nowhere_to_tap(ComponentState.DEGRADED in tags and ComponentState.OK not in tags and no_reader)

    def _look_at_screens(self) -> None:
        links = self.bridge.snapshot()
        states = {link.state for link in links}
        if LinkState.STOPPED in states:
            return  # the bridge crashed, and the board has the error
        wrong = [link.name for link in links if link.state is LinkState.DOWN]
        wrong += [
            f"{link.name} reports fault bits {link.told.faults:#06x}"
            for link in links
            if link.state is LinkState.UP and link.told and link.told.faults
        ]
        if wrong:
            self._report(SCREENS, ComponentState.DEGRADED, ", ".join(wrong))
        else:
            self._report(SCREENS, ComponentState.STARTING if LinkState.STARTING in states else ComponentState.OK)

    def _look_at_uplink(self) -> None:
        publisher = self.uplink()
        if publisher is None:
            return  # not started yet, or it crashed and the board has the error
        snap = publisher.snapshot()
        if snap.up:
            self._report(UPLINK, ComponentState.OK, sign=snap.ticked)
        elif snap.reason:
            self._report(UPLINK, ComponentState.DEGRADED, f"{snap.reason}: {snap.text}", sign=snap.ticked)
        else:
            self._report(UPLINK, ComponentState.STARTING, "not connected yet", sign=snap.ticked)
        self._tell_changes(publisher)

    def _look_at_clock(self) -> None:
        if self.clock.read().trust is ClockTrust.UNSET:
            self._report(CLOCK, ComponentState.DEGRADED, "not synchronised: taps are kept, but none can be redeemed")
        else:
            self._report(CLOCK, ComponentState.OK)

    def _tell_changes(self, publisher: Publisher) -> None:
        now = {"chain": self.outbox.head().chain.hex()}
        now |= {link.name: link.state.value for link in self.bridge.snapshot()}
        now |= {snap.name: reader_state(snap.state).value for snap in (reader.snapshot() for reader in self.readers)}
        now |= {snap.name: snap.condition.value for snap in (surface.snapshot() for surface in self.surfaces)}
        if now != self._told:
            publisher.rebirth()
        self._told = now

    def _report(self, name: str, state: ComponentState, detail: str = "", *, sign: float | None = None) -> None:
        self.board.report(name, state, self.clock.monotonic(), detail, sign=sign)


def _outbox_facts(stats: OutboxStats) -> Iterator[str]:
    if stats.fault:
        yield f"taps cannot be kept: {stats.fault}"
    if stats.chain == NO_CHAIN:
        yield "it is not open: what waits in it is not known"
        return
    if stats.salvaging:
        yield "rows of a damaged file are being taken over"
    if stats.quarantined:
        yield f"set aside as damaged: {' '.join(stats.quarantined)}"
    yield f"{stats.pending + stats.leased} waiting"
    if stats.parked:
        yield f"{stats.parked} parked"
    if stats.evicted:
        yield f"{stats.evicted} given up undelivered"

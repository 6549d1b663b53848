"""The search for holes at a receiver: what it hears goes to ``holes``, what that decides is told and asked for.

It must never be in the way of storing: a ledger that fails here only means that a gap is told later.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import structlog

from edge_agent.clock import Clock
from edge_agent.cloud.base import Ledger, LedgerError, Standing, Stream
from edge_agent.cloud.holes import AskAgain, Effect, GapOpen, HolePolicy, HoleWatch
from edge_agent.cloud.ingest import Ingested, Lane
from edge_agent.cloud.resending import Orders
from edge_agent.cloud.stream_events import StreamEvent, gap_event
from edge_agent.uplink.base import Message

log = structlog.get_logger(__name__)


class Search:
    """``tell`` hears of gaps; times are those of ``clock``. Off, it does nothing and costs nothing."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        policy: HolePolicy,
        tell: Callable[[Iterable[StreamEvent]], None],
        *,
        on: bool,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._on = on
        self._watch = HoleWatch(policy)
        self._orders = Orders()
        self._asked = 0

    def __len__(self) -> int:
        """Streams with holes that are watched."""
        return len(self._watch)

    @property
    def counts(self) -> Counter[str]:
        """Orders that were written and that found no place in time, streams that had to make room."""
        lost = {"resend_dropped": self._orders.dropped, "holes_forgotten": self._watch.forgotten}
        return Counter({"resend_asked": self._asked, **lost})

    def next_at(self) -> float | None:
        """When ``send`` will have something to decide; None as long as nothing changes."""
        return self._watch.next_at()

    async def older(self, ingested: Ingested) -> list[Stream]:
        """Chains with holes of terminals that have just come online: we may have been away when they were found."""
        if not self._on or not ingested.births:
            return []
        try:
            return await self._ledger.unfinished({(birth.fleet, birth.terminal) for birth in ingested.births})
        except LedgerError as error:
            log.debug("holes_not_looked_up", error=str(error))  # the next birth tells them
            return []

    def hear(self, ingested: Ingested, now: float) -> None:
        """Backlog and births put off the search; a terminal that went away cannot be asked."""
        spoken = [*(item.stream for item in ingested.items), *(item.stream for item in ingested.records)]
        for stream in {stream for stream in spoken if stream is not None}:
            self._watch.heard(stream.fleet, stream.terminal, now)
        batches = {item.stream for item in ingested.items if item.lane is Lane.BATCH and item.stream is not None}
        for stream in batches:
            self._watch.backlog(stream.fleet, stream.terminal, now)
        for presence in ingested.presences:
            stream = presence.stream
            self._watch.presence(stream.fleet, stream.terminal, now, online=presence.online)

    def stands(self, stream: Stream, standing: Standing) -> None:
        """What the ledger says of a stream that something came of."""
        if self._on:
            self._look(self._watch.stands(stream, standing.holes, self._clock.monotonic()))

    async def send(self, publish: Callable[[Message], bool]) -> None:
        """Tell and ask for what is due. ``publish`` is False where it has no room."""
        now = self._clock.monotonic()
        due = self._watch.due(now)
        # Asked again: another receiver or an import on this ledger may have filled what is missing.
        for stream, standing in zip(due, await self._standings(due), strict=False):
            self._look(self._watch.act(stream, standing.holes, now))
        self._orders.send(publish, now)

    async def _standings(self, streams: Sequence[Stream]) -> list[Standing]:
        try:
            return await self._ledger.standings(streams) if streams else []
        except LedgerError as error:
            log.debug("resend_delayed", error=str(error))
            return []

    def _look(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, AskAgain):
                self._orders.add(effect, self._clock.monotonic(), float(self._clock.read().unix))
                self._asked += 1
            else:
                closed = not isinstance(effect, GapOpen)
                permanent = isinstance(effect, GapOpen) and effect.permanent
                self._tell([gap_event(effect.stream, effect.holes, closed=closed, permanent=permanent)])

"""The search for holes beside a ledger that fails: it is late, never wrong, and never in the way."""

from collections.abc import Collection
from typing import cast

from edge_agent.clock import FakeClock
from edge_agent.cloud.base import Ledger, LedgerError, Standing, Stream
from edge_agent.cloud.holes import HolePolicy
from edge_agent.cloud.ingest import Ingested, Presence
from edge_agent.cloud.searching import Search
from edge_agent.cloud.stream_events import StreamEvent
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import Ack
from tests.fakes.tapping_terminal import NOW

STREAM = Stream("sh", "sh-1-a", b"chain--1")
HOLE = Standing(Ack(STREAM.chain, 9, ((4, 6),)), 9, 9)


class FailingLedger:
    """Answers, or fails."""

    def __init__(self) -> None:
        self.fails = True

    async def standings(self, streams: Collection[Stream]) -> list[Standing]:
        self._answer()
        return [HOLE for _ in streams]

    async def unfinished(self, terminals: Collection[tuple[str, str]]) -> list[Stream]:
        self._answer()
        return [STREAM for _ in terminals]

    def _answer(self) -> None:
        if self.fails:
            raise LedgerError("the disk is full")


class Site:
    def __init__(self, *, on: bool = True) -> None:
        self.clock = FakeClock(unix=NOW)
        self.ledger = FailingLedger()
        self.told: list[StreamEvent] = []
        self.sent: list[Message] = []
        ledger = cast("Ledger", self.ledger)
        self.search = Search(ledger, self.clock, HolePolicy(grace_s=30.0), self.told.extend, on=on)

    async def turn(self) -> None:
        self.clock.advance(30.0)
        await self.search.send(lambda message: bool(self.sent.append(message)) or True)


async def test_while_the_ledger_fails_no_gap_is_told_and_afterwards_it_is() -> None:
    site = Site()
    site.search.stands(STREAM, HOLE)
    await site.turn()
    assert (site.told, site.sent) == ([], [])
    site.ledger.fails = False
    await site.turn()
    assert [event.seqs for event in site.told] == [((4, 6),)]
    assert len(site.sent) == site.search.counts["resend_asked"] == 1


async def test_older_chains_are_looked_up_at_a_birth_and_only_there() -> None:
    site = Site()
    birth = Ingested(presences=(Presence(STREAM, online=True),))
    assert await site.search.older(birth) == []
    site.ledger.fails = False
    assert await site.search.older(birth) == [STREAM]
    assert await site.search.older(Ingested(presences=(Presence(STREAM, online=False),))) == []


async def test_off_it_does_nothing() -> None:
    site = Site(on=False)
    site.ledger.fails = False
    site.search.stands(STREAM, HOLE)
    assert await site.search.older(Ingested(presences=(Presence(STREAM, online=True),))) == []
    await site.turn()
    assert (len(site.search), site.search.next_at(), site.told, site.sent) == (0, None, [], [])

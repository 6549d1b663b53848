"""The cloud half on the table beside the outbox: the real verifier and the real ledger, no network in between.

For proofs about storage, where each step must be repeatable: the test decides when a row is sent and when it is acked.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from edge_agent.clock import Clock
from edge_agent.cloud.base import Stream
from edge_agent.cloud.ingest import Arrival, ingest
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.outbox.base import Outbox
from edge_agent.outbox.store import OutboxStore
from edge_agent.tokens.keys import PublicKey
from edge_agent.uplink.batch import encode_batch
from edge_agent.uplink.wire import Ack, Topics

FLEET, TERMINAL = "sh", "sh-000123-a"
STREAM = (FLEET, TERMINAL)


class TableCloud:
    """One terminal's receiver; ``path`` is its ledger."""

    def __init__(self, ledger: SqliteLedger, path: Path, public: PublicKey, clock: Clock) -> None:
        self.ledger = ledger
        self.path = path
        self._keys = {public.kid: KeyRecord(public, FLEET, TERMINAL)}
        self._clock = clock
        self._topics = Topics(FLEET, TERMINAL)

    async def take(self, tokens: Sequence[bytes]) -> None:
        """One batch arrives and is stored."""
        await self._arrive(self._topics.evt_batch, encode_batch(tokens))

    async def take_gap(self, record: bytes) -> None:
        """One gap record arrives and is stored."""
        await self._arrive(self._topics.evt_gap, record)

    async def ack(self, chain: bytes) -> Ack:
        """What is stored of a chain."""
        (ack,) = await self.ledger.acks([Stream(FLEET, TERMINAL, chain)])
        return ack

    async def deliver(self, outbox: Outbox, *, session: int = 1, max_rows: int = 64) -> int:
        """One lease of the backlog, all the way: sent, stored, acked. Returns its rows."""
        lease = await outbox.lease_backlog(session, max_rows=max_rows, max_bytes=16_000)
        if lease is None:
            return 0
        await self.take(lease.tokens)
        outbox.confirm_sent(lease)
        ack = await self.ack(lease.chain)
        outbox.confirm_stored(lease.chain, ack.through, list(ack.missing))
        return len(lease.tokens)

    async def deliver_gaps(self, outbox: Outbox) -> int:
        """All gap records, all the way. Returns how many."""
        records = outbox.gaps_to_send()
        for record in records:
            await self.take_gap(record.token)
            outbox.confirm_gap_sent(record.number)
            ack = await self.ack(record.chain)
            outbox.confirm_stored(record.chain, ack.through, list(ack.missing))
        return len(records)

    async def deliver_all(self, outbox: OutboxStore) -> int:
        """Everything that waits; returns how many rows and records wait after it, which should be none."""
        outbox.requeue_unconfirmed(0.0)
        while await self.deliver_gaps(outbox) or await self.deliver(outbox):
            pass
        stats = await outbox.stats()
        return stats.pending + stats.leased + stats.sent + stats.parked + stats.gaps

    async def _arrive(self, topic: str, payload: bytes) -> None:
        ingested = ingest([Arrival(topic, payload, float(self._clock.read().unix))], self._keys.get)
        await self.ledger.store(ingested.rows, ingested.evidence, ingested.record_rows)


@asynccontextmanager
async def table_cloud(folder: Path, public: PublicKey, clock: Clock) -> AsyncIterator[TableCloud]:
    """An open ledger in ``folder``."""
    path = folder / "ledger.db"
    ledger = SqliteLedger(path)
    await ledger.open()
    try:
        yield TableCloud(ledger, path, public, clock)
    finally:
        await ledger.close()

"""From messages to what is durable: judge, look a second time where the ledger must be asked, store. One attempt.

The receiver and the import of a carried-home file share it, so that a token ends the same whichever way it came.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from edge_agent.cloud.base import Ledger, Place, StoreReport
from edge_agent.cloud.ingest import Arrival, Ingested, ingest
from edge_agent.cloud.verifier import INGEST_WINDOW_S, KeyLookup


class Keeper:
    """Judges on a thread of its own: verifying lets go of the interpreter lock for part of its time."""

    def __init__(self, ledger: Ledger, keys: KeyLookup, ingest_window_s: int = INGEST_WINDOW_S) -> None:
        self._ledger = ledger
        self._keys = keys
        self._window_s = ingest_window_s
        self._verifier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verifier")

    async def judge(self, arrivals: Sequence[Arrival], stored: Mapping[Place, bytes] | None = None) -> Ingested:
        """Take messages apart and judge what they hold, without the ledger or with what it has at doubtful places."""
        return await asyncio.get_running_loop().run_in_executor(
            self._verifier, ingest, arrivals, self._keys, self._window_s, stored or {}
        )

    async def store(self, arrivals: Sequence[Arrival], ingested: Ingested) -> tuple[Ingested, StoreReport]:
        """One attempt; raises LedgerError. Only what was refused though authentic costs a second look."""
        if ingested.is_empty:
            return ingested, StoreReport(())
        if ingested.doubtful and (stored := await self._ledger.tokens(ingested.doubtful)):
            ingested = await self.judge(arrivals, stored)
        return ingested, await self._ledger.store(ingested.rows, ingested.evidence, ingested.record_rows)

    def close(self) -> None:
        """Let the thread end. Idempotent."""
        self._verifier.shutdown(wait=False, cancel_futures=True)

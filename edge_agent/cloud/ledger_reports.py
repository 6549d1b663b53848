"""Reports over the whole ledger in SQL: what the rows prove. Read only; whoever calls owns connection and thread."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from edge_agent.cloud import continuity
from edge_agent.cloud.base import ChainAudit, LedgerStats, Stream


class Query(Protocol):
    """Runs one SELECT within the snapshot of the report."""

    def __call__(self, sql: str, parameters: tuple[object, ...] = ..., /) -> Iterable[Any]:
        """Rows as tuples."""


def audit(query: Query) -> list[ChainAudit]:
    """Walk every chain once, hash by hash; holds one row of it in memory at a time."""
    audits: list[ChainAudit] = []
    for stream_id, fleet, terminal, chain in list(query("SELECT id, fleet, terminal, chain FROM stream ORDER BY id")):
        rows = query("SELECT seq, token, prev FROM tap WHERE stream = ? ORDER BY seq", (stream_id,))
        walk = continuity.walk(rows)
        islands = list(query("SELECT first, last FROM island WHERE stream = ? ORDER BY first", (stream_id,)))
        audits.append(
            ChainAudit(
                stream=Stream(fleet, terminal, chain),
                count=walk.count,
                through=walk.ranges[-1][1] if walk.ranges else 0,
                holes=tuple(continuity.holes(walk.ranges)),
                breaks=walk.breaks,
                index_agrees=islands == list(walk.ranges),
            )
        )
    return audits


def stats(query: Query) -> LedgerStats:
    """Count streams, rows and verdicts; reads the whole table of taps."""
    ((streams, duplicates),) = query("SELECT COUNT(*), COALESCE(SUM(duplicates), 0) FROM stream")
    ((rows, redeemed),) = query("SELECT COUNT(*), COUNT(redeemed_at) FROM tap")
    # Added up: clock_suspect is a row below a minute ahead, and a refusal from there on.
    verdicts: Counter[str] = Counter(dict(query("SELECT verdict, COUNT(*) FROM tap GROUP BY verdict")))
    verdicts.update(dict(query("SELECT verdict, count FROM refusal")))
    return LedgerStats(streams, rows, duplicates, redeemed, dict(verdicts))

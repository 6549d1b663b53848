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


_LONE_WITHHELD = """
SELECT seq, token, prev FROM withheld WHERE stream = ?
AND NOT EXISTS (SELECT 1 FROM tap WHERE tap.stream = withheld.stream AND tap.seq = withheld.seq) ORDER BY seq
"""


def audit(query: Query) -> list[ChainAudit]:
    """Walk every chain once, hash by hash; holds one tap of it in memory at a time."""
    streams = list(query("SELECT id, fleet, terminal, chain FROM stream ORDER BY id"))
    return [_audited(query, row[0], Stream(*row[1:])) for row in streams]


def _audited(query: Query, stream_id: int, stream: Stream) -> ChainAudit:
    one = (stream_id,)
    gaps: list[continuity.Range] = []
    claims: list[continuity.Claim] = []
    for first, last, prev, link in query("SELECT first, last, prev, hash FROM gap WHERE stream = ?", one):
        gaps.append((first, last))
        claims += continuity.gap_claims(first, last, prev, link)
    withheld: list[continuity.Range] = []
    for seq, token, prev in query(_LONE_WITHHELD, one):
        withheld.append((seq, seq))
        claims += continuity.token_claims(seq, token, prev)
    let_go: list[continuity.Range] = list(query("SELECT first, last FROM let_go WHERE stream = ?", one))
    known = 0
    for seq, head in query("SELECT seq, head FROM checkpoint WHERE stream = ?", one):
        known = seq
        claims.append((seq + 1, head))
    walk = continuity.walk(query("SELECT seq, token, prev FROM tap WHERE stream = ? ORDER BY seq", one), claims)
    accounted = continuity.union([*walk.ranges, *gaps, *withheld, *let_go])
    through = accounted[-1][1] if accounted else 0
    end = [(through + 1, known)] if known > through else []
    islands = list(query("SELECT first, last FROM island WHERE stream = ? ORDER BY first", one))
    came = continuity.union([*walk.ranges, *withheld, *let_go])
    return ChainAudit(
        stream=stream,
        count=walk.count,
        through=through,
        holes=(*continuity.holes(accounted), *end),
        breaks=walk.breaks,
        index_agrees=islands == accounted,
        gaps=tuple(continuity.without(continuity.union(gaps), came)),
        withheld=len(withheld),
    )


def stats(query: Query) -> LedgerStats:
    """Count streams, rows and verdicts; reads the whole table of taps."""
    ((streams, duplicates),) = query("SELECT COUNT(*), COALESCE(SUM(duplicates), 0) FROM stream")
    ((rows, redeemed),) = query("SELECT COUNT(*), COUNT(redeemed_at) FROM tap")
    # Added up: clock_suspect is a row below a minute ahead, and a refusal from there on.
    verdicts: Counter[str] = Counter(dict(query("SELECT verdict, COUNT(*) FROM tap GROUP BY verdict")))
    verdicts.update(dict(query("SELECT verdict, count FROM refusal")))
    ((withheld,),) = query("SELECT COUNT(*) FROM withheld")
    ((gaps,),) = query("SELECT COUNT(*) FROM gap")
    ((rebased,),) = query("SELECT COUNT(rebased_at) FROM tap")
    tickets = dict(query("SELECT outcome, COUNT(*) FROM ticket GROUP BY outcome"))
    return LedgerStats(streams, rows, duplicates, redeemed, dict(verdicts), withheld, gaps, rebased, tickets)

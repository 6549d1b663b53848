"""Sets of seqs in SQL, as disjoint ranges of a stream that never adjoin: small and exact for a million rows."""

from dataclasses import dataclass

from edge_agent.cloud.continuity import Range, merge
from edge_agent.cloud.ledger_sql import Database


@dataclass(frozen=True, slots=True)
class Ranges:
    """One table (stream, first, last) and its statements."""

    touching: str
    delete: str
    insert: str


ACCOUNTED = Ranges(
    "SELECT first, last FROM island WHERE stream = ? AND first <= ? ORDER BY first DESC",
    "DELETE FROM island WHERE stream = ? AND first = ?",
    "INSERT INTO island (stream, first, last) VALUES (?, ?, ?)",
)
"""What is stored, withheld or given up."""
LET_GO = Ranges(
    "SELECT first, last FROM let_go WHERE stream = ? AND first <= ? ORDER BY first DESC",
    "DELETE FROM let_go WHERE stream = ? AND first = ?",
    "INSERT INTO let_go (stream, first, last) VALUES (?, ?, ?)",
)
"""What was withheld and is not kept any more."""


def add_range(db: Database, ranges: Ranges, stream_id: int, run: Range) -> None:
    """Merge ``run`` into the stored ranges. They are disjoint: the walk down from its end can stop early."""
    touching: list[Range] = []
    for first, last in db.execute(ranges.touching, (stream_id, run[1] + 1)):
        if last < run[0] - 1:
            break
        touching.append((first, last))
    merged = merge(run, touching)
    if touching == [merged]:
        return
    db.executemany(ranges.delete, ((stream_id, first) for first, _ in touching))
    db.execute(ranges.insert, (stream_id, *merged))

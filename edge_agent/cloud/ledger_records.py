"""The ledger's gap records, checkpoints and withheld tokens in SQL, and all that is claimed of the links of a stream.

Called on the ledger's thread within the transaction of their rows. What is given up or withheld never replaces a tap:
a token that comes later for such a seq is stored all the same.
"""

from collections import defaultdict
from collections.abc import Iterator

from edge_agent.cloud.base import CheckpointRow, Disposition, GapRow, Row
from edge_agent.cloud.continuity import Claim, Range, gap_claims, runs, token_claims
from edge_agent.cloud.ledger_ranges import LET_GO, add_range
from edge_agent.cloud.ledger_sql import Database

WITHHELD_PER_KEY = 10_000
"""What whoever stole a key can make the ledger keep: 3 MB."""

_INSERT_GAP = """
INSERT INTO gap (stream, first, last, prev, hash, reason, iat, kid, record, received_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_CHECKPOINT = """
INSERT OR REPLACE INTO checkpoint (stream, seq, head, clk, iat, kid, record, received_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_WITHHOLD = """
INSERT INTO withheld (stream, seq, token, verdict, kid, iat, prev, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_OTHER_CLAIMS = """
SELECT seq, token, prev FROM withheld WHERE stream = ? AND seq BETWEEN ? AND ?
UNION ALL SELECT first, prev, NULL FROM gap WHERE stream = ? AND first BETWEEN ? AND ?
      AND (prev != zeroblob(16) OR first = 1)
UNION ALL SELECT last + 1, hash, NULL FROM gap WHERE stream = ? AND last BETWEEN ? AND ? AND hash != zeroblob(16)
UNION ALL SELECT seq + 1, head, NULL FROM checkpoint WHERE stream = ? AND seq BETWEEN ? AND ?
"""
_OLDEST_KEPT = "SELECT id FROM withheld WHERE kid = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
_TO_LET_GO = "SELECT stream, seq FROM withheld WHERE kid = ? AND id <= ?"
_WITHHELD = "SELECT seq, token, prev FROM withheld WHERE stream = ? AND seq BETWEEN ? AND ?"


def token_at(db: Database, stream_id: int | None, seq: int) -> bytes | None:
    """The bytes of the tap stored there."""
    found = db.execute("SELECT token FROM tap WHERE stream = ? AND seq = ?", (stream_id, seq)).fetchone()
    return None if found is None else bytes(found[0])


def withhold(db: Database, stream_id: int, row: Row) -> Disposition:
    """Keep a token that is no tap, the first one for each seq."""
    kept = token_at(db, stream_id, row.seq)
    if kept is None:
        for _, token, _ in db.execute(_WITHHELD, (stream_id, row.seq, row.seq)):
            kept = token
    if kept is not None:
        return Disposition.DUPLICATE if kept == row.token else Disposition.CONFLICT
    values = (row.seq, row.token, row.verdict, row.kid, row.iat, row.prev, row.received_at)
    db.execute(_WITHHOLD, (stream_id, *values))
    return Disposition.STORED


def let_go(db: Database, kid: bytes) -> None:
    """Of the tokens of one key that are no taps keep the newest; the others stay accounted for, without their bytes."""
    oldest = db.execute(_OLDEST_KEPT, (kid, WITHHELD_PER_KEY)).fetchone()
    if oldest is None:
        return
    gone: defaultdict[int, set[int]] = defaultdict(set)
    for stream_id, seq in db.execute(_TO_LET_GO, (kid, *oldest)):
        gone[stream_id].add(seq)
    for stream_id, seqs in gone.items():
        for run in runs(seqs):
            add_range(db, LET_GO, stream_id, run)
    db.execute("DELETE FROM withheld WHERE kid = ? AND id <= ?", (kid, *oldest))


def put_gap(db: Database, stream_id: int, gap: GapRow) -> Disposition:
    """Keep a gap record; the same one signed again is a duplicate, one with other hashes a conflict."""
    place = (stream_id, gap.first, gap.last)
    found = db.execute("SELECT prev, hash FROM gap WHERE stream = ? AND first = ? AND last = ?", place).fetchone()
    if found is not None:
        return Disposition.DUPLICATE if found == (gap.prev, gap.hash) else Disposition.CONFLICT
    rest = (gap.prev, gap.hash, gap.reason, gap.iat, gap.kid, gap.record, gap.received_at)
    db.execute(_INSERT_GAP, (*place, *rest))
    return Disposition.STORED


def put_checkpoint(db: Database, stream_id: int, point: CheckpointRow) -> Disposition:
    """Keep the checkpoint that goes farthest; one that goes less far says nothing new about the end (duplicate)."""
    found = db.execute("SELECT seq, head FROM checkpoint WHERE stream = ?", (stream_id,)).fetchone()
    if found is not None and found[0] >= point.seq:
        contradicts = found[0] == point.seq and found[1] != point.head
        return Disposition.CONFLICT if contradicts else Disposition.DUPLICATE
    rest = (point.seq, point.head, point.clk, point.iat, point.kid, point.record, point.received_at)
    db.execute(_PUT_CHECKPOINT, (stream_id, *rest))
    return Disposition.STORED


def claims_of(record: GapRow | CheckpointRow) -> list[Claim]:
    """What a record says of links."""
    if isinstance(record, GapRow):
        return gap_claims(record.first, record.last, record.prev, record.hash)
    return [(record.seq + 1, record.head)]


def claims(db: Database, stream_id: int, links: Range) -> Iterator[Claim]:
    """All that stored tokens and records say of these links and of some beside them; a tap speaks before a withheld
    token of its seq."""
    low, high = links
    near = (stream_id, low - 1, high)
    before = (stream_id, low - 1, high - 1)
    taps = set()
    for seq, token, prev in db.execute(
        "SELECT seq, token, prev FROM tap WHERE stream = ? AND seq BETWEEN ? AND ?", near
    ):
        taps.add(seq)
        yield from token_claims(seq, token, prev)
    # One statement: most streams have none of these, and every tap asks.
    for place, value, prev in db.execute(_OTHER_CLAIMS, (*near, stream_id, *links, *before, *before)):
        if prev is None:
            yield place, value
        elif place not in taps:
            yield from token_claims(place, value, prev)

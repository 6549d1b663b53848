"""The ledger's evidence in SQL: bytes that must not count, bounded for each verdict, and counts that go on for ever."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from edge_agent.cloud.base import Evidence, Stream
from edge_agent.cloud.ledger_sql import Database
from edge_agent.uplink.wire import Topics

EVIDENCE_PER_VERDICT = 1000
EVIDENCE_BYTES = 1024

_KEEP = """
INSERT INTO evidence (verdict, digest, topic, reason, size, payload, first_at, last_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (verdict, digest) DO UPDATE SET times = times + 1, last_at = excluded.last_at
"""
_DROP = """
DELETE FROM evidence WHERE verdict = ?
AND id <= (SELECT id FROM evidence WHERE verdict = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
"""
_COUNT = """
INSERT INTO refusal (verdict, count) VALUES (?, ?)
ON CONFLICT (verdict) DO UPDATE SET count = count + excluded.count
"""


def keep_evidence(db: Database, evidence: Sequence[Evidence]) -> None:
    """Keep the newest of each verdict, count all."""
    for item in evidence:
        digest = hashlib.sha256(item.topic.encode("utf-8", "replace") + b"\0" + item.payload).digest()
        kept, size, at = item.payload[:EVIDENCE_BYTES], len(item.payload), item.received_at
        db.execute(_KEEP, (item.verdict, digest, item.topic, item.reason, size, kept, at, at))
    counts = Counter(item.verdict for item in evidence)
    for verdict, count in counts.items():
        count_refusals(db, verdict, count)
        db.execute(_DROP, (verdict, verdict, EVIDENCE_PER_VERDICT))


def count_refusals(db: Database, verdict: str, count: int) -> None:
    """Count what was refused and is kept elsewhere."""
    db.execute(_COUNT, (verdict, count))


def evidence_of(stream: Stream, verdict: str, reason: str, payload: bytes, received_at: float) -> Evidence:
    """Evidence against something that claims a place in this stream."""
    return Evidence(Topics(stream.fleet, stream.terminal).prefix, verdict, reason, payload, received_at)

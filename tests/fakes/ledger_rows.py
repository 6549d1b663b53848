"""Reads a receiver's ledger as an auditor does: the file itself, read-only."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One stored tap."""

    seq: int
    token: bytes
    verdict: str
    mode: int
    clk: int
    sub: bytes | None
    campaign: str | None
    rebased_at: int | None


def ledger_rows(path: Path) -> list[LedgerRow]:
    """All stored taps, in the order of their streams and seqs."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT seq, token, verdict, mode, clk, sub, campaign, rebased_at FROM tap ORDER BY stream, seq"
        )
        return [LedgerRow(*row) for row in rows]

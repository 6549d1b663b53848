"""The file of an outbox whose agent does not run, to be looked at. Never makes, migrates, changes or sets aside a file.

Each look opens the file and closes it again, so that an agent that starts meanwhile has it within a moment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox.alone import alone
from edge_agent.outbox.base import Codec, GapRecord, Head, OutboxStats, RowRange, StoredRow
from edge_agent.outbox.connection import PAGE_SIZE, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.listing import row_ranges, stored_rows
from edge_agent.outbox.quarantine import broken_files
from edge_agent.outbox.rows import ChainLoad, Rows
from edge_agent.outbox.runs import State
from edge_agent.outbox.wal import damaged_inside


@dataclass(frozen=True, slots=True)
class _Look:
    database: Database
    chains: list[ChainLoad]
    rows: Rows


class OutboxFile:
    """Reads one file; each method is one look and raises OutboxError (HELD: an agent has it now)."""

    def __init__(self, path: Path, codec: Codec) -> None:
        self._path = path
        self._codec = codec

    def check(self) -> None:
        """Take the look that an agent takes at its start; raises OutboxError(DAMAGED) where it would set it aside."""
        with self._look() as look:
            look.database.connection.check()

    def stats(self) -> OutboxStats:
        """Count rows and bytes."""
        with self._look() as look:
            rows = look.rows
            return OutboxStats(
                chain=rows.current,
                next_seq=rows.next_seq,
                pending=rows.count(State.PENDING),
                leased=0,
                sent=rows.count(State.SENT),
                stored=rows.count(State.STORED),
                parked=rows.count(State.PARKED),
                bytes_on_disk=look.database.bytes_on_disk(),
                evicted=look.database.evicted(),
                gaps=sum(record.sent_at is None for chain in look.chains for record in chain.records),
                quarantined=tuple(broken.name for broken in broken_files(self._path)),
            )

    def head(self) -> Head:
        """The end of the current chain."""
        with self._look() as look:
            return look.database.head()

    def ranges(self) -> list[RowRange]:
        """All rows by state, in order of chain and seq."""
        with self._look() as look:
            return row_ranges(look.rows)

    def page(self, chain: bytes | None, after: int, limit: int) -> list[StoredRow]:
        """Read rows in order of chain and seq: those after seq ``after`` of ``chain``. Empty only at the end."""
        with self._look() as look:
            for id_ in look.rows.chains(chain):
                seq = after if id_ == chain else 0
                while found := look.database.page(look.rows.number(id_), seq, limit):
                    if page := stored_rows(look.rows, id_, found):
                        return page
                    seq = found[-1][0]
            return []

    def gap_records(self) -> list[GapRecord]:
        """Read all gap records that are still here."""
        with self._look() as look:
            return [
                GapRecord(record.number, chain.id, record.first, record.last, record.token)
                for chain in look.chains
                for record in chain.records
            ]

    @contextmanager
    def _look(self) -> Iterator[_Look]:
        self._keep_wal()
        database = Database(self._path, self._codec, to_read=True)
        try:
            chains = database.chains()
            # Nothing ages and nothing is deleted here: what delivery is configured to keep does not matter.
            yield _Look(database, chains, Rows(chains, keep_sent_s=None, keep_newest=0))
        finally:
            database.close()

    def _keep_wal(self) -> None:
        """Raise OutboxError(DAMAGED) where SQLite would delete rows in opening: a WAL alone, or one with a hole."""
        log = wal_path(self._path)
        if not (os.access(self._path, os.W_OK) and log.is_file() and log.stat().st_size):
            return
        with alone(self._path):
            if self._path.stat().st_size == 0:
                why = "only its WAL is left"
            else:
                with log.open("rb") as file:
                    if not damaged_inside(file, PAGE_SIZE):
                        return
                why = "the middle of its WAL is damaged"
        raise OutboxError(
            f"{self._path} is damaged: {why}",
            remedy="start the agent: it sets the file aside and delivers what can be read of it",
            fault=OutboxFault.DAMAGED,
        )

"""The rows of the outbox on disk: what one thread does with the only connection, one transaction each.

One tap is one INSERT statement, which is its own transaction; seq and prev come from the rows themselves: there is no
second truth to tear. It never signs and never decides what may be deleted. Every method raises OutboxError.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import CHAIN_ID_BYTES, FIRST_PREV, ChainPosition, ClockReading, StoredTap
from edge_agent.outbox.base import Bounds, Codec, Head, Hole
from edge_agent.outbox.connection import CHECKPOINT_EVERY_ROWS, Connection
from edge_agent.outbox.gaps import GapOrder, RecordLoad, RecordsPlan, Sealed
from edge_agent.outbox.last_wall import read_wall, write_wall
from edge_agent.outbox.policy import Usage, page_limit, spare
from edge_agent.outbox.rows import ChainLoad, Plan, Span

MAX_TOKEN_BYTES = 1024  # as in the schema; the contract's own limit is far below
RESERVE_PAGES = 128
SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
_MEASURED = ("page_size", "page_count", "freelist_count")

Seal = Callable[[ChainPosition], tuple[bytes, int]]
"""Makes the token for one place in the chain; returns it with its exp (unix seconds)."""


def free_bytes(folder: Path) -> int:
    """Free space that the agent's user may use; the seam for tests that fill a disk."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Database:
    """One open outbox file. Every method may take as long as the medium does and raises OutboxError."""

    def __init__(self, path: Path, codec: Codec, *, to_read: bool = False) -> None:
        self._codec = codec
        self._head: tuple[int, ChainPosition] | None = None
        self._rows_since_checkpoint = 0
        self._page_limit: int | None = None
        self._bounds: Bounds | None = None
        self._wall: ClockReading | None = None
        self.connection = Connection(path, on_create=_insert_chain, on_error=self._forget_head, to_read=to_read)

    def _forget_head(self) -> None:
        self._head = None  # whatever happened, the rows on disk are the truth

    def chains(self) -> list[ChainLoad]:
        """All chains, the current one last; a handful of index look-ups however many rows are waiting."""
        with self.connection.errors():
            rows = self.connection.execute(
                "SELECT number, id, first_seq, next_seq FROM chains ORDER BY state DESC, number"
            )
            return [self._load_chain(*row) for row in rows.fetchall()]

    def chain(self, number: int) -> ChainLoad:
        """One chain by its number."""
        with self.connection.errors():
            query = "SELECT number, id, first_seq, next_seq FROM chains WHERE number = ?"
            return self._load_chain(*self.connection.execute(query, (number,)).fetchone())

    def _load_chain(self, number: int, id_: bytes, first_seq: int, next_seq: int) -> ChainLoad:
        bounds = (row_key(number, 0), row_key(number, SEQ_MASK))
        (lowest,) = self.connection.execute("SELECT min(key) FROM rows WHERE key BETWEEN ? AND ?", bounds).fetchone()
        (highest,) = self.connection.execute("SELECT max(key) FROM rows WHERE key BETWEEN ? AND ?", bounds).fetchone()
        spans = self.connection.execute(
            "SELECT first, last, state, at, note FROM spans WHERE chain = ?", (number,)
        ).fetchall()
        return ChainLoad(
            number=number,
            id=id_,
            first_seq=first_seq,
            next_seq=next_seq if highest is None else max(next_seq, (highest & SEQ_MASK) + 1),
            lowest=None if lowest is None else lowest & SEQ_MASK,
            spans=tuple(Span(number, *span) for span in spans),
            records=tuple(self._load_records(number)),
        )

    def _load_records(self, chain: int) -> Iterator[RecordLoad]:
        records = self.connection.execute(
            "SELECT number, first, last, sent_at, token FROM records WHERE chain = ? AND kind = 'gap'", (chain,)
        )
        for record, first, last, sent_at, token in records.fetchall():
            yield RecordLoad(record, first, last, sent_at, token, self._codec.read_gap(token))

    def head(self) -> Head:
        """The end of the current chain."""
        with self.connection.errors():
            _, place = self._head or self._read_head()
        return Head(place.chain, place.seq - 1, place.prev)

    def operated_s(self) -> float:
        """Seconds that this database has been open, as last written."""
        return self._meta("operated_s")

    def evicted(self) -> int:
        """Rows given up undelivered since this database began."""
        return int(self._meta("evicted"))

    def _meta(self, key: str) -> float:
        with self.connection.errors():
            row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def append(self, seals: Sequence[Seal], now: Callable[[], float]) -> list[StoredTap | OutboxError]:
        """Seal and commit taps in one transaction, in order; a seal that fails costs its own tap only.

        Raises OutboxError if the commit fails: then nothing was kept, and no seq is used up.
        """
        with self.connection.errors():
            number, place = self._head or self._read_head()
        results: list[tuple[ChainPosition, bytes, int] | OutboxError] = []
        values: list[int | bytes] = []
        for seal in seals:
            try:
                token, exp = _sealed(seal, place)
            except OutboxError as error:
                results.append(error)
                continue
            results.append((place, token, exp))
            values += (row_key(number, place.seq), exp, token)
            place = ChainPosition(place.chain, place.seq + 1, self._codec.link_hash(token))
        if values:
            marks = ", ".join(["(?, ?, ?)"] * (len(values) // 3))
            with self.connection.errors():
                # One statement, one transaction: between two statements the GIL may be 5 ms away on a busy agent.
                self.connection.execute(f"INSERT INTO rows (key, exp, token) VALUES {marks}", values)  # noqa: S608 - only marks
            self._rows_since_checkpoint += len(values) // 3
            self._head = (number, place)
        committed_at = now()
        return [
            result
            if isinstance(result, OutboxError)
            else StoredTap(result[0].chain, result[0].seq, result[1], exp=result[2], committed_at=committed_at)
            for result in results
        ]

    def _read_head(self) -> tuple[int, ChainPosition]:
        number, chain, seq, head = self.connection.execute(
            "SELECT number, id, next_seq, head FROM chains WHERE state = 0"
        ).fetchone()
        row = self.connection.execute(
            "SELECT key, token FROM rows WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1",
            (row_key(number, seq), row_key(number, SEQ_MASK)),
        ).fetchone()
        if row is not None:
            seq, head = (row[0] & SEQ_MASK) + 1, self._codec.link_hash(row[1])
        return number, ChainPosition(chain, seq, head)

    def read(self, number: int, first: int, last: int) -> dict[int, bytes]:
        """Tokens by seq; rows that are not there are left out."""
        base = row_key(number, 0)
        # One step for all rows: stepping row by row takes the GIL anew for each, 2,000 rows/s while the loop is busy.
        with self.connection.errors():
            (packed,) = self.connection.execute(
                "SELECT group_concat((key - ?) || ' ' || hex(token)) FROM rows WHERE key BETWEEN ? AND ?",
                (base, base + first, base + last),
            ).fetchone()
        if packed is None:
            return {}
        return {int(seq): bytes.fromhex(token) for seq, token in (item.split(" ") for item in packed.split(","))}

    def tail(self, limit: int) -> list[StoredTap]:
        """The newest rows on disk, newest last."""
        with self.connection.errors():
            ids = dict(self.connection.execute("SELECT number, id FROM chains").fetchall())
            rows = self.connection.execute(
                "SELECT key, token, exp FROM rows ORDER BY key DESC LIMIT ?", (limit,)
            ).fetchall()
        return [
            StoredTap(ids[key >> SEQ_BITS], key & SEQ_MASK, token, exp)
            for key, token, exp in reversed(rows)
            if key >> SEQ_BITS in ids  # rows that are being salvaged have no chain yet
        ]

    def page(self, number: int, after: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Up to ``limit`` rows of one chain behind seq ``after``: seq, exp, token."""
        bounds = (row_key(number, max(0, min(after, SEQ_MASK))), row_key(number, SEQ_MASK))
        with self.connection.errors():
            rows = self.connection.execute(
                "SELECT key, exp, token FROM rows WHERE key > ? AND key <= ? ORDER BY key LIMIT ?", (*bounds, limit)
            ).fetchall()
        return [(key & SEQ_MASK, exp, token) for key, exp, token in rows]

    def apply_records(self, plan: RecordsPlan) -> None:
        """Write what became of gap records."""
        with self._reserve(), self.connection.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany(
                "UPDATE records SET sent_at = ? WHERE number = ?", [(at, number) for number, at in plan.sent_at.items()]
            )
            self.connection.executemany("DELETE FROM records WHERE number = ?", [(number,) for number in plan.deleted])
            self.connection.execute("COMMIT")

    def apply(self, plan: Plan, orders: Sequence[GapOrder] = ()) -> list[Sealed]:
        """Write one plan of confirmations and deletions with its gap records, all of it or nothing."""
        with self.connection.errors():
            number, place = self._head or self._read_head()
            # This thread is the only writer: what is read before the transaction is what the transaction deletes.
            sealed = [self._sealed_gap(order) for order in orders]
        with self._reserve(), self.connection.errors():
            run, many = self.connection.execute, self.connection.executemany
            run("BEGIN IMMEDIATE")
            many("DELETE FROM spans WHERE chain = ? AND first = ?", [(span.chain, span.first) for span in plan.removed])
            many(
                "INSERT OR REPLACE INTO spans (chain, first, last, state, at, note) VALUES (?, ?, ?, ?, ?, ?)",
                [(span.chain, span.first, span.last, span.state, span.at, span.note) for span in plan.added],
            )
            many(
                "UPDATE chains SET first_seq = ?, next_seq = max(next_seq, ?) WHERE number = ?",
                [(seq, seq, chain) for chain, seq in plan.first_seqs.items()],
            )
            if plan.rows or plan.first_seqs:  # the rows alone may no longer tell where the chain ends
                run("UPDATE chains SET next_seq = ?, head = ? WHERE number = ?", (place.seq, place.prev, number))
            many(
                "DELETE FROM rows WHERE key BETWEEN ? AND ?",
                [(row_key(rows.chain, rows.first), row_key(rows.chain, rows.last)) for rows in plan.deleted]
                + [(row_key(rows.number, rows.first), row_key(rows.number, rows.last)) for rows in plan.evicted],
            )
            many("DELETE FROM records WHERE number = ?", [(old,) for one in sealed for old in one.order.replaces])
            many(
                "INSERT INTO records (number, chain, kind, first, last, token) VALUES (?, ?, 'gap', ?, ?, ?)",
                [(one.order.number, one.order.lost.number, one.hole.first, one.hole.last, one.token) for one in sealed],
            )
            if plan.lost:
                run(
                    "INSERT INTO meta (key, value) VALUES ('evicted', ?)"
                    " ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
                    (plan.lost,),
                )
            run("INSERT OR REPLACE INTO meta (key, value) VALUES ('operated_s', ?)", (plan.now,))
            if self._wall is not None:
                write_wall(self.connection, self._wall)
            run("COMMIT")
        self._rows_since_checkpoint += 1 + plan.rows // 4
        return sealed

    def remember_wall(self, good: ClockReading, *, at_once: bool) -> None:
        """Keep the last good wall time: in a transaction of its own, or with the next plan, where it costs nothing."""
        self._wall = good
        if at_once:
            with self._reserve(), self.connection.errors():
                write_wall(self.connection, good)

    def last_wall(self) -> ClockReading | None:
        """The last good wall time that was written."""
        with self.connection.errors():
            return read_wall(self.connection)

    def _sealed_gap(self, order: GapOrder) -> Sealed:
        lost = order.lost
        prev = self._prev(lost.number, lost.first) if order.prev is None else order.prev
        hash_ = self._link(lost.number, lost.last) if order.hash is None else order.hash
        hole = Hole(lost.chain, lost.first, lost.last, prev, hash_, order.reason)
        try:
            return Sealed(order, hole, self._codec.seal_gap(hole))
        except Exception as error:  # a foreign callback: without its record nothing may be given up
            raise OutboxError(f"a gap record could not be sealed: {error}", fault=OutboxFault.REFUSED) from error

    def _prev(self, number: int, seq: int) -> bytes:
        """What row ``seq`` names as its prev; from the row before where it is not on disk, zeros where neither is."""
        tokens = self.read(number, seq - 1, seq)
        if seq in tokens and (place := self._codec.place(tokens[seq])) is not None:
            return place.prev
        return self._codec.link_hash(tokens[seq - 1]) if seq - 1 in tokens else FIRST_PREV

    def _link(self, number: int, seq: int) -> bytes:
        """Link hash of row ``seq``; from the row behind where it is not on disk, zeros where neither is."""
        tokens = self.read(number, seq, seq + 1)
        if seq in tokens:
            return self._codec.link_hash(tokens[seq])
        place = self._codec.place(tokens[seq + 1]) if seq + 1 in tokens else None
        return FIRST_PREV if place is None else place.prev

    @contextmanager
    def _reserve(self) -> Iterator[None]:
        """Deleting needs a few pages before it gives some back: it may use them where a tap must not."""
        if self._page_limit is None:
            yield
            return
        self._limit(self._page_limit + RESERVE_PAGES)
        try:
            yield
        finally:
            self._limit(self._page_limit)

    def _limit(self, pages: int) -> None:
        with self.connection.errors():
            self.connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def measure(self, bounds: Bounds) -> Usage:
        """Measure what is used, and let the file grow no further than the bounds allow at this moment.

        SQLite itself refuses the tap for which there is no page: no look at a size is needed for each tap.
        """
        with self.connection.errors():
            pragma = {name: self.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _MEASURED}
            free = free_bytes(self.connection.path.parent)
            size = self.connection.path.stat().st_size
        usage = Usage(
            page_size=pragma["page_size"],
            pages=pragma["page_count"],
            free_pages=pragma["freelist_count"],
            file_bytes=size,
            disk_free_bytes=free,
        )
        self._bounds = bounds
        self._page_limit = page_limit(bounds, usage)
        self._limit(self._page_limit)
        return usage

    def spare(self) -> bool:
        """Whether there is room for more than the taps to come, by the bounds that were measured by last."""
        return self._bounds is None or spare(self._bounds, self.measure(self._bounds))

    def probe(self) -> None:
        """Find out whether a tap could be kept: write as much as one and take it back. Raises OutboxError if not."""
        with self.connection.errors():
            self.connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(2000))")
        with self._reserve(), self.connection.errors():
            self.connection.execute("DELETE FROM meta WHERE key = 'probe'")

    @property
    def checkpoint_due(self) -> bool:
        """Whether an idle moment should be used to copy the WAL back."""
        return self._rows_since_checkpoint >= CHECKPOINT_EVERY_ROWS

    def checkpoint(self) -> None:
        """Copy the WAL into the database, so that its file is used from the start again."""
        self._rows_since_checkpoint = 0
        self.connection.checkpoint()

    def bytes_on_disk(self) -> int:
        """Size of the database file and its WAL."""
        return self.connection.bytes_on_disk()

    def close(self) -> None:
        """Copy the WAL back and close."""
        self.connection.close()


class Call(Protocol):
    """Runs a piece of work on the writer thread; taps overtake it."""

    def __call__(self, run: Callable[[Database], Any]) -> Awaitable[Any]:
        """Raises OutboxError."""


def _insert_chain(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO chains (id, state, created_unix, first_seq, next_seq, head) VALUES (?, 0, ?, 1, 1, ?)",
        (os.urandom(CHAIN_ID_BYTES), int(time.time()), FIRST_PREV),
    )


def row_key(number: int, seq: int) -> int:
    """Key of one row: ``chains.number << 40 | seq``."""
    return number << SEQ_BITS | seq


def _sealed(seal: Seal, place: ChainPosition) -> tuple[bytes, int]:
    try:
        token, exp = seal(place)
    except Exception as error:  # a foreign callback: what it raises is the answer to this tap alone
        raise OutboxError(f"the tap could not be sealed: {error}", fault=OutboxFault.REFUSED) from error
    if not 1 <= len(token) <= MAX_TOKEN_BYTES:
        raise OutboxError(
            f"a token of {len(token)} bytes, 1 to {MAX_TOKEN_BYTES} can be kept", fault=OutboxFault.REFUSED
        )
    return token, exp

"""What salvage does in the new database, a piece at a time, on the writer thread. Raises OutboxError.

Rows lie there unseen, under a number that only ``meta`` knows, until ``finish`` writes their chains, the holes and the
marks in one transaction: a crash before that only means that all is done once more, and finds most of it done.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from edge_agent.models import FIRST_PREV
from edge_agent.outbox.base import Codec, Hole
from edge_agent.outbox.carve import CarvedRow
from edge_agent.outbox.database import SEQ_MASK, Database, row_key
from edge_agent.outbox.rows import ChainLoad
from edge_agent.outbox.runs import State

_DONE, _UNDER_WAY = "salvaged:", "salvaging:"


@dataclass(frozen=True, slots=True)
class Link:
    """One row as a link of its chain."""

    seq: int
    prev: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class OldChain:
    """One chain to be taken over: its rows are in place, here is what else there is to know of it."""

    id: bytes
    number: int
    first_seq: int
    next_seq: int
    head: bytes
    gone: tuple[tuple[int, int], ...] = ()
    """Ranges in it that are not there."""
    broken: tuple[int, ...] = ()
    """Rows in it that are damaged and must go."""
    holes: tuple[Hole, ...] = ()
    records: tuple[tuple[Hole, bytes], ...] = field(default=(), repr=False)
    """Signed gap records that were found."""


def done(database: Database) -> dict[str, int]:
    """Names of the damaged files that are taken over, and how many bytes of each could not be read."""
    with database.connection.errors():
        rows = database.connection.execute("SELECT key, value FROM meta WHERE key GLOB ?", (_DONE + "*",)).fetchall()
    return {key.removeprefix(_DONE): unreadable for key, unreadable in rows}


def current_chain(database: Database) -> bytes:
    """Id of the chain that taps go to."""
    return database.head().chain


def store(database: Database, codec: Codec, found: Sequence[CarvedRow], floors: dict[bytes, int]) -> set[bytes]:
    """Put the tokens among ``found`` in place, but those below the floor of their chain. Returns their chains.

    The rows of the current chain are left alone: they can only be copies.
    """
    current = current_chain(database)
    by_chain: dict[bytes, list[tuple[int, int, bytes]]] = {}
    for row in found:
        place = codec.place(row.token)
        if place is None or place.seq != row.key & SEQ_MASK or place.chain == current:
            continue
        if place.seq >= floors.get(place.chain, 1):
            by_chain.setdefault(place.chain, []).append((place.seq, codec.exp(row.token), row.token))
    if not by_chain:
        return set()
    with _transaction(database):
        for chain, rows in by_chain.items():
            number = number_of(database, chain)
            database.connection.executemany(
                "INSERT OR IGNORE INTO rows (key, exp, token) VALUES (?, ?, ?)",
                [(row_key(number, seq), exp, token) for seq, exp, token in rows],
            )
    return set(by_chain)


def reserved_number(database: Database, chain: bytes) -> int:
    """The number under which the chain's rows are, or are to be."""
    with _transaction(database):
        return number_of(database, chain)


def number_of(database: Database, chain: bytes) -> int:
    """The chain's number: as loaded already, as reserved by an earlier try, or a new one below all others."""
    run = database.connection.execute
    row = run("SELECT number FROM chains WHERE id = ?", (chain,)).fetchone()
    row = row or run("SELECT value FROM meta WHERE key = ?", (_UNDER_WAY + chain.hex(),)).fetchone()
    if row is None:
        reserved = "SELECT value AS number FROM meta WHERE key GLOB ?"
        low, high = run(
            f"SELECT min(number), max(number) FROM (SELECT number FROM chains UNION ALL {reserved})",  # noqa: S608 - only the constant above
            (_UNDER_WAY + "*",),
        ).fetchone()
        row = (low - 1 if low > 1 else high + 1,)
        run("INSERT INTO meta (key, value) VALUES (?, ?)", (_UNDER_WAY + chain.hex(), row[0]))
    return int(row[0])


def links(database: Database, codec: Codec, number: int, below: int, limit: int) -> list[Link]:
    """The highest rows below seq ``below``, highest first."""
    with database.connection.errors():
        rows = database.connection.execute(
            "SELECT key, token FROM rows WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT ?",
            (row_key(number, 0), row_key(number, min(below, SEQ_MASK)), limit),
        ).fetchall()
    found = []
    for key, token in rows:
        place = codec.place(token)
        found.append(Link(key & SEQ_MASK, place.prev if place else FIRST_PREV, codec.link_hash(token)))
    return found


def is_known(database: Database, chain: bytes) -> bool:
    """Whether the chain was taken over before; its rows may be on their way, or delivered and gone."""
    with database.connection.errors():
        return database.connection.execute("SELECT 1 FROM chains WHERE id = ?", (chain,)).fetchone() is not None


def finish(
    database: Database, codec: Codec, chains: Sequence[OldChain], files: dict[str, int], last_number: int
) -> list[ChainLoad]:
    """Make the chains real and mark the files as done, all or nothing. Returns the chains as they are on disk now.

    ``files``: their names, and how many bytes of them could not be read. Gap records are numbered behind
    ``last_number``.
    """
    signed = [[*chain.records, *((hole, codec.seal_gap(hole)) for hole in chain.holes)] for chain in chains]
    with _transaction(database):
        for chain, records in zip(chains, signed, strict=True):
            _finish_chain(database, chain, records, last_number)
        run = database.connection.execute
        for name, unreadable in files.items():
            run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_DONE + name, unreadable))
        run("DELETE FROM meta WHERE key GLOB ?", (_UNDER_WAY + "*",))
    return [database.chain(chain.number) for chain in chains]


def _finish_chain(database: Database, chain: OldChain, records: Sequence[tuple[Hole, bytes]], last_number: int) -> None:
    run, many = database.connection.execute, database.connection.executemany
    run(
        "INSERT INTO chains (number, id, state, created_unix, first_seq, next_seq, head) VALUES (?, ?, 1, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET first_seq = min(first_seq, excluded.first_seq),"
        " next_seq = max(next_seq, excluded.next_seq)",
        (chain.number, chain.id, int(time.time()), chain.first_seq, chain.next_seq, chain.head),
    )
    many("DELETE FROM rows WHERE key = ?", [(row_key(chain.number, seq),) for seq in chain.broken])
    run("DELETE FROM spans WHERE chain = ? AND state = ?", (chain.number, int(State.GONE)))
    many(
        "INSERT OR IGNORE INTO spans (chain, first, last, state, at, note) VALUES (?, ?, ?, ?, 0.0, '')",
        [(chain.number, first, last, int(State.GONE)) for first, last in chain.gone],
    )
    known = set(run("SELECT first, last FROM records WHERE chain = ?", (chain.number,)).fetchall())
    (last,) = run("SELECT coalesce(max(number), 0) FROM records").fetchone()
    first = max(last, last_number) + 1
    new = [(first + index, chain.number, hole.first, hole.last, token) for index, (hole, token) in enumerate(records)]
    many(
        "INSERT INTO records (number, chain, kind, first, last, token) VALUES (?, ?, 'gap', ?, ?, ?)",
        [record for record in new if record[2:4] not in known],
    )


@contextmanager
def _transaction(database: Database) -> Iterator[None]:
    connection = database.connection
    with connection.errors():
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")

"""Story 3: boot without network and with a long queue. The first tap is taken while all of it still waits."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from edge_agent.tokens.tap_token import link_hash, parse
from tests.fakes.whole_agent import whole_agent

WAITING = 100_000
NUMBER_BITS = 40  # rows.key = chains.number << 40 | seq


def fill(database: Path, token: bytes) -> None:
    """Make the database one that 100,000 taps wait in: the same token again and again, nobody will send it."""
    with closing(sqlite3.connect(database)) as db, db:
        ((number, highest),) = db.execute("SELECT number, next_seq - 1 FROM chains WHERE state = 0").fetchall()
        keys = range(number << NUMBER_BITS | 2, (number << NUMBER_BITS) + WAITING + 1)
        assert highest <= 1
        db.executemany("INSERT INTO rows VALUES (?, ?, ?)", ((key, 2_000_000_000, token) for key in keys))
        head = (WAITING + 1, link_hash(token), number)
        db.execute("UPDATE chains SET next_seq = ?, head = ? WHERE number = ?", head)


async def test_the_first_tap_is_taken_while_a_hundred_thousand_wait(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        token = await terminal.good_tap()
        await terminal.stop()
        fill(tmp_path / "outbox.db", token)
        begun = time.process_time()  # of a processor: other programs and pauses of the machine do not count
        await terminal.start()
        claims = parse(await terminal.good_tap()).claims
        took_s = time.process_time() - begun
        print(f"first tap after {took_s:.2f} s of a processor, {WAITING:,} rows waiting")  # noqa: T201 - the figure of story 3
        assert claims.seq == WAITING + 1
        assert claims.prev == link_hash(token)
        stats = await terminal.agent.outbox.stats()
        assert stats.pending == WAITING + 1
        assert took_s < 10, "1 s on a quiet machine; a start that reads the queue takes far longer"

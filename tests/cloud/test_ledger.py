import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cloud.base import MAX_SEQ, Disposition, Evidence, LedgerError, Redemption, Row, Stream
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.ledger_evidence import EVIDENCE_BYTES, EVIDENCE_PER_VERDICT
from edge_agent.models import FIRST_PREV
from edge_agent.tokens.tap_token import link_hash
from tests.cloud.test_continuity import naive_ack

NOW = 1_790_000_000
STREAM = Stream("sh", "sh-1-a", b"chain--1")


def chain_of(count: int, stream: Stream = STREAM) -> list[Row]:
    rows: list[Row] = []
    prev = FIRST_PREV
    for seq in range(1, count + 1):
        token = b"token %d of " % seq + stream.terminal.encode()
        rows.append(
            Row(
                stream=stream,
                seq=seq,
                token=token,
                verdict="fresh",
                redeemable=True,
                received_at=NOW + 0.25,
                kid=b"key id 1",
                iat=NOW,
                exp=NOW + 90,
                clk=2,
                boot=b"bootbyte",
                up=100,
                prev=prev,
                mode=1,
                nonce=b"nonce%03d" % seq,
                sub=b"somebody",
                campaign="c-1",
            )
        )
        prev = link_hash(token)
    return rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(path)
    await opened.open()
    yield opened
    await opened.close()


async def ack(ledger: SqliteLedger, stream: Stream = STREAM) -> tuple[int, tuple[tuple[int, int], ...]]:
    (answer,) = await ledger.acks([stream])
    assert answer.chain == stream.chain
    return answer.through, answer.missing


async def test_stored_rows_are_acked_and_come_back_as_they_were(ledger: SqliteLedger, path: Path) -> None:
    rows = chain_of(3)
    report = await ledger.store(rows)
    assert report.dispositions == (Disposition.STORED,) * 3
    assert report.breaks == ()
    assert await ack(ledger) == (3, ())
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT seq, token, verdict, late, iat, exp, nonce, campaign FROM tap").fetchall()
    assert kept == [(r.seq, r.token, "fresh", 0, r.iat, r.exp, r.nonce, "c-1") for r in rows]


async def test_late_rows_carry_the_flag(ledger: SqliteLedger, path: Path) -> None:
    await ledger.store([replace(chain_of(1)[0], verdict="late", redeemable=False)])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT late FROM tap").fetchall() == [(1,)]


async def test_a_stream_never_seen_is_acked_through_zero(ledger: SqliteLedger) -> None:
    assert await ack(ledger) == (0, ())


async def test_duplicates_are_counted_not_stored(ledger: SqliteLedger) -> None:
    rows = chain_of(5)
    await ledger.store(rows)
    report = await ledger.store(rows[1:3])
    assert report.dispositions == (Disposition.DUPLICATE,) * 2
    stats = await ledger.stats()
    assert (stats.rows, stats.duplicates, stats.verdicts) == (5, 2, {"fresh": 5})


async def test_the_same_row_twice_in_one_batch_is_stored_once(ledger: SqliteLedger) -> None:
    row = chain_of(1)[0]
    report = await ledger.store([row, row])
    assert report.dispositions == (Disposition.STORED, Disposition.DUPLICATE)
    assert (await ledger.stats()).rows == 1


@pytest.mark.parametrize("together", [True, False])
async def test_the_same_place_with_other_bytes_is_a_conflict_and_its_proof_is_kept(
    ledger: SqliteLedger, path: Path, together: bool
) -> None:
    row = chain_of(1)[0]
    clone = replace(row, token=b"another token", nonce=b"another nonce")
    if together:
        report = await ledger.store([row, clone])
    else:
        await ledger.store([row])
        report = await ledger.store([clone])
    assert report.dispositions[-1] is Disposition.CONFLICT
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT token FROM tap").fetchall() == [(row.token,)]
        assert db.execute("SELECT verdict, payload FROM evidence").fetchall() == [("conflict", clone.token)]
    assert await ledger.redeem(now=NOW, nonce=b"another nonce") is Redemption.UNKNOWN
    assert (await ledger.stats()).verdicts == {"fresh": 1, "conflict": 1}


async def test_arrival_in_reverse_leaves_holes_and_closes_them(ledger: SqliteLedger) -> None:
    rows = chain_of(6)
    await ledger.store([rows[5], rows[3]])
    assert await ack(ledger) == (6, ((1, 3), (5, 5)))
    await ledger.store([rows[4], rows[2]])
    assert await ack(ledger) == (6, ((1, 2),))
    await ledger.store([rows[1], rows[0]])
    assert await ack(ledger) == (6, ())


@settings(max_examples=25)
@given(data=st.data())
async def test_acks_follow_the_naive_model_through_any_arrival(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = chain_of(150)
    batches = data.draw(st.lists(st.lists(st.integers(1, 150), min_size=1, max_size=60), min_size=1, max_size=6))
    ledger = SqliteLedger(tmp_path_factory.mktemp("model") / "ledger.db")
    await ledger.open()
    stored: set[int] = set()
    for batch in batches:
        report = await ledger.store([rows[seq - 1] for seq in batch])
        assert report.breaks == ()
        for seq, disposition in zip(batch, report.dispositions, strict=True):
            assert disposition is (Disposition.DUPLICATE if seq in stored else Disposition.STORED)
            stored.add(seq)
        through, missing = await ack(ledger)
        assert (through, {n for a, b in missing for n in range(a, b + 1)}) == naive_ack(stored)
    (audit,) = await ledger.audit()
    assert audit.index_agrees
    assert audit.count == len(stored)
    assert audit.breaks == ()
    await ledger.close()


async def test_the_highest_seq_that_is_let_in_is_a_row_like_any_other(ledger: SqliteLedger) -> None:
    row = replace(chain_of(1)[0], seq=MAX_SEQ)
    assert (await ledger.store([row])).dispositions == (Disposition.STORED,)
    assert (await ledger.store([row])).dispositions == (Disposition.DUPLICATE,)
    assert await ack(ledger) == (MAX_SEQ, ((1, MAX_SEQ - 1),))
    assert [audit.through for audit in await ledger.audit()] == [MAX_SEQ]


async def test_streams_do_not_mix(ledger: SqliteLedger) -> None:
    other_terminal = Stream("sh", "sh-2-a", STREAM.chain)
    other_fleet = Stream("bj", "sh-1-a", STREAM.chain)
    await ledger.store([*chain_of(2), *chain_of(1, other_terminal), chain_of(5, other_fleet)[4]])
    assert await ack(ledger) == (2, ())
    assert await ack(ledger, other_terminal) == (1, ())
    assert await ack(ledger, other_fleet) == (5, ((1, 4),))


async def test_a_ledger_opened_again_continues(path: Path) -> None:
    rows = chain_of(4)
    for part in (rows[:2], rows[1:4]):
        ledger = SqliteLedger(path)
        await ledger.open()
        await ledger.store(part)
        await ledger.close()
    ledger = SqliteLedger(path)
    await ledger.open()
    assert await ack(ledger) == (4, ())
    assert (await ledger.stats()).duplicates == 1
    await ledger.close()


async def test_two_processes_on_one_file_are_slow_but_safe(ledger: SqliteLedger, path: Path) -> None:
    other = SqliteLedger(path)
    await other.open()
    rows = chain_of(40)
    shuffled = random.Random(7).sample(rows, len(rows))
    await asyncio.gather(
        *(ledger.store(shuffled[n : n + 5]) for n in range(0, 40, 5)),
        *(other.store(shuffled[n : n + 7]) for n in range(0, 40, 7)),
    )
    assert await ack(ledger) == await ack(other) == (40, ())
    assert (await ledger.stats()).rows == 40
    (audit,) = await ledger.audit()
    assert audit.index_agrees
    await other.close()


async def test_a_failing_transaction_keeps_nothing(ledger: SqliteLedger, path: Path) -> None:
    rows = chain_of(3)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TRIGGER boom BEFORE INSERT ON tap WHEN NEW.seq = 3 BEGIN SELECT RAISE(FAIL, 'boom'); END")
        db.commit()
    with pytest.raises(LedgerError, match="boom"):
        await ledger.store(rows, [Evidence("t", "malformed", "junk", b"x", NOW)])
    assert await ack(ledger) == (0, ())
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER boom")
        db.commit()
    assert (await ledger.stats()).verdicts == {}
    report = await ledger.store(rows)
    assert report.dispositions == (Disposition.STORED,) * 3
    assert await ack(ledger) == (3, ())


async def test_a_row_that_does_not_follow_the_one_before_is_a_chain_break(ledger: SqliteLedger) -> None:
    rows = chain_of(5)
    rows[3] = replace(rows[3], prev=b"not the hash of 3")
    assert (await ledger.store([*rows[:2], *rows[3:]])).breaks == ()
    assert (await ledger.store([rows[2]])).breaks == ((STREAM, 4),)
    (audit,) = await ledger.audit()
    assert audit.breaks == (4,)


async def test_the_audit_reports_counts_holes_and_an_edited_row(ledger: SqliteLedger, path: Path) -> None:
    rows = chain_of(6)
    other = Stream("sh", "sh-2-a", b"chain--2")
    await ledger.store([*rows[:3], *rows[4:], *chain_of(2, other)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE tap SET token = x'00' WHERE stream = 1 AND seq = 1")
        db.execute("DELETE FROM tap WHERE stream = 2 AND seq = 2")
        db.commit()
    first, second = await ledger.audit()
    assert (first.stream, first.count, first.through, first.holes) == (STREAM, 5, 6, ((4, 4),))
    assert first.breaks == (2,)
    assert first.index_agrees
    assert (second.count, second.through, second.breaks) == (1, 1, ())
    assert not second.index_agrees


async def test_a_tap_is_redeemed_once(ledger: SqliteLedger) -> None:
    rows = chain_of(2)
    await ledger.store(rows)
    assert await ledger.redeem(now=NOW + 5, nonce=rows[0].nonce) is Redemption.REDEEMED
    assert await ledger.redeem(now=NOW + 5, nonce=rows[0].nonce) is Redemption.ALREADY
    cti = STREAM.chain + (1).to_bytes(8, "big")
    assert await ledger.redeem(now=NOW + 5, cti=cti) is Redemption.ALREADY
    cti = STREAM.chain + (2).to_bytes(8, "big")
    assert await ledger.redeem(now=NOW + 5, cti=cti) is Redemption.REDEEMED
    assert (await ledger.stats()).redeemed == 2


async def test_many_attempts_at_once_redeem_once(ledger: SqliteLedger) -> None:
    (row,) = chain_of(1)
    await ledger.store([row])
    answers = await asyncio.gather(*(ledger.redeem(now=NOW, nonce=row.nonce) for _ in range(20)))
    assert sorted(answers) == [Redemption.ALREADY] * 19 + [Redemption.REDEEMED]


async def test_redemption_ends_ten_seconds_after_exp(ledger: SqliteLedger) -> None:
    rows = chain_of(2)
    await ledger.store(rows)
    assert await ledger.redeem(now=NOW + 100, nonce=rows[0].nonce) is Redemption.REDEEMED
    assert await ledger.redeem(now=NOW + 100.1, nonce=rows[1].nonce) is Redemption.EXPIRED


async def test_one_nonce_buys_once_whatever_terminal_answered_it(ledger: SqliteLedger) -> None:
    other = Stream("sh", "sh-2-a", b"chain--2")
    rows = [*chain_of(1), *chain_of(1, other)]
    await ledger.store(rows)
    assert await ledger.redeem(now=NOW, nonce=rows[0].nonce) is Redemption.REDEEMED
    assert await ledger.redeem(now=NOW, nonce=rows[0].nonce) is Redemption.ALREADY
    assert await ledger.redeem(now=NOW, cti=other.chain + (1).to_bytes(8, "big")) is Redemption.ALREADY


async def test_what_is_not_redeemable_stays_so(ledger: SqliteLedger) -> None:
    row = replace(chain_of(1)[0], verdict="late", redeemable=False)
    await ledger.store([row])
    assert await ledger.redeem(now=NOW, cti=STREAM.chain + (1).to_bytes(8, "big")) is Redemption.NOT_REDEEMABLE
    assert await ledger.redeem(now=NOW, nonce=row.nonce) is Redemption.UNKNOWN


async def test_a_worthless_row_under_the_same_cti_does_not_hide_the_good_one(ledger: SqliteLedger) -> None:
    other = Stream("sh", "sh-2-a", STREAM.chain)
    await ledger.store([replace(chain_of(1, other)[0], redeemable=False), *chain_of(1)])
    assert await ledger.redeem(now=NOW, cti=STREAM.chain + (1).to_bytes(8, "big")) is Redemption.REDEEMED


@pytest.mark.parametrize("cti", [b"", b"x" * 16, b"\xff" * 16, bytes(16)])
async def test_an_unknown_cti_is_unknown(ledger: SqliteLedger, cti: bytes) -> None:
    await ledger.store(chain_of(1))
    assert await ledger.redeem(now=NOW, cti=cti) is Redemption.UNKNOWN


async def test_redeem_wants_one_key(ledger: SqliteLedger) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        await ledger.redeem(now=NOW)


async def test_evidence_is_bounded_for_each_verdict_and_counted_for_ever(ledger: SqliteLedger, path: Path) -> None:
    await ledger.store([], [Evidence("t", "conflict", "clone", b"precious", NOW)])
    flood = [Evidence("t", "malformed", "junk", b"%d" % n, NOW) for n in range(EVIDENCE_PER_VERDICT + 50)]
    for start in range(0, len(flood), 100):
        await ledger.store([], flood[start : start + 100])
    with closing(sqlite3.connect(path)) as db:
        kept = dict(db.execute("SELECT verdict, COUNT(*) FROM evidence GROUP BY verdict").fetchall())
        newest = db.execute("SELECT payload FROM evidence ORDER BY id DESC LIMIT 1").fetchone()
    assert kept == {"conflict": 1, "malformed": EVIDENCE_PER_VERDICT}
    assert newest == (flood[-1].payload,)
    assert (await ledger.stats()).verdicts == {"conflict": 1, "malformed": len(flood)}


async def test_a_verdict_that_is_stored_and_refused_counts_both(ledger: SqliteLedger) -> None:
    first, second, third = chain_of(3)
    suspects = [replace(row, verdict="clock_suspect", redeemable=False) for row in (first, second)]
    refused = Evidence("tap/v1/sh/sh-1-a/evt/tap", "clock_suspect", "a minute ahead", b"token", NOW)
    await ledger.store([*suspects, third], [refused])
    assert (await ledger.stats()).verdicts == {"clock_suspect": 3, "fresh": 1}


async def test_repeated_evidence_takes_one_row(ledger: SqliteLedger, path: Path) -> None:
    for n in range(3):
        await ledger.store([], [Evidence("t", "malformed", "junk", b"z" * 5000, NOW + n)])
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT times, first_at, last_at, size, length(payload) FROM evidence").fetchall()
    assert rows == [(3, NOW, NOW + 2, 5000, EVIDENCE_BYTES)]


async def test_another_database_is_not_taken_for_a_ledger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE tap (x)")
        db.commit()
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError, match="no ledger"):
        await ledger.open()
    await ledger.close()


async def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "missing" / "ledger.db")
    with pytest.raises(LedgerError, match=r"missing/ledger\.db"):
        await ledger.open()
    with pytest.raises(LedgerError, match="not open"):
        await ledger.store([])
    await ledger.close()


async def test_the_database_is_durable_by_its_pragmas(ledger: SqliteLedger, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file = ledger._opened()
    assert await ledger._run(lambda: file.db.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_a_row_that_somebody_deleted_stops_no_tap_and_is_taken_again(ledger: SqliteLedger, path: Path) -> None:
    rows = chain_of(3)
    await ledger.store(rows[:2])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM tap WHERE seq = 2")
    assert (await ledger.store([rows[2]])).dispositions == (Disposition.STORED,)
    assert [audit.index_agrees for audit in await ledger.audit()] == [False]
    assert (await ledger.store([rows[1]])).dispositions == (Disposition.STORED,)
    assert [(audit.index_agrees, audit.breaks) for audit in await ledger.audit()] == [(True, ())]


async def test_reports_do_not_wait_for_the_writer(ledger: SqliteLedger, path: Path) -> None:
    await ledger.store(chain_of(2))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert (await ledger.stats()).rows == 2
        db.execute("ROLLBACK")


async def test_random_tokens_survive_a_shuffle_of_many_streams(ledger: SqliteLedger) -> None:
    streams = [Stream("sh", f"sh-{n}-a", os.urandom(8)) for n in range(20)]
    rows = [row for stream in streams for row in chain_of(10, stream)]
    random.Random(3).shuffle(rows)
    for start in range(0, len(rows), 17):
        assert (await ledger.store(rows[start : start + 17])).breaks == ()
    assert [(a.through, a.missing) for a in await ledger.acks(streams)] == [(10, ())] * 20

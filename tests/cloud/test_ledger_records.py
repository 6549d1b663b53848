"""Gap records, checkpoints, withheld tokens and true times in the ledger, against a naive model."""

import random
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cloud import ledger_records
from edge_agent.cloud.base import MAX_SEQ, CheckpointRow, Disposition, GapRow, RecordRow, Redemption, Row, Stream
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.ledger_times import REBASED_AT_A_TIME
from edge_agent.models import FIRST_PREV
from edge_agent.tokens.tap_token import link_hash
from tests.cloud.test_continuity import naive_ack
from tests.cloud.test_ledger import NOW, STREAM, chain_of

OTHER = Stream("sh", "sh-2-a", STREAM.chain)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(tmp_path / "ledger.db")
    await opened.open()
    yield opened
    await opened.close()


def links_of(rows: list[Row]) -> list[bytes]:
    """Link hash of each seq, from seq 0 on."""
    return [FIRST_PREV, *(link_hash(row.token) for row in rows)]


def gap_of(rows: list[Row], first: int, last: int) -> GapRow:
    links = links_of(rows)
    record = b"gap %d to %d" % (first, last)
    return GapRow(rows[0].stream, first, last, links[first - 1], links[last], "full", NOW, b"key id 1", record, NOW)


def checkpoint_of(rows: list[Row], seq: int) -> CheckpointRow:
    record = b"checkpoint %d" % seq
    return CheckpointRow(rows[0].stream, seq, links_of(rows)[seq], 2, NOW, b"key id 1", record, NOW)


def withheld(row: Row) -> Row:
    return replace(row, withheld=True, verdict="revoked_key", redeemable=False)


async def standing(ledger: SqliteLedger, stream: Stream = STREAM) -> tuple[int, tuple[tuple[int, int], ...]]:
    (found,) = await ledger.standings([stream])
    return found.ack.through, found.holes


async def test_an_ack_passes_over_what_was_given_up_and_a_late_token_is_stored_all_the_same(
    ledger: SqliteLedger,
) -> None:
    rows = chain_of(8)
    await ledger.store([*rows[:3], *rows[6:]])
    assert await standing(ledger) == (8, ((4, 6),))
    report = await ledger.store([], records=[gap_of(rows, 4, 6)])
    assert (report.records, report.breaks) == ((Disposition.STORED,), ())
    assert await standing(ledger) == (8, ())
    (audit,) = await ledger.audit()
    assert (audit.count, audit.holes, audit.gaps, audit.breaks) == (5, (), ((4, 6),), ())
    report = await ledger.store([rows[4], replace(rows[4], token=b"a clone's")])
    assert report.dispositions == (Disposition.STORED, Disposition.CONFLICT)
    assert (await ledger.store([rows[4]])).dispositions == (Disposition.DUPLICATE,)
    (audit,) = await ledger.audit()
    assert (audit.count, audit.gaps, audit.index_agrees) == (6, ((4, 4), (6, 6)), True)
    assert (await ledger.stats()).gaps == 1


async def test_records_that_come_again_are_duplicates_and_one_with_other_hashes_breaks_the_chain(
    ledger: SqliteLedger,
) -> None:
    rows = chain_of(6)
    gap, point = gap_of(rows, 2, 3), checkpoint_of(rows, 6)
    await ledger.store(rows[:1], records=[gap, point])
    again = await ledger.store([], records=[replace(gap, record=b"signed anew"), point, checkpoint_of(rows, 5)])
    assert again.records == (Disposition.DUPLICATE,) * 3
    lies = [replace(gap, hash=b"another hash 16b"), replace(point, head=b"another hash 16b")]
    report = await ledger.store([], records=lies)
    assert report.records == (Disposition.CONFLICT,) * 2
    assert report.breaks == ((STREAM, 4), (STREAM, 7))
    assert (await ledger.stats()).verdicts["chain_break"] == 2, "the proof is kept"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("end", "link"), [("prev", 4), ("hash", 7)])
async def test_links_are_checked_across_a_gap_in_any_order(
    ledger: SqliteLedger, order: int, end: str, link: int
) -> None:
    rows = chain_of(8)
    wrong = replace(gap_of(rows, 4, 6), **{end: b"not what it was."})  # type: ignore[arg-type]  # both are bytes
    found: list[tuple[Stream, int]] = []
    for part in ([*rows[:3]], wrong, [*rows[6:]])[::order]:
        report = await (ledger.store([], records=[part]) if isinstance(part, GapRow) else ledger.store(part))
        found += report.breaks
    assert found == [(STREAM, link)]
    assert [audit.breaks for audit in await ledger.audit()] == [(link,)]


async def test_neighbouring_gaps_must_agree_on_the_link_between_them(ledger: SqliteLedger) -> None:
    rows = chain_of(8)
    report = await ledger.store([], records=[gap_of(rows, 1, 4), replace(gap_of(rows, 5, 8), prev=b"0123456789abcdef")])
    assert report.breaks == ((STREAM, 5),)
    assert [audit.breaks for audit in await ledger.audit()] == [(5,)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "blind", [{"prev": FIRST_PREV}, {"hash": FIRST_PREV}, {"prev": FIRST_PREV, "hash": FIRST_PREV}]
)
async def test_a_gap_record_of_unreadable_rows_says_nothing_of_the_links_it_does_not_know(
    ledger: SqliteLedger, order: int, blind: dict[str, bytes]
) -> None:
    rows = chain_of(8)
    for part in ([*rows[:3]], replace(gap_of(rows, 4, 6), **blind), [*rows[6:]])[::order]:  # type: ignore[arg-type]  # both are bytes
        report = await (ledger.store([], records=[part]) if isinstance(part, GapRow) else ledger.store(part))
        assert report.breaks == ()
    assert [(audit.holes, audit.breaks) for audit in await ledger.audit()] == [((), ())]


async def test_chains_with_holes_are_found_by_their_terminal_and_whole_ones_are_not(ledger: SqliteLedger) -> None:
    chains = [replace(STREAM, chain=b"chain--%d" % n) for n in range(1, 6)]
    inner, start, end, empty, whole = (chain_of(5, stream) for stream in chains)
    await ledger.store([*inner[:2], *inner[3:], *start[1:], *end[:4], *whole], records=[checkpoint_of(end, 5)])
    await ledger.store([], records=[checkpoint_of(empty, 1), checkpoint_of(whole, 5)])
    await ledger.store(chain_of(5, OTHER)[2:])
    found = await ledger.unfinished([(STREAM.fleet, STREAM.terminal), ("sh", "nobody")])
    assert set(found) == set(chains[:4])
    await ledger.store([inner[2], start[0]], records=[gap_of(end, 5, 5)])
    assert await ledger.unfinished([(STREAM.fleet, STREAM.terminal)]) == [chains[3]]


async def test_zeros_before_the_first_token_are_a_hash_like_any_other(ledger: SqliteLedger) -> None:
    rows = chain_of(2)
    rows[0] = replace(rows[0], prev=b"not zeros, 16 B.")
    report = await ledger.store(rows, records=[gap_of(rows, 1, 1)])
    assert report.breaks == ((STREAM, 1),)


async def test_a_checkpoint_makes_a_missing_end_a_hole_and_is_checked_when_the_end_comes(ledger: SqliteLedger) -> None:
    rows = chain_of(9)
    await ledger.store(rows[:6], records=[checkpoint_of(rows, 8)])
    assert await standing(ledger) == (6, ((7, 8),))
    assert [audit.holes for audit in await ledger.audit()] == [((7, 8),)]
    cut_off = replace(rows[7], token=b"what the terminal did not sign")
    assert (await ledger.store([rows[6], cut_off])).breaks == ((STREAM, 9),)
    assert await standing(ledger) == (8, ())
    assert [(audit.holes, audit.breaks) for audit in await ledger.audit()] == [((), (9,))]


async def test_an_older_checkpoint_contradicts_rows_as_well(ledger: SqliteLedger) -> None:
    rows = chain_of(9)
    await ledger.store(rows, records=[checkpoint_of(rows, 9)])
    assert (await ledger.store([], records=[checkpoint_of(rows, 5)])).breaks == ()
    lie = replace(checkpoint_of(rows, 5), head=b"0123456789abcdef")
    assert (await ledger.store([], records=[lie])).breaks == ((STREAM, 6),)
    assert await standing(ledger) == (9, ())


async def test_a_stream_of_records_alone_is_known(ledger: SqliteLedger) -> None:
    rows = chain_of(5)
    await ledger.store([], records=[checkpoint_of(rows, 5)])
    assert await standing(ledger) == (0, ((1, 5),))
    await ledger.store([], records=[gap_of(rows, 1, 5)])
    assert await standing(ledger) == (5, ())


async def test_the_largest_gap_that_is_let_in_fits(ledger: SqliteLedger) -> None:
    rows = chain_of(1)
    await ledger.store([], records=[replace(gap_of(rows, 1, 1), last=MAX_SEQ)])
    assert await standing(ledger) == (MAX_SEQ, ())
    assert [audit.gaps for audit in await ledger.audit()] == [((1, MAX_SEQ),)]


async def test_a_withheld_token_frees_its_place_in_the_outbox_and_is_no_tap(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    rows = chain_of(4)
    report = await ledger.store([rows[0], withheld(rows[1]), withheld(rows[2]), rows[3]])
    assert report.dispositions == (Disposition.STORED,) * 4
    assert report.breaks == ()
    assert await standing(ledger) == (4, ())
    (audit,) = await ledger.audit()
    assert (audit.count, audit.withheld, audit.holes, audit.breaks, audit.index_agrees) == (2, 2, (), (), True)
    stats = await ledger.stats()
    assert (stats.rows, stats.withheld, stats.verdicts) == (2, 2, {"fresh": 2, "revoked_key": 2})
    assert await ledger.redeem(now=NOW, nonce=rows[1].nonce) is Redemption.UNKNOWN
    assert await ledger.redeem(now=NOW, cti=STREAM.chain + (2).to_bytes(8, "big")) is Redemption.UNKNOWN
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        kept = db.execute("SELECT seq, token, verdict FROM withheld ORDER BY seq").fetchall()
    assert kept == [(row.seq, row.token, "revoked_key") for row in rows[1:3]], "all of it: its outbox forgets it now"


async def test_a_withheld_token_never_stands_in_the_way_of_the_good_one(ledger: SqliteLedger) -> None:
    rows = chain_of(3)
    forged = replace(withheld(rows[1]), token=b"by a stolen key")
    await ledger.store([forged])
    report = await ledger.store([rows[1]])
    assert report.dispositions == (Disposition.STORED,)
    assert (await ledger.store([forged, withheld(rows[1])])).dispositions == (
        Disposition.CONFLICT,
        Disposition.DUPLICATE,
    )
    await ledger.store([rows[0], rows[2]])
    (audit,) = await ledger.audit()
    assert (audit.count, audit.withheld, audit.breaks, audit.index_agrees) == (3, 0, (), True)
    assert await ledger.redeem(now=NOW, nonce=rows[1].nonce) is Redemption.REDEEMED


async def test_a_withheld_token_is_kept_once_and_another_one_is_evidence(ledger: SqliteLedger) -> None:
    row = withheld(chain_of(1)[0])
    dispositions = (await ledger.store([row, row, replace(row, token=b"other bytes")])).dispositions
    assert dispositions == (Disposition.STORED, Disposition.DUPLICATE, Disposition.CONFLICT)
    assert (await ledger.stats()).verdicts == {"revoked_key": 3}


async def test_a_stolen_key_fills_no_disk_and_what_is_let_go_stays_accounted_for(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_records, "WITHHELD_PER_KEY", 5)
    rows, others = chain_of(20), chain_of(4, OTHER)
    await ledger.store([replace(withheld(row), kid=b"key id 2") for row in others])
    await ledger.store([withheld(row) for row in rows[:9]])
    for row in rows[10:]:
        assert (await ledger.store([withheld(row)])).breaks == ()
    assert await standing(ledger) == (20, ((10, 10),))
    assert (await ledger.stats()).withheld == 5 + 4, "those of another key are not pushed out"
    assert (await ledger.store([rows[9], rows[2]])).dispositions == (Disposition.STORED,) * 2
    await ledger.store([withheld(rows[3])], records=[gap_of(rows, 4, 6)])
    other, mine = await ledger.audit()
    assert (mine.count, mine.withheld, mine.holes, mine.breaks) == (2, 5, (), ())
    assert (mine.gaps, mine.index_agrees) == ((), True)
    assert (other.withheld, other.index_agrees) == (4, True)


# True times.


def unset(row: Row, up: int, boot: bytes = b"bootbyte") -> Row:
    return replace(row, clk=0, iat=77, exp=77, up=up, boot=boot, verdict="late", redeemable=False)


def times(path: Path) -> dict[int, int | None]:
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT seq, rebased_at FROM tap ORDER BY seq").fetchall())


async def test_taps_before_and_after_the_synced_one_get_their_time_from_it(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    rows = chain_of(5)
    path = tmp_path / "ledger.db"
    report = await ledger.store([unset(rows[0], 30), unset(rows[1], 40, b"otherone")])
    assert (report.rebased, report.rebased_at) == ((), {})
    await ledger.store([replace(rows[2], clk=1, up=50, iat=5)])
    assert times(path) == {1: None, 2: None, 3: None}, "a clock in holdover dates nothing"
    (found,) = (await ledger.store([replace(rows[3], up=100)])).rebased
    assert (found.stream, found.boot, found.offset, found.rows) == (STREAM, b"bootbyte", NOW - 100, 1)
    report = await ledger.store([unset(rows[4], 70)])
    assert report.rebased_at == {(STREAM, 5): NOW - 30}
    assert times(path) == {1: NOW - 70, 2: None, 3: None, 4: None, 5: NOW - 30}
    assert await ledger.redeem(now=NOW, cti=STREAM.chain + (5).to_bytes(8, "big")) is Redemption.NOT_REDEEMABLE
    assert (await ledger.stats()).rebased == 2


async def test_the_same_boot_of_another_chain_counts_and_that_of_another_terminal_does_not(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    new_chain = Stream(STREAM.fleet, STREAM.terminal, b"chain--2")
    elsewhere = [OTHER, Stream("bj", STREAM.terminal, b"chain--3")]
    for stream in (STREAM, *elsewhere):
        await ledger.store([unset(chain_of(1, stream)[0], 30)])
    await ledger.store([replace(chain_of(1, new_chain)[0], up=100)])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        found = db.execute("SELECT stream, rebased_at FROM tap WHERE clk = 0 ORDER BY stream").fetchall()
    assert found == [(1, NOW - 70), (2, None), (3, None)]


async def test_a_duplicate_or_a_conflict_dates_nothing(ledger: SqliteLedger, tmp_path: Path) -> None:
    rows = chain_of(2)
    await ledger.store([unset(rows[0], 30)])
    await ledger.store([replace(rows[0], token=b"a clone's", up=1)])
    assert times(tmp_path / "ledger.db") == {1: None}


async def test_the_work_of_one_store_is_bounded_and_the_rest_is_done_with_the_next_tap(
    ledger: SqliteLedger, tmp_path: Path
) -> None:
    rows = chain_of(REBASED_AT_A_TIME + 30)
    await ledger.store([unset(row, 30) for row in rows[:-3]])
    (first,) = (await ledger.store([rows[-3]])).rebased
    assert first.rows == REBASED_AT_A_TIME
    (second,) = (await ledger.store([rows[-2]])).rebased
    assert second.rows == 27
    assert (await ledger.store([rows[-1]])).rebased == ()
    assert set(list(times(tmp_path / "ledger.db").values())[:-3]) == {NOW - 70}


async def test_a_time_learnt_in_a_transaction_that_failed_is_learnt_again(ledger: SqliteLedger, tmp_path: Path) -> None:
    rows = chain_of(3)
    path = tmp_path / "ledger.db"
    await ledger.store([unset(rows[0], 30)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TRIGGER boom BEFORE INSERT ON evidence BEGIN SELECT RAISE(FAIL, 'boom'); END")
    with pytest.raises(Exception, match="boom"):
        await ledger.store([rows[1], replace(rows[1], token=b"conflict")])
    assert times(path) == {1: None}
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TRIGGER boom")
    await ledger.store([rows[1]])
    assert times(path) == {1: NOW - 70, 2: None}


# Any order, any repetition, any loss.


@dataclass
class Model:
    """One stream in sets: what is said of it, in the words of the contract."""

    taps: set[int] = field(default_factory=set)
    gaps: set[tuple[int, int]] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    checkpoint: int = 0

    @property
    def given_up(self) -> set[int]:
        return {seq for first, last in self.gaps for seq in range(first, last + 1)}

    @property
    def accounted(self) -> set[int]:
        return self.taps | self.given_up | self.withheld

    @property
    def missing(self) -> set[int]:
        return set(range(1, max([self.checkpoint, *self.accounted], default=0) + 1)) - self.accounted


LENGTH = 40
STREAMS = [STREAM, OTHER, Stream("bj", "sh-1-a", b"chain--9")]
CHAINS = {stream: chain_of(LENGTH, stream) for stream in STREAMS}
seqs = st.integers(1, LENGTH)
arrivals = st.tuples(
    st.sampled_from(STREAMS),
    st.one_of(
        st.tuples(st.just("tap"), seqs, seqs),
        st.tuples(st.just("taps"), seqs, st.integers(0, 12)),
        st.tuples(st.just("gap"), seqs, st.integers(0, 9)),
        st.tuples(st.just("checkpoint"), seqs, seqs),
        st.tuples(st.just("withheld"), seqs, seqs),
    ),
)


def spread(seen: Iterable[tuple[int, int]]) -> set[int]:
    return {seq for first, last in seen for seq in range(first, last + 1)}


@settings(max_examples=60)
@given(st.lists(st.lists(arrivals, min_size=1, max_size=12), min_size=1, max_size=8))
async def test_whatever_comes_in_whatever_order_the_ledger_says_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Stream, tuple[str, int, int]]]]
) -> None:
    models = {stream: Model() for stream in STREAMS}
    ledger = SqliteLedger(tmp_path_factory.mktemp("model") / "ledger.db")
    await ledger.open()
    for batch in batches:
        rows, records = [], []
        for stream, arrival in batch:
            _say(models[stream], CHAINS[stream], arrival, rows, records)
        report = await ledger.store(rows, records=records)
        assert report.breaks == (), "nobody lied"
        for stream, found in zip(STREAMS, await ledger.standings(STREAMS), strict=True):
            model = models[stream]
            assert (found.ack.through, spread(found.ack.missing)) == naive_ack(model.accounted)
            assert spread(found.holes) == model.missing
    for audit in await ledger.audit():
        model = models[audit.stream]
        assert (audit.count, spread(audit.holes)) == (len(model.taps), model.missing)
        assert spread(audit.gaps) == model.given_up - model.taps - model.withheld
        assert audit.withheld == len(model.withheld - model.taps)
        assert (audit.breaks, audit.index_agrees) == ((), True)
    await ledger.close()


def _say(
    model: Model, chain: list[Row], arrival: tuple[str, int, int], rows: list[Row], records: list[RecordRow]
) -> None:
    word, first, number = arrival
    last = min(first + number, LENGTH)
    match word:
        case "tap":
            rows.append(chain[first - 1])
            model.taps.add(first)
        case "taps":
            rows.extend(chain[first - 1 : last])
            model.taps |= set(range(first, last + 1))
        case "withheld":
            rows.append(withheld(chain[first - 1]))
            model.withheld |= {first} - model.taps
        case "gap":
            records.append(gap_of(chain, first, last))
            model.gaps.add((first, last))
        case "checkpoint":
            records.append(checkpoint_of(chain, first))
            model.checkpoint = max(model.checkpoint, first)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sets(st.integers(1, 12), max_size=3), st.booleans())
async def test_a_lie_about_a_link_is_found_in_any_order_and_nothing_else_is(
    tmp_path_factory: pytest.TempPathFactory, seed: int, bad: set[int], with_checkpoint: bool
) -> None:
    rng = random.Random(seed)
    rows = chain_of(12)
    for seq in bad:
        rows[seq - 1] = replace(rows[seq - 1], prev=b"not the hash of.")
    parts: list[Row | RecordRow] = [*rows[:4], replace(gap_of(rows, 5, 7), prev=rows[4].prev), *rows[7:]]
    if with_checkpoint:
        parts.append(checkpoint_of(rows, 12))
    rng.shuffle(parts)
    ledger = SqliteLedger(tmp_path_factory.mktemp("lies") / "ledger.db")
    await ledger.open()
    found: set[int] = set()
    while parts:
        now, parts = parts[: (size := rng.randrange(1, 5))], parts[size:]
        taken = [part for part in now if isinstance(part, Row)]
        report = await ledger.store(taken, records=[part for part in now if not isinstance(part, Row)])
        found |= {seq for _, seq in report.breaks}
    (audit,) = await ledger.audit()
    assert set(audit.breaks) == found == bad - {6, 7}
    assert audit.holes == ()
    await ledger.close()

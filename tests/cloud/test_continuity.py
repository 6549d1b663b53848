from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.continuity import MAX_MISSING, ack_ranges, broken_links, holes, merge, runs, walk
from edge_agent.models import FIRST_PREV
from edge_agent.tokens.tap_token import link_hash

seq_sets = st.sets(st.integers(1, 400), max_size=300)


def naive_ack(stored: set[int]) -> tuple[int, set[int]]:
    """The contract's words, literally: (through, every missing seq), lowered before the 65th hole."""
    through = max(stored, default=0)
    starts = [seq for seq in range(1, through) if seq not in stored and (seq == 1 or seq - 1 in stored)]
    if len(starts) > MAX_MISSING:
        through = starts[MAX_MISSING] - 1
    return through, {seq for seq in range(1, through + 1) if seq not in stored}


@given(seq_sets)
def test_an_ack_says_exactly_what_is_stored(stored: set[int]) -> None:
    through, missing = ack_ranges(runs(stored))
    expected_through, expected_missing = naive_ack(stored)
    assert through == expected_through
    assert {seq for first, last in missing for seq in range(first, last + 1)} == expected_missing
    assert len(missing) <= MAX_MISSING
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(missing))


@given(seq_sets)
def test_an_ack_needs_no_more_ranges_than_it_says(stored: set[int]) -> None:
    ranges = runs(stored)
    assert ack_ranges(ranges[: MAX_MISSING + 1]) == ack_ranges(ranges)


def test_the_65th_hole_lowers_through() -> None:
    every_other = [(2 * n, 2 * n) for n in range(1, 66)]
    through, missing = ack_ranges(every_other)
    assert len(missing) == 64
    assert through == 128
    assert ack_ranges(every_other[:64]) == (128, missing)


@given(st.lists(st.sets(st.integers(1, 60), min_size=1, max_size=20), max_size=8))
def test_merging_runs_one_by_one_gives_the_runs_of_all(batches: list[set[int]]) -> None:
    islands: list[tuple[int, int]] = []
    for batch in batches:
        for run in runs(batch):
            touching = [(a, b) for a, b in islands if a <= run[1] + 1 and b >= run[0] - 1]
            islands = sorted([island for island in islands if island not in touching] + [merge(run, touching)])
    assert islands == runs(set().union(*batches))


@given(seq_sets)
def test_holes_are_the_complement(stored: set[int]) -> None:
    missing = {seq for first, last in holes(runs(stored)) for seq in range(first, last + 1)}
    assert missing == set(range(1, max(stored, default=0) + 1)) - stored


def chain(count: int) -> dict[int, tuple[bytes, bytes]]:
    rows, prev = {}, FIRST_PREV
    for seq in range(1, count + 1):
        token = b"token %d" % seq
        rows[seq] = (token, prev)
        prev = link_hash(token)
    return rows


def test_walk_finds_ranges_and_the_one_link_that_does_not_fit() -> None:
    rows = chain(9)
    rows[4] = (rows[4][0], bytes(16))
    del rows[7]
    found = walk((seq, token, prev) for seq, (token, prev) in rows.items())
    assert found.ranges == ((1, 6), (8, 9))
    assert found.count == 8
    assert found.breaks == (4,)


def test_walk_of_a_chain_whose_beginning_is_missing() -> None:
    rows = chain(5)
    found = walk((seq, *rows[seq]) for seq in (3, 4))
    assert found.ranges == ((3, 4),)
    assert found.breaks == ()


def test_a_first_row_that_follows_something_is_a_break() -> None:
    assert walk([(1, b"token", b"x" * 16)]).breaks == (1,)


@given(st.permutations(range(1, 13)), st.sets(st.integers(1, 12), max_size=3), st.integers(1, 5))
def test_live_link_checks_find_what_the_walk_finds(order: list[int], bad: set[int], size: int) -> None:
    rows = chain(12)
    for seq in bad:
        rows[seq] = (rows[seq][0], b"not a hash of it")
    kept: dict[int, tuple[bytes, bytes]] = {}
    found: list[int] = []
    for start in range(0, 12, size):
        batch = order[start : start + size]
        kept.update({seq: rows[seq] for seq in batch})
        for run in runs(batch):
            near = {seq: kept[seq] for seq in range(run[0] - 1, run[1] + 2) if seq in kept}
            fresh = {seq for seq in batch if run[0] <= seq <= run[1]}
            found += broken_links(near, fresh, run)
    assert set(found) == set(walk((seq, *rows[seq]) for seq in sorted(rows)).breaks) == bad

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.continuity import (
    MAX_MISSING,
    ack_ranges,
    broken_links,
    holes,
    merge,
    runs,
    token_claims,
    union,
    walk,
    without,
)
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
def test_claims_about_links_find_what_the_walk_finds(order: list[int], bad: set[int], size: int) -> None:
    rows = chain(12)
    for seq in bad:
        rows[seq] = (rows[seq][0], b"not a hash of it")
    claims: list[tuple[int, bytes]] = []
    found: set[int] = set()
    for start in range(0, 12, size):
        batch = order[start : start + size]
        for seq in batch:
            claims += token_claims(seq, *rows[seq])
        found.update(broken_links(claims, {link for seq in batch for link in (seq, seq + 1)}))
    assert found == set(walk((seq, *rows[seq]) for seq in sorted(rows)).breaks) == bad


@given(st.sets(st.integers(1, 9)), st.sets(st.tuples(st.integers(1, 11), st.sampled_from([b"right", b"wrong"]))))
def test_the_walk_finds_every_link_with_two_opinions(stored: set[int], others: set[tuple[int, bytes]]) -> None:
    rows = chain(10)
    right = {seq: prev for seq, (_, prev) in rows.items()} | {11: link_hash(rows[10][0])}
    claims = [(link, right[link] if word == b"right" else b"something else") for link, word in others]
    every = [claim for seq in stored for claim in token_claims(seq, *rows[seq])] + claims
    found = walk(((seq, *rows[seq]) for seq in sorted(stored)), claims)
    assert list(found.breaks) == broken_links(every)
    said: dict[int, set[bytes]] = {1: {FIRST_PREV}}
    for link, value in every:
        said.setdefault(link, set()).add(value)
    assert set(found.breaks) == {link for link, values in said.items() if len(values) > 1}


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))))
def test_a_union_holds_each_seq_once(ranges: list[tuple[int, int]]) -> None:
    assert union(ranges) == runs(seq for first, last in ranges for seq in range(first, last + 1))


@given(seq_sets, seq_sets)
def test_without_is_the_difference(some: set[int], taken: set[int]) -> None:
    assert without(runs(some), runs(taken)) == [
        part for run in runs(some) for part in runs({*range(run[0], run[1] + 1)} - taken)
    ]

"""The walk down a chain: each row that is missing or damaged is in exactly one hole, with true hashes at both ends."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.seams import Seams

CHAIN = b"chainid8"


def link(seq: int) -> bytes:
    """Link hash of row ``seq``; zeros before the first."""
    return hashlib.sha256(seq.to_bytes(8, "big")).digest()[:16] if seq else bytes(16)


@given(
    st.integers(1, 30),
    st.sets(st.integers(1, 30)),
    st.sets(st.integers(1, 30)),
    st.integers(1, 30),
    st.booleans(),
)
def test_every_hole_is_found_and_sworn_to_truly(
    last: int, lost: set[int], damaged: set[int], floor: int, end_known: bool
) -> None:
    kept = [seq for seq in range(last, floor - 1, -1) if seq not in lost]
    seams = Seams(CHAIN, (last + 1, link(last)) if end_known else None)
    good = []
    for seq in kept:
        hash_ = b"damaged".ljust(16) if seq in damaged else link(seq)
        if seams.add(seq, seq, link(seq - 1), hash_):
            good.append(seq)
    unsworn = seams.finish(floor)
    assert all(seams.broken.count(seq) == 1 and seq in damaged for seq in seams.broken)
    top = last if end_known else max(kept, default=floor - 1)
    told = [seq for hole in seams.holes for seq in range(hole.first, hole.last + 1)]
    missing = [seq for seq in range(top, floor - 1, -1) if seq not in good]
    assert sorted(told, reverse=True) + missing[len(missing) - unsworn :] == missing
    assert unsworn == 0 or floor > 1
    for hole in seams.holes:
        assert hole.hash == link(hole.last)
        if hole.first - 1 not in damaged:
            assert hole.prev == link(hole.first - 1)


def test_a_gap_record_closes_the_rows_that_it_speaks_of() -> None:
    seams = Seams(CHAIN, None)
    assert seams.add(9, 9, link(8), link(9))
    assert seams.add(4, 8, link(3), link(8))
    assert seams.add(3, 3, link(2), link(3))
    assert seams.finish(3) == 0
    assert seams.holes == []


def test_nothing_is_known_of_a_chain_of_which_nothing_is_left() -> None:
    assert Seams(CHAIN, None).finish(1) == 0

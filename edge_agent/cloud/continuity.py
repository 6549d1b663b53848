"""Which seqs of a stream are accounted for, and whether their hashes link up: the arithmetic of ``ack``. Pure: no I/O.

Stored seqs are sorted disjoint ranges. A stream that lost nothing is one range, however long; a permanent hole costs
one more. So "what is stored?" has a small and exact answer for a million rows, kept in the rows' own transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edge_agent.models import FIRST_PREV
from edge_agent.tokens.tap_token import link_hash

Range = tuple[int, int]
"""Inclusive: (first, last)."""

MAX_MISSING = 64
"""The contract's bound on ``missing``; with more holes ``through`` ends before the 65th."""


def runs(seqs: Iterable[int]) -> list[Range]:
    """Sorted disjoint ranges of all these seqs; repeats allowed."""
    ranges: list[Range] = []
    for seq in sorted(set(seqs)):
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges


def merge(run: Range, touching: Sequence[Range]) -> Range:
    """One range for ``run`` and the stored ranges that overlap or adjoin it."""
    return min([run[0], *(first for first, _ in touching)]), max([run[1], *(last for _, last in touching)])


def holes(ranges: Sequence[Range]) -> list[Range]:
    """What is missing before and between sorted disjoint stored ranges; seqs begin at 1."""
    missing: list[Range] = []
    expected = 1
    for first, last in ranges:
        if first > expected:
            missing.append((expected, first - 1))
        expected = last + 1
    return missing


def ack_ranges(ranges: Sequence[Range]) -> tuple[int, tuple[Range, ...]]:
    """``(through, missing)`` of an ack for the lowest stored ranges; needs at most MAX_MISSING + 1 of them."""
    through = 0
    missing: list[Range] = []
    for first, last in ranges:
        if first > through + 1:
            if len(missing) == MAX_MISSING:
                break
            missing.append((through + 1, first - 1))
        through = last
    return through, tuple(missing)


Claim = tuple[int, bytes]
"""What somebody says of link n, the one between seq n - 1 and n: the hash of the token before.

A token says it of the link before it (``prev``) and of the one behind it (its hash), a gap record of those at its ends,
a checkpoint of the one behind its seq. The chain holds where all claims about a link are equal.
"""


def token_claims(seq: int, token: bytes, prev: bytes) -> tuple[Claim, Claim]:
    """What a token says of the links at both its ends."""
    return (seq, prev), (seq + 1, link_hash(token))


def gap_claims(first: int, last: int, prev: bytes, link: bytes) -> list[Claim]:
    """What a gap record says of the links at its ends. Zeros say nothing (contract, section 1): the rows there could
    not be read any more. Only before seq 1 they are the hash itself."""
    ends = ((first, prev), (last + 1, link))
    return [(number, value) for number, value in ends if value != FIRST_PREV or number == 1]


def broken_links(claims: Iterable[Claim], fresh: Collection[int] | None = None) -> list[int]:
    """Links with claims that differ, ascending; with ``fresh`` only of these links."""
    said: dict[int, bytes] = {1: FIRST_PREV}
    broken: set[int] = set()
    for link, value in claims:
        if said.setdefault(link, value) != value:
            broken.add(link)
    return sorted(broken if fresh is None else broken & set(fresh))


@dataclass(frozen=True, slots=True)
class Walk:
    """One stream from its first token to its last: ranges of tokens, their number, links that do not hold."""

    ranges: tuple[Range, ...]
    count: int
    breaks: tuple[int, ...]


def walk(tokens: Iterable[tuple[int, bytes, bytes]], others: Iterable[Claim] = ()) -> Walk:
    """Check ``(seq, token, prev)`` in ascending order of seq against each other and against the claims of ``others``.

    Holds one token in memory at a time, and all of ``others``.
    """
    waiting: dict[int, set[bytes]] = {}
    for link, value in others:
        waiting.setdefault(link, set()).add(value)
    ranges: list[Range] = []
    breaks: list[int] = []
    count, open_link, said = 0, 1, FIRST_PREV
    for seq, token, prev in tokens:
        count += 1
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
        if seq != open_link:
            breaks += _differing(open_link, {said}, waiting)
            breaks += _differing(seq, {prev}, waiting)
        else:
            breaks += _differing(seq, {said, prev}, waiting)
        open_link, said = seq + 1, link_hash(token)
    breaks += _differing(open_link, {said}, waiting)
    breaks += [link for link, values in waiting.items() if len(values) > 1]
    return Walk(tuple(ranges), count, tuple(sorted(breaks)))


def _differing(link: int, said: set[bytes], waiting: dict[int, set[bytes]]) -> list[int]:
    return [link] if len(said | waiting.pop(link, set())) > 1 else []


def without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """What of sorted disjoint ``ranges`` is in none of sorted disjoint ``taken``."""
    left: list[Range] = []
    at = 0
    for first, last in ranges:
        while at < len(taken) and taken[at][1] < first:
            at += 1
        start, look = first, at
        while look < len(taken) and taken[look][0] <= last:
            if taken[look][0] > start:
                left.append((start, taken[look][0] - 1))
            start = taken[look][1] + 1
            look += 1
        if start <= last:
            left.append((start, last))
    return left


def union(ranges: Iterable[Range]) -> list[Range]:
    """Sorted disjoint ranges of all these; they may overlap."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined

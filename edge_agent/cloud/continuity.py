"""Which seqs of a stream are stored, and whether their hashes link up: the arithmetic behind ``ack``. Pure: no I/O.

Stored seqs are sorted disjoint ranges. A stream that lost nothing is one range, however long; a permanent hole costs
one more. So "what is stored?" has a small and exact answer for a million rows, kept in the rows' own transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Walk:
    """One stream from its first row to its last: stored ranges, number of rows, seqs whose ``prev`` does not fit."""

    ranges: tuple[Range, ...]
    count: int
    breaks: tuple[int, ...]


def walk(rows: Iterable[tuple[int, bytes, bytes]]) -> Walk:
    """Check ``(seq, token, prev)`` in order of seq; a row after a hole has nothing to be checked against."""
    ranges: list[Range] = []
    count = 0
    breaks: list[int] = []
    before, expected = 0, FIRST_PREV
    for seq, token, prev in rows:
        count += 1
        if seq != before + 1:
            ranges.append((seq, seq))
        else:
            ranges[-1:] = [(ranges[-1][0] if ranges else seq, seq)]
            if prev != expected:
                breaks.append(seq)
        before, expected = seq, link_hash(token)
    return Walk(tuple(ranges), count, tuple(breaks))


def broken_links(kept: Mapping[int, tuple[bytes, bytes]], fresh: Collection[int], run: Range) -> list[int]:
    """Seqs of ``run`` or right behind it whose link to the row before became checkable now and does not fit.

    ``kept`` maps seq to (token, prev) for all stored rows of the run and its two neighbours; ``fresh`` are new now.
    """
    broken: list[int] = []
    for seq in range(run[0], run[1] + 2):
        if seq not in kept or (seq not in fresh and seq - 1 not in fresh):
            continue
        if seq > 1 and seq - 1 not in kept:
            continue
        expected = FIRST_PREV if seq == 1 else link_hash(kept[seq - 1][0])
        if kept[seq][1] != expected:
            broken.append(seq)
    return broken

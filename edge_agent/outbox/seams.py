"""Finds the holes in what is left of a chain, from its newest row down: between rows, and where hashes disagree. Pure.

A row whose hash is not what the next one names as its ``prev`` is damaged itself: it becomes part of the hole.
"""

from edge_agent.models import FIRST_PREV
from edge_agent.outbox.base import Hole

CORRUPT = "corrupt"


class Seams:
    """Takes the pieces of one chain in descending order; a piece is a row, or the rows that a gap record speaks of.

    ``end``: the seq behind the chain's last row and the hash of that row, if they are known.
    """

    def __init__(self, chain: bytes, end: tuple[int, bytes] | None = None) -> None:
        self._chain = chain
        self._above = end  # seq and prev of what stands above
        self.holes: list[Hole] = []
        """Holes between known neighbours, so that they can be sworn to; highest first."""
        self.broken: list[int] = []
        """Rows that are there, but damaged."""

    def add(self, first: int, last: int, prev: bytes, link: bytes) -> bool:
        """The next piece below; ``link`` is the hash of its last row. False: it is damaged, and part of a hole."""
        if self._above is None:
            self._above = first, prev
            return True
        seq, expected = self._above
        if last == seq - 1 and link != expected:
            self.broken.extend(range(first, last + 1))
            return False
        if last < seq - 1:
            self.holes.append(Hole(self._chain, last + 1, seq - 1, link, expected, CORRUPT))
        self._above = first, prev
        return True

    def finish(self, floor: int) -> int:
        """What is missing down to ``floor``, below which nothing is waited for; returns rows that nobody can swear to.

        Only the row before seq 1 is known to all.
        """
        if self._above is None:
            return 0
        seq, expected = self._above
        top = seq - 1
        if top < floor:
            return 0
        if floor == 1:
            self.holes.append(Hole(self._chain, 1, top, FIRST_PREV, expected, CORRUPT))
            return 0
        return top - floor + 1

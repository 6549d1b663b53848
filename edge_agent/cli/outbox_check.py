"""Checks one chain of an outbox row by row: every token read, verified, in its place and linked. Pure.

It takes rows in order and keeps nothing of them, so a million of them may pass. Rows that are gone were delivered and
confirmed, or a gap record tells of them; anything else that is missing is a break.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_agent.errors import TokenError
from edge_agent.models import FIRST_PREV
from edge_agent.outbox.base import GapRecord, Head, StoredRow
from edge_agent.tokens.chain import Gap, parse_gap
from edge_agent.tokens.sign1 import Verifier, link_hash, stream_aad
from edge_agent.tokens.tap_token import parse


class Broken(Exception):
    """Where the chain does not hold: one line."""


class OtherKey(Broken):
    """Signed by a key that is none of those given: whether it was the terminal's own, nobody here can say."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Whose tokens are expected, and by which keys: kid -> key. A terminal may have had several in its time."""

    keys: Mapping[bytes, Verifier]
    fleet: str
    terminal: str


class ChainCheck:
    """One chain from seq ``first`` on. ``gone_until`` tells the last of the gone rows that begin at a seq, 0: none.

    Every method raises Broken at the first thing that does not hold, and is not to be used any further then.
    """

    def __init__(
        self,
        signed: Signed,
        *,
        first: int,
        gaps: Iterable[GapRecord],
        gone_until: Callable[[int], int],
        head: Head | None,
    ) -> None:
        self._signed = signed
        self._aad = stream_aad(signed.fleet, signed.terminal)
        self._next = first
        self._link: bytes | None = FIRST_PREV if first == 1 else None
        self._gaps = sorted(gaps, key=lambda gap: gap.first)
        self._gone_until = gone_until
        self._head = head
        self.rows = 0
        self.given_up = 0
        """Rows of which a gap record tells."""

    def row(self, row: StoredRow) -> None:
        """Check the next row."""
        if not row.token:
            raise Broken(f"row {row.seq} is missing on disk")
        self._pass(row.seq - 1)
        try:
            parsed = parse(row.token)
        except TokenError as error:
            raise Broken(f"row {row.seq} is no token: {error.text}") from None
        claims = parsed.claims
        if (claims.chain, claims.seq) != (row.chain, row.seq):
            raise Broken(f"row {row.seq} holds the token of another place: {claims.chain.hex()} {claims.seq}")
        key = self._key(f"row {row.seq}", parsed.kid)
        if claims.iss != self._signed.terminal or not parsed.verified_by(key, self._aad):
            raise Broken(f"row {row.seq} has a wrong signature")
        if self._link not in (None, claims.prev):
            raise Broken(f"row {row.seq} does not follow from the row before it")
        self._advance(row.seq, link_hash(row.token))
        self.rows += 1

    def end(self, last: int) -> None:
        """The rows end here; ``last`` is the highest seq that was ever given out."""
        self._pass(last)

    def _pass(self, last: int) -> None:
        """What is not there up to ``last`` must be accounted for."""
        while self._next <= last:
            gap = next((gap for gap in self._gaps if gap.first <= self._next <= gap.last), None)
            if gap is not None:
                self._gap(gap, last)
            elif gone := min(self._gone_until(self._next), last):
                self._advance(gone, None)
            else:
                raise Broken(f"row {self._next} is missing, and no gap record tells of it")

    def _gap(self, gap: GapRecord, last: int) -> None:
        try:
            parsed = parse_gap(gap.token)
        except TokenError as error:
            raise Broken(f"the gap record of rows {gap.first} to {gap.last} is none: {error.text}") from None
        told = parsed.record
        if not isinstance(told, Gap) or (told.chain, told.first, told.last) != (gap.chain, gap.first, gap.last):
            raise Broken(f"the gap record of rows {gap.first} to {gap.last} tells of other rows")
        key = self._key(f"the gap record of rows {gap.first} to {gap.last}", parsed.envelope.kid)
        if not parsed.verified_by(key, self._signed.fleet, self._signed.terminal):
            raise Broken(f"the gap record of rows {gap.first} to {gap.last} has a wrong signature")
        # Zeros behind seq 1: the rows around were unreadable, too, and nobody knew any more what they linked to.
        prev = told.prev if told.prev != FIRST_PREV or told.first == 1 else self._link
        if self._next == gap.first and self._link not in (None, prev):
            raise Broken(f"the gap record of rows {gap.first} to {gap.last} does not follow from the row before them")
        reached = min(gap.last, last)
        self.given_up += reached - self._next + 1
        self._advance(reached, told.hash if reached == gap.last and told.hash != FIRST_PREV else None)

    def _key(self, what: str, kid: bytes) -> Verifier:
        key = self._signed.keys.get(kid)
        if key is None:
            known = " or ".join(sorted(kid.hex() for kid in self._signed.keys))
            raise OtherKey(f"{what} is signed by key {kid.hex()}, not by {known}")
        return key

    def _advance(self, seq: int, link: bytes | None) -> None:
        head = self._head
        if head is not None and head.seq == seq and link not in (None, head.hash):
            raise Broken(f"row {seq} is not the one that the outbox knows as the end of its chain")
        self._next, self._link = seq + 1, link

"""`edge-agent outbox verify`: walks every chain of an outbox and says whether it holds, else where it breaks first."""

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from edge_agent.cli.outbox_agent import Source
from edge_agent.cli.outbox_check import Broken, ChainCheck, OtherKey, Signed
from edge_agent.cli.outbox_source import rows_of
from edge_agent.outbox.base import GapRecord, Head, RowRange

_TELL_EVERY = 1000


@dataclass(slots=True)
class Verdict:
    """What was looked at; ``broken`` is empty while all of it holds."""

    chains: int = 0
    rows: int = 0
    given_up: int = 0
    """Rows that a gap record tells of."""
    kids: tuple[str, ...] = ()
    broken: str = ""
    chain: str = ""
    """The chain that is broken."""
    other_key: bool = False
    """It breaks at a key that was not given: perhaps an older one of the terminal."""

    def as_json(self) -> dict[str, object]:
        """Return the machine-readable form."""
        return {"holds": not self.broken, **asdict(self)}


def verify(source: Source, signed: Signed, head: Head, progress: Callable[[int], None]) -> Verdict:
    """Walk all chains, oldest first, up to ``head``, which was asked for before; stops at the first break."""
    verdict = Verdict(kids=tuple(sorted(kid.hex() for kid in signed.keys)))
    gaps, ranges = source.gaps(), source.ranges()
    for chain in dict.fromkeys([gap.chain for gap in gaps] + [one.chain for one in ranges] + [head.chain]):
        check = _check(source, signed, head, chain, gaps, ranges)
        if check is None:
            continue
        verdict.chains += 1
        try:
            for row in rows_of(source, _up_to(head, chain, ranges)):
                if row.chain != head.chain or row.seq <= head.seq:
                    check.row(row)
                    progress(verdict.rows + check.rows)
            check.end(head.seq if chain == head.chain else _last(chain, gaps, ranges))
        except Broken as broken:
            verdict.broken, verdict.chain = str(broken), chain.hex()
            verdict.other_key = isinstance(broken, OtherKey)
        verdict.rows += check.rows
        verdict.given_up += check.given_up
        if verdict.broken:
            break
    return verdict


def _check(
    source: Source, signed: Signed, head: Head, chain: bytes, gaps: list[GapRecord], ranges: list[RowRange]
) -> ChainCheck | None:
    own = [gap for gap in gaps if gap.chain == chain]
    begins = [gap.first for gap in own] + [one.first for one in ranges if one.chain == chain]
    if not begins:
        return None  # a chain without a single tap, or of which all is delivered
    gone = _Gone(chain, ranges, source.ranges if source.live else None)
    end = head if chain == head.chain else None
    return ChainCheck(signed, first=min(begins), gaps=own, gone_until=gone.until, head=end)


def _up_to(head: Head, chain: bytes, ranges: list[RowRange]) -> list[RowRange]:
    return [
        one
        for one in ranges
        if one.chain == chain and one.state != "gone" and (chain != head.chain or one.first <= head.seq)
    ]


def _last(chain: bytes, gaps: list[GapRecord], ranges: list[RowRange]) -> int:
    return max([gap.last for gap in gaps if gap.chain == chain] + [one.last for one in ranges if one.chain == chain])


class _Gone:
    """Which rows of one chain are gone; asks again when rows went while they were being read."""

    def __init__(self, chain: bytes, ranges: list[RowRange], again: Callable[[], list[RowRange]] | None) -> None:
        self._chain = chain
        self._again = again
        self._learn(ranges)

    def _learn(self, ranges: list[RowRange]) -> None:
        own = [one for one in ranges if one.chain == self._chain]
        self._below = own[0].first - 1 if own else sys.maxsize
        self._gone = [one for one in own if one.state == "gone"]

    def until(self, seq: int) -> int:
        if not (last := self._find(seq)) and self._again is not None:
            self._learn(self._again())
            last = self._find(seq)
        return last

    def _find(self, seq: int) -> int:
        if seq <= self._below:
            return self._below
        at = bisect_right(self._gone, seq, key=lambda one: one.first) - 1
        return self._gone[at].last if at >= 0 and seq <= self._gone[at].last else 0


@contextmanager
def progress_line(total: int) -> Iterator[Callable[[int], None]]:
    """A line on the terminal that counts rows and goes away at the end; nothing where nobody looks."""
    shown = sys.stderr.isatty() and total > _TELL_EVERY

    def tell(done: int) -> None:
        if shown and done % _TELL_EVERY == 0:
            sys.stderr.write(f"\r  {done:,} of {total:,} rows")
            sys.stderr.flush()

    try:
        yield tell
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

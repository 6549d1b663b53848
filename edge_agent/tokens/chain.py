"""Tamper evidence beside the tokens: checkpoints, gap records, and the walk that checks how a stream links up. Pure.

Both records are CWTs in the token's envelope with their own external_aad suffix, so that none can pass for another.
The walk must take links in any order, because live taps overtake the backlog, and must not grow with the stream.
"""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import ClassVar, Self

from edge_agent.errors import TokenError
from edge_agent.models import CHAIN_ID_BYTES, FIRST_PREV, ClockTrust
from edge_agent.tokens import cbor
from edge_agent.tokens.sign1 import (
    LINK_BYTES,
    NAME,
    Fields,
    Sign1,
    Signer,
    Verifier,
    envelope_sealer,
    parse_envelope,
    stream_aad,
)

MAX_RECORD_BYTES = 248
_MAX_SECONDS = 2**32 - 1
_MAX_SEQ = 2**64 - 1
_ISS, _IAT, _CHECKPOINT, _GAP = 1, 6, -65538, -65539
_NAMES = {_ISS: "iss", _IAT: "iat", _CHECKPOINT: "checkpoint", _GAP: "gap"}
_REASON = re.compile(r"[a-z0-9_-]{1,24}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``evt/chk``: the terminal swears that at ``iat`` its chain ended with ``seq``, whose token hashes to ``head``."""

    SUFFIX: ClassVar[bytes] = b"/chk"
    iss: str
    iat: int
    chain: bytes
    seq: int
    head: bytes
    clk: ClockTrust

    def payload(self) -> bytes:
        """Return ``{1: iss, 6: iat, -65538: {1: chain, 2: seq, 3: head, 4: clk}}``."""
        inner = {1: self.chain, 2: self.seq, 3: self.head, 4: int(self.clk)}
        return cbor.encode({_ISS: self.iss, _IAT: self.iat, _CHECKPOINT: inner})

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """Undo ``payload``; raises TokenError(malformed). Unknown keys are ignored."""
        outer = Fields(cbor.decode(payload, MAX_RECORD_BYTES), "the payload", _NAMES)
        inner = Fields(outer.raw(_CHECKPOINT), "checkpoint", {1: "chain", 2: "seq", 3: "head", 4: "clk"})
        return cls(
            iss=outer.text(_ISS, 24, NAME),
            iat=outer.uint(_IAT, _MAX_SECONDS),
            chain=inner.bytes_(1, CHAIN_ID_BYTES),
            seq=inner.uint(2, _MAX_SEQ, low=1),
            head=inner.bytes_(3, LINK_BYTES),
            clk=ClockTrust(inner.uint(4, 2)),
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """``evt/gap``: the terminal gave up the tokens ``first`` to ``last``; the hashes at both ends keep the chain whole.

    ``prev`` is the prev of ``first``, ``hash`` that of ``last`` as the next token's prev names it; zeros where the rows
    could not be read any more and nobody knows (before seq 1 zeros are the hash). ``reason`` is 1-24 of ``[a-z0-9_-]``.
    """

    SUFFIX: ClassVar[bytes] = b"/gap"
    iss: str
    iat: int
    chain: bytes
    first: int
    last: int
    prev: bytes
    hash: bytes
    reason: str

    def payload(self) -> bytes:
        """Return ``{1: iss, 6: iat, -65539: {1: chain, 2: from, 3: to, 4: prev, 5: hash, 6: reason}}``."""
        inner = {1: self.chain, 2: self.first, 3: self.last, 4: self.prev, 5: self.hash, 6: self.reason}
        return cbor.encode({_ISS: self.iss, _IAT: self.iat, _GAP: inner})

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """Undo ``payload``; raises TokenError(malformed). Unknown keys are ignored."""
        outer = Fields(cbor.decode(payload, MAX_RECORD_BYTES), "the payload", _NAMES)
        names = {1: "chain", 2: "from", 3: "to", 4: "prev", 5: "hash", 6: "reason"}
        inner = Fields(outer.raw(_GAP), "gap", names)
        first = inner.uint(2, _MAX_SEQ, low=1)
        return cls(
            iss=outer.text(_ISS, 24, NAME),
            iat=outer.uint(_IAT, _MAX_SECONDS),
            chain=inner.bytes_(1, CHAIN_ID_BYTES),
            first=first,
            last=inner.uint(3, _MAX_SEQ, low=first),
            prev=inner.bytes_(4, LINK_BYTES),
            hash=inner.bytes_(5, LINK_BYTES),
            reason=inner.text(6, 24, _REASON),
        )


Record = Checkpoint | Gap


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A well-formed record whose signature was not looked at yet."""

    record: Record
    envelope: Sign1 = field(repr=False)

    def verified_by(self, key: Verifier, fleet: str, terminal: str) -> bool:
        """Whether this key signed this record for this stream. Raises TokenError for impossible names."""
        aad = stream_aad(fleet, terminal) + self.record.SUFFIX
        return self.record.iss == terminal and self.envelope.verified_by(key, aad)


def seal_record(record: Record, key: Signer, fleet: str, terminal: str) -> bytes:
    """Return the signed record; raises TokenError if a value is not of the contract."""
    try:
        payload = record.payload()
    except (TypeError, ValueError) as exc:
        raise TokenError(f"the record cannot be encoded: {exc}") from exc
    if record.read(payload) != record:
        raise TokenError("the record does not survive its own encoding")
    return envelope_sealer(key, stream_aad(fleet, terminal) + record.SUFFIX)(payload)


def parse_checkpoint(data: bytes) -> ParsedRecord:
    """Read a checkpoint without trusting it; raises TokenError(malformed)."""
    envelope = parse_envelope(data, MAX_RECORD_BYTES)
    return ParsedRecord(Checkpoint.read(envelope.payload), envelope)


def parse_gap(data: bytes) -> ParsedRecord:
    """Read a gap record without trusting it; raises TokenError(malformed)."""
    envelope = parse_envelope(data, MAX_RECORD_BYTES)
    return ParsedRecord(Gap.read(envelope.payload), envelope)


@dataclass(slots=True)
class _Run:
    """A run of seqs without a hole: what its first token points back to, and what its last one hashes to."""

    first: int
    last: int
    prev: bytes | None
    hash: bytes | None
    """None: nobody knows."""


def _differ(one: bytes | None, other: bytes | None) -> bool:
    return one is not None and other is not None and one != other


class ChainWalk:
    """Follows one chain of one terminal: which seqs are missing (gap), which links do not fit (chain_break).

    Links may come in any order and more than once; a seq that was seen is not looked at again (other bytes under the
    same cti are the verdict ``conflict``). It keeps runs, not tokens. Beyond ``max_runs`` the oldest hole is closed
    unchecked and counted in ``forgotten``.
    """

    _PROMISES = 16

    def __init__(self, *, max_runs: int = 1024) -> None:
        self._max_runs = max_runs
        # Before seq 1 there is nothing, and it hashes to zeros: so seq 1 is checked like all the others.
        self._runs = [_Run(first=0, last=0, prev=FIRST_PREV, hash=FIRST_PREV)]
        self._promised: dict[int, bytes] = {}
        self.breaks: set[int] = set()
        """Seqs whose ``prev`` is not the hash of the token before, or that a checkpoint contradicts (chain_break)."""
        self.forgotten = 0
        """Seqs that will never be checked, because there were too many holes."""

    @property
    def through(self) -> int:
        """The last seq of the run that begins with seq 1; 0 while seq 1 is missing."""
        return self._runs[0].last

    def token(self, seq: int, prev: bytes, link_hash: bytes) -> tuple[int, ...]:
        """Add one verified token; return the seqs whose link turned out broken by it."""
        return self._add(_Run(seq, seq, prev, link_hash))

    def gap(self, record: Gap) -> tuple[int, ...]:
        """Add one verified gap record: its seqs are accounted for and both its ends are checked."""
        prev = None if record.prev == FIRST_PREV and record.first > 1 else record.prev
        return self._add(_Run(record.first, record.last, prev, None if record.hash == FIRST_PREV else record.hash))

    def checkpoint(self, record: Checkpoint) -> tuple[int, ...]:
        """Add one verified checkpoint: from now on seqs up to it are known to exist, and the last one's hash too."""
        at = bisect_right(self._runs, record.seq, key=lambda run: run.first) - 1
        run = self._runs[at]
        if run.last == record.seq:
            return self._broken([record.seq] if _differ(run.hash, record.head) else [])
        if run.last < record.seq:
            self._promised[record.seq] = record.head
            if len(self._promised) > self._PROMISES:
                del self._promised[min(self._promised)]
        return ()

    def holes(self) -> tuple[tuple[int, int], ...]:
        """Missing seqs (gap) as inclusive ranges, up to the highest seq that is known to exist."""
        between = [(a.last + 1, b.first - 1) for a, b in zip(self._runs, self._runs[1:], strict=False)]
        end, promised = self._runs[-1].last, max(self._promised, default=0)
        return (*between, *([(end + 1, promised)] if promised > end else ()))

    def _add(self, new: _Run) -> tuple[int, ...]:
        runs, broken = self._runs, []
        head = self._promised.pop(new.last, None)
        if _differ(head, new.hash):
            broken.append(new.last)
        # runs[low:high] overlap the new one: a token again, or a gap record over tokens that came after all.
        low = bisect_left(runs, new.first, key=lambda run: run.last)
        high = bisect_right(runs, new.last, key=lambda run: run.first)
        for run in runs[low:high]:
            if run.first <= new.first:
                new.first, new.prev = run.first, run.prev
            if run.last >= new.last:
                new.last, new.hash = run.last, run.hash
        if low and runs[low - 1].last == new.first - 1:
            low -= 1
            if _differ(runs[low].hash, new.prev):
                broken.append(new.first)
            new.first, new.prev = runs[low].first, runs[low].prev
        if high < len(runs) and runs[high].first == new.last + 1:
            if _differ(runs[high].prev, new.hash):
                broken.append(runs[high].first)
            new.last, new.hash = runs[high].last, runs[high].hash
            high += 1
        runs[low:high] = [new]
        self._forget_if_too_many()
        return self._broken(broken)

    def _broken(self, seqs: list[int]) -> tuple[int, ...]:
        self.breaks.update(seqs)
        return tuple(sorted(set(seqs)))

    def _forget_if_too_many(self) -> None:
        if len(self._runs) > self._max_runs:
            first, second = self._runs[0], self._runs.pop(1)
            self.forgotten += second.first - first.last - 1
            first.last, first.hash = second.last, second.hash

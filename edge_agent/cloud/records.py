"""Checkpoints and gap records at the receiver: one verdict for each, by the rules of tokens. Pure: no I/O.

What a peer sends ends here as a row for the ledger or as evidence, never both, never neither; it must never raise. A
record of a revoked key accounts for nothing: with it whoever has that key could hide taps that another key signs.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_agent.cloud.base import (
    MAX_SEQ,
    CheckpointRow,
    Disposition,
    Evidence,
    GapRow,
    RecordRow,
    StoreReport,
    Stream,
)
from edge_agent.cloud.stream_events import StreamEvent, StreamWord, shown
from edge_agent.cloud.verifier import SKEW_S, KeyLookup, KeyRecord, Verdict
from edge_agent.errors import TokenError
from edge_agent.sanitize import printable
from edge_agent.tokens.chain import Gap, ParsedRecord, parse_checkpoint, parse_gap
from edge_agent.tokens.sign1 import stream_aad
from edge_agent.uplink.wire import ParsedTopic


class RecordKind(StrEnum):
    """Which record a topic carries."""

    GAP = "gap record"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class RecordItem:
    """One record: a row, or evidence with its verdict. ``stream`` is None unless form, key and signature are right."""

    kind: RecordKind
    source: ParsedTopic
    stream: Stream | None = None
    row: RecordRow | None = None
    verdict: Verdict | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    verdict: Verdict
    reason: str


def judge_record(
    payload: bytes, kind: RecordKind, source: ParsedTopic, *, topic: str, at: float, keys: KeyLookup
) -> RecordItem:
    """Judge one record that arrived on ``topic`` at ``at`` (unix seconds)."""
    try:
        parsed = parse_gap(payload) if kind is RecordKind.GAP else parse_checkpoint(payload)
    except TokenError as error:
        return _refused(kind, source, _Refusal(Verdict.MALFORMED, error.text), payload, topic, at)
    record = parsed.record
    if (record.last if isinstance(record, Gap) else record.seq) > MAX_SEQ:
        return _refused(kind, source, _Refusal(Verdict.MALFORMED, "seq is beyond any counter"), payload, topic, at)
    key = keys(parsed.envelope.kid)
    if key is None:
        refusal = _Refusal(Verdict.UNKNOWN_KEY, f"no key {parsed.envelope.kid.hex()} is registered")
        return _refused(kind, source, refusal, payload, topic, at)
    refusal_or_none = _authenticity(parsed, key, source)
    if refusal_or_none is not None:
        return _refused(kind, source, refusal_or_none, payload, topic, at)
    stream = Stream(source.fleet, source.terminal, record.chain)
    refusal_or_none = _validity(record.iat, key, at)
    if refusal_or_none is not None:
        return _refused(kind, source, refusal_or_none, payload, topic, at, stream)
    return RecordItem(kind, source, stream, _row(parsed, stream, payload, at))


def record_events(items: tuple[RecordItem, ...], report: StoreReport) -> list[StreamEvent]:
    """What is told of records after the commit; ``report.records`` are the dispositions of the rows among them."""
    dispositions = iter(report.records)
    events: list[StreamEvent] = []
    for item in items:
        fleet, terminal = item.source.fleet, item.source.terminal
        chain = None if item.stream is None else item.stream.chain
        if item.row is None:
            word, verdict = StreamWord.RECORD_REFUSED, str(item.verdict)
            reason = "" if item.evidence is None else item.evidence.reason
            text = f"{item.kind}: {reason}"
            events.append(StreamEvent(word, fleet, terminal, chain, text, facts={"verdict": verdict}))
            continue
        disposition = next(dispositions)
        facts = {"disposition": disposition.value, "iat": item.row.iat}
        if isinstance(item.row, GapRow):
            seqs = ((item.row.first, item.row.last),)
            text = f"the terminal gave up {shown(seqs)}: {item.row.reason}"
            facts["reason"] = item.row.reason
            events.append(StreamEvent(StreamWord.GAP_RECORD, fleet, terminal, chain, text, seqs, facts))
        else:
            text = f"the chain reached {item.row.seq}"
            seqs = ((item.row.seq, item.row.seq),)
            events.append(StreamEvent(StreamWord.CHECKPOINT, fleet, terminal, chain, text, seqs, facts))
        if disposition is Disposition.CONFLICT:
            text = "two records of the same place say different hashes"
            events.append(StreamEvent(StreamWord.CHAIN_BREAK, fleet, terminal, chain, text, seqs))
    return events


def _authenticity(parsed: ParsedRecord, key: KeyRecord, source: ParsedTopic) -> _Refusal | None:
    home = (key.fleet, key.terminal)
    here = (source.fleet, source.terminal)
    if not _signed_for(parsed, key, *here):
        if home != here and _signed_for(parsed, key, *home):
            return _Refusal(Verdict.WRONG_STREAM, f"a record of {'/'.join(home)} that was moved to another topic")
        return _Refusal(Verdict.BAD_SIGNATURE, f"key {parsed.envelope.kid.hex()} did not sign this for this stream")
    if home != here:
        return _Refusal(Verdict.WRONG_STREAM, f"the key belongs to {'/'.join(home)}")
    if parsed.record.iss != source.terminal:
        return _Refusal(Verdict.WRONG_STREAM, f"iss {parsed.record.iss} is not the terminal of the topic")
    return None


def _signed_for(parsed: ParsedRecord, key: KeyRecord, fleet: str, terminal: str) -> bool:
    try:
        aad = stream_aad(fleet, terminal) + parsed.record.SUFFIX
    except TokenError:
        return False  # no stream has such a name, so nothing was signed for it
    return parsed.envelope.verified_by(key.public, aad)


def _validity(iat: int, key: KeyRecord, now: float) -> _Refusal | None:
    """A gap record does not say whether its clock was set: an iat from before its key was one is no time at all.

    Nor is any iat by a revoked key: whoever stole it writes what he likes. From the revocation on its records are
    refused by the time of their arrival, whatever they say; those of a key that only ended are judged by their iat.
    """
    if key.revoked_at is not None and now >= key.revoked_at:
        return _Refusal(Verdict.REVOKED_KEY, f"the key was revoked at {key.revoked_at}")
    at = now if iat < key.valid_from - SKEW_S else iat
    if at < key.valid_from - SKEW_S:
        return _Refusal(Verdict.UNKNOWN_KEY, f"the key counts from {key.valid_from} on")
    for end, word in ((key.revoked_at, "was revoked at"), (key.valid_to, "counted until")):
        if end is not None and at >= end:
            return _Refusal(Verdict.REVOKED_KEY, f"the key {word} {end}")
    return None


def _row(parsed: ParsedRecord, stream: Stream, payload: bytes, at: float) -> RecordRow:
    record, kid = parsed.record, parsed.envelope.kid
    if isinstance(record, Gap):
        return GapRow(
            stream=stream,
            first=record.first,
            last=record.last,
            prev=record.prev,
            hash=record.hash,
            reason=record.reason,
            iat=record.iat,
            kid=kid,
            record=payload,
            received_at=at,
        )
    return CheckpointRow(stream, record.seq, record.head, int(record.clk), record.iat, kid, payload, at)


def _refused(
    kind: RecordKind,
    source: ParsedTopic,
    refusal: _Refusal,
    payload: bytes,
    topic: str,
    at: float,
    stream: Stream | None = None,
) -> RecordItem:
    evidence = Evidence(printable(topic, limit=160), refusal.verdict.value, refusal.reason, payload, at)
    return RecordItem(kind, source, stream, verdict=refusal.verdict, evidence=evidence)

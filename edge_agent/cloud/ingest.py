"""From a message of a terminal to what must be kept, and from what was kept to what is told. Pure: no I/O.

A message becomes items, one for each token or record: each is a row for the ledger or evidence against it, never both,
never neither. What a peer sends ends here as a verdict; it must never raise.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any

from edge_agent.cloud.base import MAX_SEQ, Disposition, Evidence, Place, RecordRow, Row, StoreReport, Stream
from edge_agent.cloud.records import RecordItem, RecordKind, judge_record
from edge_agent.cloud.verifier import INGEST_WINDOW_S, Judgement, KeyLookup, SeenLookup, Verdict, verify
from edge_agent.models import CHAIN_ID_BYTES
from edge_agent.sanitize import printable
from edge_agent.tokens.tap_token import Claims
from edge_agent.uplink.wire import ParsedTopic, State, StateWord, WireError, decode_batch, parse_topic

LIVE_SUFFIX = "evt/tap"
BATCH_SUFFIX = "evt/batch"
CHECKPOINT_SUFFIX = "evt/chk"
GAP_SUFFIX = "evt/gap"
STATE_SUFFIX = "state"

# An expired token counts for nothing, but it is authentic: kept as a row it is acknowledged, and the terminal's outbox
# gets rid of it. Refused, it would come again for ever. So would one of a revoked key: it is kept beside the taps.
# The others are told by bytes that the ledger has already.
_FOR_THE_LEDGER = frozenset({Verdict.EXPIRED, Verdict.REVOKED_KEY, Verdict.DUPLICATE, Verdict.CONFLICT})
_NOTHING: Mapping[Place, bytes] = MappingProxyType({})
_BY_PLACE = {Disposition.DUPLICATE: Verdict.DUPLICATE, Disposition.CONFLICT: Verdict.CONFLICT}


class Lane(StrEnum):
    """How a message came: a tap of this moment, the backlog, or a terminal's birth."""

    LIVE = "live"
    BATCH = "batch"
    STATE = "state"
    STRAY = "stray"


_LANES = {LIVE_SUFFIX: Lane.LIVE, BATCH_SUFFIX: Lane.BATCH, STATE_SUFFIX: Lane.STATE}
_RECORDS = {CHECKPOINT_SUFFIX: RecordKind.CHECKPOINT, GAP_SUFFIX: RecordKind.GAP}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it came: ``at`` in unix seconds decides verdicts, ``tick`` is CLOCK_MONOTONIC for latencies."""

    topic: str
    payload: bytes = field(repr=False)
    at: float
    tick: float = 0.0


@dataclass(frozen=True, slots=True)
class Item:
    """One token, or one message that holds none: the verdict so far and what to keep."""

    lane: Lane
    source: ParsedTopic | None
    judgement: Judgement
    at: float
    tick: float
    row: Row | None = None
    evidence: Evidence | None = None

    @property
    def stream(self) -> Stream | None:
        """Whose seq this is; only an authentic token has one."""
        claims = self.judgement.claims
        if self.source is None or claims is None or self.judgement.verdict is Verdict.WRONG_STREAM:
            return None
        return Stream(self.source.fleet, self.source.terminal, claims.chain)


@dataclass(frozen=True, slots=True)
class Presence:
    """What a terminal's state, or its will, says."""

    stream: Stream
    online: bool


@dataclass(frozen=True, slots=True)
class Ingested:
    """All that some messages hold."""

    items: tuple[Item, ...] = ()
    presences: tuple[Presence, ...] = ()
    records: tuple[RecordItem, ...] = ()

    @property
    def births(self) -> tuple[Stream, ...]:
        """Streams of terminals that have just come online."""
        return tuple(presence.stream for presence in self.presences if presence.online)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not self.items and not self.records

    @property
    def touched(self) -> dict[Stream, None]:
        """Streams that an ack is due to, in order: a duplicate is a terminal that did not hear the last one."""
        streams = [*(item.stream for item in self.items), *(item.stream for item in self.records)]
        return dict.fromkeys([*(stream for stream in streams if stream is not None), *self.births])

    @property
    def rows(self) -> list[Row]:
        """What goes into the ledger, in order of arrival."""
        return [item.row for item in self.items if item.row is not None]

    @property
    def evidence(self) -> list[Evidence]:
        """What was refused."""
        found = [*(item.evidence for item in self.items), *(item.evidence for item in self.records)]
        return [evidence for evidence in found if evidence is not None]

    @property
    def record_rows(self) -> list[RecordRow]:
        """Records for the ledger, in order of arrival."""
        return [item.row for item in self.records if item.row is not None]

    @property
    def doubtful(self) -> frozenset[Place]:
        """Places of authentic tokens that were refused: what is stored there may give them another verdict."""
        return frozenset(
            (item.stream, item.judgement.claims.seq)
            for item in self.items
            if (item.row is None or item.row.withheld) and item.stream is not None and item.judgement.claims is not None
        )


@dataclass(frozen=True, slots=True)
class TapEvent:
    """The final word on one token, told after it is durable. ``latency_ms``: from its arrival here to the commit.

    Of a refused token ``terminal`` is the topic's, and what the token claims is told only if its signature is right.
    """

    verdict: Verdict
    reason: str
    lane: Lane
    fleet: str | None
    terminal: str | None
    chain: bytes | None
    seq: int | None
    redeemable: bool
    chain_break: bool
    received_at: float
    latency_ms: float
    claims: Claims | None = field(default=None, repr=False)
    rebased_at: int | None = None
    """True time of a tap with ``clk`` 0, once a synced token of its boot told it."""

    def as_json(self) -> dict[str, Any]:
        """One line of ``edge-agent receive --json``: plain values, byte strings as lowercase hex."""
        claims = self.claims
        return {
            "event": "tap",
            "verdict": self.verdict.value,
            "reason": self.reason,
            "lane": self.lane.value,
            "fleet": self.fleet,
            "terminal": self.terminal,
            "chain": None if self.chain is None else self.chain.hex(),
            "seq": self.seq,
            "redeemable": self.redeemable,
            "chain_break": self.chain_break,
            "received_at": self.received_at,
            "latency_ms": round(self.latency_ms, 3),
            "iat": None if claims is None else claims.iat,
            "clk": None if claims is None else int(claims.clk),
            "rebased_at": self.rebased_at,
            "mode": None if claims is None else int(claims.mode),
            "campaign": None if claims is None else claims.campaign,
            "test": None if claims is None else claims.test,
        }


def ingest(
    arrivals: Iterable[Arrival],
    keys: KeyLookup,
    ingest_window_s: int = INGEST_WINDOW_S,
    stored: Mapping[Place, bytes] = _NOTHING,
) -> Ingested:
    """Take messages apart and judge what they hold. The costly part: about 0.15 ms of a core for each token.

    ``stored`` is what the ledger has at the ``doubtful`` places of a first look. The contract asks whether these bytes
    are stored before it asks for the validity of the key, and whether others are before it looks at the time.
    """
    judge = partial(_judged, keys=keys, window_s=ingest_window_s, stored=stored)
    items: list[Item] = []
    presences: list[Presence] = []
    records: list[RecordItem] = []
    for arrival in arrivals:
        try:
            source = parse_topic(arrival.topic)
        except WireError as error:
            items.append(_refused(arrival, Lane.STRAY, None, Judgement(Verdict.MALFORMED, error.text)))
            continue
        if source.suffix in _RECORDS:
            kind = _RECORDS[source.suffix]
            record = judge_record(arrival.payload, kind, source, topic=arrival.topic, at=arrival.at, keys=keys)
            records.append(record)
            continue
        match _LANES.get(source.suffix):
            case Lane.LIVE:
                items.append(judge(arrival, Lane.LIVE, source, arrival.payload))
            case Lane.BATCH:
                items += _batch(arrival, source, judge)
            case Lane.STATE:
                _state(arrival, source, items, presences)
            case _:
                reason = "not a topic that a receiver reads"
                items.append(_refused(arrival, Lane.STRAY, source, Judgement(Verdict.MALFORMED, reason)))
    return Ingested(tuple(items), tuple(presences), tuple(records))


def settle(ingested: Ingested, report: StoreReport, now: float) -> list[TapEvent]:
    """Join the verdicts with what the ledger found, at CLOCK_MONOTONIC ``now``, right after the commit."""
    dispositions = deque(report.dispositions)
    breaks = frozenset(report.breaks)
    events: list[TapEvent] = []
    for item in ingested.items:
        verdict, reason, redeemable = item.judgement.verdict, item.judgement.reason, False
        stream = item.stream
        seq = None if item.judgement.claims is None else item.judgement.claims.seq
        if item.row is not None:
            disposition = dispositions.popleft()
            if disposition in _BY_PLACE and not item.row.withheld:
                verdict, reason = _BY_PLACE[disposition], f"as the ledger found: {disposition.value}"
            else:
                redeemable = item.row.redeemable
        events.append(
            TapEvent(
                verdict=verdict,
                reason=reason,
                lane=item.lane,
                fleet=None if item.source is None else item.source.fleet,
                terminal=None if item.source is None else item.source.terminal,
                chain=None if stream is None else stream.chain,
                seq=None if stream is None else seq,
                redeemable=redeemable,
                chain_break=stream is not None and (stream, seq) in breaks,
                received_at=item.at,
                latency_ms=max(0.0, now - item.tick) * 1000,
                claims=None if stream is None else item.judgement.claims,
                rebased_at=None if stream is None or seq is None else report.rebased_at.get((stream, seq)),
            )
        )
    return events


def _batch(arrival: Arrival, source: ParsedTopic, judge: Callable[..., Item]) -> Sequence[Item]:
    try:
        tokens = decode_batch(arrival.payload)
    except WireError as error:
        return [_refused(arrival, Lane.BATCH, source, Judgement(Verdict.MALFORMED, error.text))]
    return [judge(arrival, Lane.BATCH, source, token) for token in tokens]


def _state(arrival: Arrival, source: ParsedTopic, items: list[Item], presences: list[Presence]) -> None:
    if not arrival.payload:
        return  # MQTT: an empty retained message is how a retired terminal's state is removed
    try:
        state = State.decode(arrival.payload)
    except WireError as error:
        items.append(_refused(arrival, Lane.STATE, source, Judgement(Verdict.MALFORMED, error.text)))
        return
    stream = Stream(source.fleet, source.terminal, state.chain)
    presences.append(Presence(stream, online=state.state is StateWord.ONLINE))


def _judged(
    arrival: Arrival,
    lane: Lane,
    source: ParsedTopic,
    token: bytes,
    *,
    keys: KeyLookup,
    window_s: int,
    stored: Mapping[Place, bytes],
) -> Item:
    judgement = verify(
        token,
        fleet=source.fleet,
        terminal=source.terminal,
        now=arrival.at,
        keys=keys,
        seen=_seen(stored, source),
        ingest_window_s=window_s,
    )
    claims, kid = judgement.claims, judgement.kid
    kept = judgement.stored or judgement.verdict in _FOR_THE_LEDGER
    if not kept or claims is None or kid is None:
        return _refused(arrival, lane, source, judgement, token)
    if claims.seq > MAX_SEQ:
        return _refused(arrival, lane, source, Judgement(Verdict.MALFORMED, "seq is beyond any counter"), token)
    row = Row(
        stream=Stream(source.fleet, source.terminal, claims.chain),
        seq=claims.seq,
        token=token,
        verdict=judgement.verdict.value,
        redeemable=judgement.redeemable,
        received_at=arrival.at,
        kid=kid,
        iat=claims.iat,
        exp=claims.exp,
        clk=int(claims.clk),
        boot=claims.boot,
        up=claims.up,
        prev=claims.prev,
        mode=int(claims.mode),
        nonce=claims.nonce,
        sub=claims.sub,
        campaign=claims.campaign,
        test=claims.test,
        withheld=judgement.verdict is Verdict.REVOKED_KEY,
    )
    return Item(lane, source, judgement, arrival.at, arrival.tick, row=row)


def _seen(stored: Mapping[Place, bytes], source: ParsedTopic) -> SeenLookup:
    def look(cti: bytes) -> bytes | None:
        stream = Stream(source.fleet, source.terminal, cti[:CHAIN_ID_BYTES])
        return stored.get((stream, int.from_bytes(cti[CHAIN_ID_BYTES:], "big")))

    return look


def _refused(
    arrival: Arrival, lane: Lane, source: ParsedTopic | None, judgement: Judgement, payload: bytes | None = None
) -> Item:
    evidence = Evidence(
        topic=printable(arrival.topic, limit=160),
        verdict=judgement.verdict.value,
        reason=judgement.reason,
        payload=arrival.payload if payload is None else payload,
        received_at=arrival.at,
    )
    return Item(lane, source, judgement, arrival.at, arrival.tick, evidence=evidence)

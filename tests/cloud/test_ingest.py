import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.base import MAX_SEQ, Disposition, StoreReport, Stream
from edge_agent.cloud.ingest import Arrival, Ingested, Lane, TapEvent, ingest, settle
from edge_agent.cloud.verifier import KeyLookup, KeyRecord, Verdict
from edge_agent.models import ClockTrust
from edge_agent.tokens.tap_token import seal, stream_aad
from edge_agent.uplink.wire import State, StateWord, Topics, encode_batch
from tests.fakes.tapping_terminal import NOW, TappingTerminal

TERMINAL = TappingTerminal()
TOPICS = Topics(TERMINAL.fleet, TERMINAL.terminal)


def keys_of(*terminals: TappingTerminal) -> KeyLookup:
    records = {t.key.kid: KeyRecord(t.key.public, t.fleet, t.terminal) for t in terminals}
    return records.get


KEYS = keys_of(TERMINAL)


def one(topic: str, payload: bytes, at: float = NOW, keys: KeyLookup = KEYS) -> Ingested:
    return ingest([Arrival(topic, payload, at)], keys)


def stored(ingested: Ingested) -> list[TapEvent]:
    """Events as if the ledger took every row."""
    return settle(ingested, StoreReport((Disposition.STORED,) * len(ingested.rows)), 0.0)


def test_a_live_tap_becomes_a_redeemable_row() -> None:
    terminal = TappingTerminal(key=TERMINAL.key)
    token = terminal.tap()
    ingested = one(TOPICS.evt_tap, token)
    (row,) = ingested.rows
    assert ingested.evidence == []
    assert row.stream == Stream("sh", "sh-1-a", terminal.chain)
    assert (row.seq, row.token, row.verdict, row.redeemable) == (1, token, "fresh", True)
    (event,) = stored(ingested)
    assert (event.verdict, event.lane, event.redeemable, event.seq) == (Verdict.FRESH, Lane.LIVE, True, 1)


def test_a_batch_becomes_one_row_for_each_token() -> None:
    tokens = TappingTerminal(key=TERMINAL.key).taps(64)
    ingested = one(TOPICS.evt_batch, encode_batch(tokens))
    assert [row.token for row in ingested.rows] == tokens
    assert {event.lane for event in stored(ingested)} == {Lane.BATCH}


@pytest.mark.parametrize(
    ("at", "verdict", "redeemable"),
    [
        (NOW + 100, "fresh", True),
        (NOW + 101, "late", False),
        (NOW + 100 + 7 * 86400, "late", False),
        (NOW + 101 + 7 * 86400, "expired", False),
        (NOW - 10, "fresh", True),
        (NOW - 30, "clock_suspect", False),
    ],
)
def test_authentic_tokens_are_kept_with_their_verdict(at: float, verdict: str, redeemable: bool) -> None:
    ingested = one(TOPICS.evt_tap, TappingTerminal(key=TERMINAL.key).tap(), at)
    (row,) = ingested.rows
    assert (row.verdict, row.redeemable) == (verdict, redeemable)
    assert [event.redeemable for event in stored(ingested)] == [redeemable]


def test_what_may_be_judged_differently_later_is_not_kept_and_not_acked() -> None:
    ingested = one(TOPICS.evt_tap, TappingTerminal(key=TERMINAL.key).tap(), NOW - 60)
    assert ingested.rows == []
    assert [e.verdict for e in ingested.evidence] == ["clock_suspect"]


def test_a_technicians_tap_is_fresh_but_not_redeemable() -> None:
    (row,) = one(TOPICS.evt_tap, TappingTerminal(key=TERMINAL.key).tap(test=True)).rows
    assert (row.verdict, row.redeemable, row.test) == ("fresh", False, True)


def test_an_unset_clock_gives_evidence_only() -> None:
    token = TappingTerminal(key=TERMINAL.key).tap(iat=77, exp=77, clk=ClockTrust.UNSET)
    (row,) = one(TOPICS.evt_tap, token).rows
    assert (row.verdict, row.redeemable) == ("late", False)


def forged() -> bytes:
    token = bytearray(TappingTerminal(key=TERMINAL.key).tap())
    token[-1] ^= 1
    return bytes(token)


def moved() -> bytes:
    return TappingTerminal("sh-2-a").tap()


@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        (b"", Verdict.MALFORMED),
        (b"junk", Verdict.MALFORMED),
        (b"\xd2\x84" + b"\xff" * 300, Verdict.MALFORMED),
        (forged(), Verdict.BAD_SIGNATURE),
        (moved(), Verdict.UNKNOWN_KEY),
    ],
)
def test_refused_tokens_are_evidence_and_never_rows(payload: bytes, verdict: Verdict) -> None:
    ingested = one(TOPICS.evt_tap, payload)
    assert ingested.rows == []
    (evidence,) = ingested.evidence
    assert (evidence.verdict, evidence.payload, evidence.topic) == (verdict, payload, TOPICS.evt_tap)
    (event,) = stored(ingested)
    assert (event.verdict, event.redeemable, event.chain, event.claims) == (verdict, False, None, None)


def test_a_token_moved_to_another_stream_touches_neither() -> None:
    other = TappingTerminal("sh-2-a")
    ingested = one(TOPICS.evt_tap, other.tap(), keys=keys_of(TERMINAL, other))
    assert [item.stream for item in ingested.items] == [None]
    assert [event.verdict for event in stored(ingested)] == [Verdict.WRONG_STREAM]


@pytest.mark.parametrize("found", Disposition)
def test_a_token_of_a_revoked_key_is_kept_beside_the_taps_whatever_the_ledger_finds(found: Disposition) -> None:
    terminal = TappingTerminal()
    record = KeyRecord(terminal.key.public, terminal.fleet, terminal.terminal, revoked_at=NOW - 5)
    ingested = one(TOPICS.evt_tap, terminal.tap(), keys=lambda _kid: record)
    (row,) = ingested.rows
    assert (row.withheld, row.redeemable, row.verdict) == (True, False, "revoked_key")
    stream = Stream("sh", "sh-1-a", terminal.chain)
    assert list(ingested.touched) == [stream]
    assert ingested.doubtful == {(stream, 1)}, "the ledger may have these very bytes as a tap"
    (event,) = settle(ingested, StoreReport((found,)), 0.0)
    assert (event.verdict, event.redeemable) == (Verdict.REVOKED_KEY, False)


@pytest.mark.parametrize("seq", [MAX_SEQ + 1, 2**63, 2**64 - 1])
def test_a_seq_that_no_counter_reaches_is_malformed(seq: int) -> None:
    claims = TERMINAL.claims(cti=TERMINAL.chain + seq.to_bytes(8, "big"))
    token = seal(claims, TERMINAL.key, stream_aad(TERMINAL.fleet, TERMINAL.terminal))
    ingested = one(TOPICS.evt_tap, token)
    assert ingested.rows == []
    assert [e.verdict for e in ingested.evidence] == ["malformed"]


@pytest.mark.parametrize("topic", ["", "tap/v1/sh", "tap/v1/sh/UPPER/evt/tap", "tap/v1/sh/sh-1-a/evt/no", "x\n" * 200])
def test_stray_topics_are_counted_and_quoted_safely(topic: str) -> None:
    ingested = one(topic, b"payload")
    (evidence,) = ingested.evidence
    assert evidence.verdict == "malformed"
    assert len(evidence.topic) <= 160
    assert evidence.topic.isprintable()
    assert [event.lane for event in stored(ingested)] == [Lane.STRAY]


def test_a_batch_that_cannot_be_split_is_one_piece_of_evidence() -> None:
    payload = encode_batch(TappingTerminal(key=TERMINAL.key).taps(3))[:-1]
    ingested = one(TOPICS.evt_batch, payload)
    assert ingested.rows == []
    assert [e.payload for e in ingested.evidence] == [payload]


STATE = State(
    state=StateWord.ONLINE,
    session="00" * 8,
    version="0.1.0",
    kid=b"key id 1",
    chain=b"chain--1",
    next_seq=8,
    config="",
    screens={},
    readers={},
    at=NOW,
)


def test_a_birth_names_the_stream_to_be_acked() -> None:
    ingested = one(TOPICS.state, STATE.encode())
    assert ingested.births == (Stream("sh", "sh-1-a", b"chain--1"),)
    assert ingested.items == ()


@pytest.mark.parametrize("payload", [b"", replace(STATE, state=StateWord.LOST).encode()])
def test_other_states_ask_for_nothing(payload: bytes) -> None:
    ingested = one(TOPICS.state, payload)
    assert ingested.is_empty
    assert ingested.births == ()


def test_a_malformed_state_is_evidence() -> None:
    assert [e.verdict for e in one(TOPICS.state, b"{}").evidence] == ["malformed"]


def test_the_ledgers_findings_overrule_the_first_verdict() -> None:
    tokens = TappingTerminal(key=TERMINAL.key).taps(3)
    ingested = one(TOPICS.evt_batch, encode_batch(tokens))
    stream = ingested.rows[0].stream
    found = (Disposition.DUPLICATE, Disposition.CONFLICT, Disposition.STORED)
    events = settle(ingested, StoreReport(found, ((stream, 3),)), 0.0)
    assert [event.verdict for event in events] == [Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.FRESH]
    assert [event.redeemable for event in events] == [False, False, True]
    assert [event.chain_break for event in events] == [False, False, True]


def test_refused_and_kept_tokens_of_one_batch_keep_their_dispositions_apart() -> None:
    terminal = TappingTerminal(key=TERMINAL.key)
    good, bad, again = terminal.tap(), forged(), terminal.tap()
    ingested = one(TOPICS.evt_batch, encode_batch([good, bad, again]))
    events = settle(ingested, StoreReport((Disposition.DUPLICATE, Disposition.STORED)), 0.0)
    assert [event.verdict for event in events] == [Verdict.DUPLICATE, Verdict.BAD_SIGNATURE, Verdict.FRESH]


def test_latency_is_measured_from_arrival_to_commit() -> None:
    ingested = ingest([Arrival(TOPICS.evt_tap, TERMINAL.twin().tap(), NOW, tick=50.0)], KEYS)
    (event,) = settle(ingested, StoreReport((Disposition.STORED,)), 50.25)
    assert event.latency_ms == pytest.approx(250.0)


def test_an_event_is_plain_json() -> None:
    (event,) = stored(one(TOPICS.evt_tap, TERMINAL.twin().tap()))
    line = json.loads(json.dumps(event.as_json()))
    assert line["verdict"] == "fresh"
    assert line["chain"] == TERMINAL.chain.hex()
    (refused,) = stored(one("nowhere", b""))
    assert json.loads(json.dumps(refused.as_json()))["seq"] is None


GOOD = TappingTerminal(key=TERMINAL.key).taps(3)


@given(
    topic=st.sampled_from([TOPICS.evt_tap, TOPICS.evt_batch, TOPICS.state, "tap/v1/a/b/evt/chk", "?"]) | st.text(),
    payload=st.binary(max_size=300) | st.sampled_from([*GOOD, encode_batch(GOOD), STATE.encode()]),
    cut=st.integers(0, 40),
    at=st.floats(0, 2**33),
)
def test_whatever_comes_in_every_item_is_a_row_or_evidence(topic: str, payload: bytes, cut: int, at: float) -> None:
    ingested = one(topic, payload[: len(payload) - cut], at)
    for item in ingested.items:
        assert (item.row is None) != (item.evidence is None)
        assert item.row is None or item.row.stream == item.stream
    for record in ingested.records:
        assert (record.row is None) != (record.evidence is None)
    for event in stored(ingested):
        json.dumps(event.as_json())

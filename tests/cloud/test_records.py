from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.base import MAX_SEQ, CheckpointRow, Disposition, GapRow, StoreReport, Stream
from edge_agent.cloud.records import RecordItem, RecordKind, judge_record, record_events
from edge_agent.cloud.verifier import KeyRecord, Verdict
from edge_agent.uplink.wire import ParsedTopic, Topics
from tests.fakes.tapping_terminal import NOW, TappingTerminal

TERMINAL = TappingTerminal()
TERMINAL.taps(8)
STREAM = Stream(TERMINAL.fleet, TERMINAL.terminal, TERMINAL.chain)
RECORD = KeyRecord(TERMINAL.key.public, TERMINAL.fleet, TERMINAL.terminal)


def judge(
    payload: bytes,
    kind: RecordKind = RecordKind.GAP,
    record: KeyRecord = RECORD,
    *,
    fleet: str = "sh",
    terminal: str = "sh-1-a",
    at: float = NOW,
) -> RecordItem:
    topics = Topics(fleet, terminal)
    suffix = "evt/gap" if kind is RecordKind.GAP else "evt/chk"
    source = ParsedTopic(fleet, terminal, suffix)
    lookup = {record.public.kid: record}.get
    return judge_record(payload, kind, source, topic=f"{topics.prefix}/{suffix}", at=at, keys=lookup)


def refused(item: RecordItem) -> Verdict | None:
    assert item.row is None
    assert item.evidence is not None
    assert item.evidence.verdict == item.verdict
    return item.verdict


def test_an_authentic_gap_record_becomes_a_row_with_all_that_it_says() -> None:
    payload = TERMINAL.gap(4, 6)
    item = judge(payload)
    assert isinstance(item.row, GapRow)
    assert (item.row.stream, item.row.first, item.row.last) == (STREAM, 4, 6)
    assert (item.row.prev, item.row.hash) == (TERMINAL.links[3], TERMINAL.links[6])
    assert (item.row.reason, item.row.record, item.row.received_at) == ("full", payload, NOW)
    assert (item.stream, item.evidence) == (STREAM, None)


def test_an_authentic_checkpoint_becomes_a_row() -> None:
    item = judge(TERMINAL.checkpoint(), RecordKind.CHECKPOINT)
    assert isinstance(item.row, CheckpointRow)
    assert (item.row.stream, item.row.seq, item.row.head) == (STREAM, 8, TERMINAL.links[8])


def test_records_of_an_unset_clock_count_and_do_not_get_around_a_revocation() -> None:
    payload = TERMINAL.gap(4, 6, iat=77)
    started = replace(RECORD, valid_from=NOW - 100)
    assert judge(payload, record=started).row is not None
    assert refused(judge(payload, record=replace(started, revoked_at=NOW - 5))) is Verdict.REVOKED_KEY


@pytest.mark.parametrize("kind", RecordKind)
def test_a_record_of_a_revoked_key_cannot_be_dated_back_and_one_of_a_key_that_ended_may_come_late(
    kind: RecordKind,
) -> None:
    payload = TERMINAL.gap(4, 6, iat=NOW - 500) if kind is RecordKind.GAP else TERMINAL.checkpoint(iat=NOW - 500)
    revoked = replace(RECORD, revoked_at=NOW - 5)
    assert refused(judge(payload, kind, revoked)) is Verdict.REVOKED_KEY
    assert judge(payload, kind, revoked, at=NOW - 6).row is not None
    assert judge(payload, kind, replace(RECORD, valid_to=NOW - 5)).row is not None


@pytest.mark.parametrize("kind", RecordKind)
def test_each_refusal_has_the_verdict_of_tokens(kind: RecordKind) -> None:
    def sealed(terminal: TappingTerminal = TERMINAL, **changes: object) -> bytes:
        return terminal.gap(4, 6, **changes) if kind is RecordKind.GAP else terminal.checkpoint(**changes)

    def of(payload: bytes, record: KeyRecord = RECORD, **where: str) -> Verdict | None:
        return refused(judge(payload, kind, record, **where))  # type: ignore[arg-type]  # names of the topic only

    stranger = TappingTerminal()
    stranger.taps(8)
    stranger.chain = TERMINAL.chain
    broken = bytearray(sealed())
    broken[-1] ^= 1
    assert of(b"") is Verdict.MALFORMED
    assert of(TERMINAL.twin().tap()) is Verdict.MALFORMED
    other_kind = TERMINAL.checkpoint() if kind is RecordKind.GAP else TERMINAL.gap(4, 6)
    assert of(other_kind) is Verdict.MALFORMED
    assert of(bytes(broken)) is Verdict.BAD_SIGNATURE
    assert of(sealed(stranger)) is Verdict.UNKNOWN_KEY
    assert of(sealed(), terminal="sh-2-a") is Verdict.WRONG_STREAM
    assert of(sealed(), fleet="bj") is Verdict.WRONG_STREAM
    assert of(sealed(), replace(RECORD, terminal="sh-2-a")) is Verdict.WRONG_STREAM
    assert of(sealed(iss="sh-2-a")) is Verdict.WRONG_STREAM
    assert of(sealed(), replace(RECORD, fleet="NO NAME")) is Verdict.WRONG_STREAM
    assert of(sealed(), replace(RECORD, valid_from=NOW + 60)) is Verdict.UNKNOWN_KEY
    assert of(sealed(), replace(RECORD, revoked_at=NOW)) is Verdict.REVOKED_KEY
    assert of(sealed(), replace(RECORD, valid_to=NOW - 1)) is Verdict.REVOKED_KEY
    beyond = {"last": MAX_SEQ + 1} if kind is RecordKind.GAP else {"seq": MAX_SEQ + 1}
    assert of(sealed(**beyond)) is Verdict.MALFORMED


@given(st.sampled_from(RecordKind), st.binary(max_size=300), st.integers(0, 60), st.integers(0, 255))
def test_whatever_comes_is_a_row_or_evidence(kind: RecordKind, junk: bytes, at: int, value: int) -> None:
    real = bytearray(TERMINAL.gap(4, 6) if kind is RecordKind.GAP else TERMINAL.checkpoint())
    real[at] = value
    for payload in (junk, bytes(real), bytes(real[:at])):
        item = judge(payload, kind)
        assert (item.row is None) != (item.evidence is None)


def test_events_tell_records_refusals_and_contradictions() -> None:
    items = (
        judge(TERMINAL.gap(4, 6)),
        judge(b"junk"),
        judge(TERMINAL.checkpoint(), RecordKind.CHECKPOINT),
        judge(TERMINAL.gap(7, 7)),
    )
    report = StoreReport((), records=(Disposition.STORED, Disposition.DUPLICATE, Disposition.CONFLICT))
    lines = [event.as_json() for event in record_events(items, report)]
    assert [line["event"] for line in lines] == [
        "gap_record",
        "record_refused",
        "checkpoint",
        "gap_record",
        "chain_break",
    ]
    assert (lines[0]["seqs"], lines[0]["reason"], lines[0]["disposition"]) == ([[4, 6]], "full", "stored")
    assert lines[1]["verdict"] == "malformed"
    assert lines[2]["disposition"] == "duplicate"
    assert lines[4]["seqs"] == [[7, 7]]

"""Checkpoints, gap records and the walk: any order of arrival, tampering found where it happened, memory bounded."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import TokenError
from edge_agent.models import FIRST_PREV, ChainPosition, ClockTrust
from edge_agent.tokens import cbor
from edge_agent.tokens.chain import (
    ChainWalk,
    Checkpoint,
    Gap,
    Record,
    parse_checkpoint,
    parse_gap,
    seal_record,
)
from edge_agent.tokens.sign1 import envelope_sealer
from edge_agent.tokens.tap_token import link_hash, make_sealer, parse
from tests.fakes.token_samples import (
    AAD,
    CHAIN,
    ED25519,
    FLEET,
    NOW,
    OTHER_ED25519,
    P256,
    TERMINAL,
    names,
    tap,
    token,
)

CHECKPOINT = Checkpoint(TERMINAL, NOW, CHAIN, 7, b"h" * 16, ClockTrust.SYNCED)
GAP = Gap(TERMINAL, NOW, CHAIN, 3, 9, b"p" * 16, b"h" * 16, "full")
RECORDS = pytest.mark.parametrize("record", [CHECKPOINT, GAP], ids=["checkpoint", "gap"])

seqs = st.integers(1, 2**64 - 1)
hashes = st.binary(min_size=16, max_size=16)
checkpoints = st.builds(
    Checkpoint,
    names,
    st.integers(0, 2**32 - 1),
    st.binary(min_size=8, max_size=8),
    seqs,
    hashes,
    st.sampled_from(ClockTrust),
)


def parse_record(record: Record, data: bytes) -> Any:
    return parse_checkpoint(data) if isinstance(record, Checkpoint) else parse_gap(data)


@given(checkpoints)
def test_a_checkpoint_reads_back(record: Checkpoint) -> None:
    sealed = seal_record(record, ED25519, FLEET, record.iss)
    parsed = parse_checkpoint(sealed)
    assert parsed.record == record
    assert parsed.verified_by(ED25519.public, FLEET, record.iss)


@given(names, seqs, seqs, hashes, hashes, st.from_regex(r"[a-z0-9_-]{1,24}", fullmatch=True))
def test_a_gap_record_reads_back(iss: str, one: int, two: int, prev: bytes, last: bytes, reason: str) -> None:
    record = Gap(iss, NOW, CHAIN, min(one, two), max(one, two), prev, last, reason)
    parsed = parse_gap(seal_record(record, P256, FLEET, iss))
    assert parsed.record == record
    assert parsed.verified_by(P256.public, FLEET, iss)


@RECORDS
def test_a_record_counts_in_its_own_stream_only(record: Record) -> None:
    parsed = parse_record(record, seal_record(record, ED25519, FLEET, TERMINAL))
    assert parsed.verified_by(ED25519.public, FLEET, TERMINAL)
    assert not parsed.verified_by(OTHER_ED25519.public, FLEET, TERMINAL)
    assert not parsed.verified_by(P256.public, FLEET, TERMINAL)
    assert not parsed.verified_by(ED25519.public, "other", TERMINAL)
    assert not parsed.verified_by(ED25519.public, FLEET, "other")
    stranger = parse_record(record, seal_record(replace(record, iss="other"), ED25519, FLEET, TERMINAL))
    assert not stranger.verified_by(ED25519.public, FLEET, TERMINAL)


@RECORDS
def test_every_changed_byte_is_refused(record: Record) -> None:
    whole = seal_record(record, ED25519, FLEET, TERMINAL)
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        try:
            genuine = parse_record(record, bytes(changed)).verified_by(ED25519.public, FLEET, TERMINAL)
        except TokenError:
            genuine = False
        assert not genuine, f"byte {at}"


def test_a_token_a_checkpoint_and_a_gap_record_never_pass_for_each_other() -> None:
    tap_token = token()
    checkpoint, gap = (seal_record(record, ED25519, FLEET, TERMINAL) for record in (CHECKPOINT, GAP))
    for reader, others in (
        (parse, (checkpoint, gap)),
        (parse_checkpoint, (tap_token, gap)),
        (parse_gap, (tap_token, checkpoint)),
    ):
        for data in others:
            with pytest.raises(TokenError, match="missing"):
                reader(data)
    # Even with all claims of a checkpoint in it, what was signed as a token is no checkpoint: the external_aad differs.
    as_token = envelope_sealer(ED25519, AAD)(CHECKPOINT.payload())
    assert not parse_checkpoint(as_token).verified_by(ED25519.public, FLEET, TERMINAL)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "Not-A-Name"}, {"iat": -1}, {"chain": b"short"}, {"seq": 0}, {"seq": 2**64}, {"head": b"short"},
        {"seq": 1.5},
    ],
)  # fmt: skip
def test_a_wrong_checkpoint_is_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        seal_record(replace(CHECKPOINT, **change), ED25519, FLEET, TERMINAL)


@pytest.mark.parametrize(
    "change",
    [{"first": 0}, {"first": 10}, {"last": 2}, {"prev": b""}, {"hash": b""}, {"reason": ""}, {"reason": "Disk full"}],
)
def test_a_wrong_gap_record_is_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        seal_record(replace(GAP, **change), ED25519, FLEET, TERMINAL)


def test_unknown_keys_in_a_record_are_ignored() -> None:
    outer = cbor.decode(CHECKPOINT.payload(), 248)
    assert isinstance(outer, dict)
    outer[-70000] = "later"
    outer[-65538][9] = [1]
    data = envelope_sealer(ED25519, AAD + b"/chk")(cbor.encode(outer))
    assert parse_checkpoint(data).record == CHECKPOINT


# The walk.


def links(count: int) -> list[tuple[int, bytes, bytes]]:
    """Return (seq, prev, hash) of a real chain."""
    sealer, prev, found = make_sealer(ED25519, FLEET, TERMINAL), FIRST_PREV, []
    for seq in range(1, count + 1):
        sealed = sealer(tap(), ChainPosition(CHAIN, seq, prev))
        found.append((seq, prev, link_hash(sealed)))
        prev = link_hash(sealed)
    return found


REAL = links(30)


@given(st.permutations(REAL))
def test_any_order_of_a_whole_chain_is_whole(order: list[tuple[int, bytes, bytes]]) -> None:
    walk = ChainWalk()
    for link in order:
        assert walk.token(*link) == ()
    assert (walk.through, walk.holes(), walk.breaks) == (30, (), set())


@given(st.lists(st.sampled_from(REAL), max_size=60))
def test_holes_are_what_did_not_come(arrived: list[tuple[int, bytes, bytes]]) -> None:
    walk = ChainWalk()
    for link in arrived:
        walk.token(*link)
    have = {seq for seq, _, _ in arrived}
    missing = {seq for seq in range(1, max(have, default=0)) if seq not in have}
    assert {seq for first, last in walk.holes() for seq in range(first, last + 1)} == missing
    assert walk.through == next(seq for seq in range(31) if seq + 1 not in have)
    assert walk.breaks == set()


@given(st.permutations(REAL), st.integers(1, 30))
def test_a_replaced_token_breaks_its_links_in_any_order(order: list[tuple[int, bytes, bytes]], at: int) -> None:
    walk = ChainWalk()
    for seq, prev, hashed in order:
        walk.token(seq, prev, b"another token..." if seq == at else hashed)
    assert walk.breaks == ({at + 1} if at < 30 else set())


def test_the_first_token_points_to_nothing() -> None:
    walk = ChainWalk()
    assert walk.token(1, b"x" * 16, b"h" * 16) == (1,)


def gap_of(first: int, last: int) -> Gap:
    return Gap(TERMINAL, NOW, CHAIN, first, last, REAL[first - 1][1], REAL[last - 1][2], "full")


@given(st.permutations(range(1, 31)), st.integers(1, 30), st.integers(1, 30), st.integers(0, 30))
def test_a_gap_record_keeps_the_chain_checkable(order: list[int], one: int, two: int, when: int) -> None:
    first, last = min(one, two), max(one, two)
    walk = ChainWalk()
    for place, seq in enumerate([*order, 0]):
        if place == when:
            assert walk.gap(gap_of(first, last)) == ()
        if seq and not first <= seq <= last:
            assert walk.token(*REAL[seq - 1]) == ()
    assert (walk.through, walk.holes(), walk.breaks) == (30, (), set())


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=12))
def test_overlapping_records_and_tokens_add_up(spans: list[tuple[int, int]]) -> None:
    walk = ChainWalk()
    have: set[int] = set()
    for one, two in spans:
        first, last = min(one, two), max(one, two)
        added = walk.token(*REAL[first - 1]) if first == last else walk.gap(gap_of(first, last))
        assert added == ()
        have.update(range(first, last + 1))
        missing = {seq for seq in range(1, max(have)) if seq not in have}
        assert {seq for a, b in walk.holes() for seq in range(a, b + 1)} == missing


def test_a_gap_record_that_hides_a_replaced_chain_breaks_at_its_ends() -> None:
    walk = ChainWalk()
    walk.token(*REAL[0])
    walk.token(*REAL[9])
    assert walk.gap(replace(gap_of(2, 9), prev=b"x" * 16)) == (2,)
    other = ChainWalk()
    other.token(*REAL[9])
    assert other.gap(replace(gap_of(2, 9), hash=b"x" * 16)) == (10,)


def test_a_checkpoint_shows_a_cut_off_end() -> None:
    walk = ChainWalk()
    walk.token(*REAL[0])
    assert walk.checkpoint(replace(CHECKPOINT, seq=5, head=REAL[4][2])) == ()
    assert walk.holes() == ((2, 5),)
    for link in REAL[1:5]:
        assert walk.token(*link) == ()
    assert walk.holes() == ()


def test_a_checkpoint_contradicts_a_rewritten_chain() -> None:
    before, after = ChainWalk(), ChainWalk()
    before.token(*REAL[0])
    assert before.checkpoint(replace(CHECKPOINT, seq=1, head=b"x" * 16)) == (1,)
    after.checkpoint(replace(CHECKPOINT, seq=1, head=b"x" * 16))
    assert after.token(*REAL[0]) == (1,)
    assert after.breaks == {1}


def test_memory_is_bounded_by_runs_and_promises() -> None:
    walk = ChainWalk(max_runs=4)
    for seq in range(2, 200, 2):
        walk.token(seq, b"p" * 16, b"h" * 16)
        walk.checkpoint(replace(CHECKPOINT, seq=10_000 + seq))
    assert len(walk._runs) <= 4
    assert len(walk._promised) <= 16
    assert walk.forgotten == 96
    assert walk.holes()[-1][1] == 10_198

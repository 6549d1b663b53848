"""Every verdict of the contract, the order of the checks, and the seconds at which one verdict becomes another."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cloud.verifier import (
    INGEST_WINDOW_S,
    Judgement,
    KeyRecord,
    Verdict,
    verify,
)
from edge_agent.models import ClockTrust, TapMode
from edge_agent.tokens.chain import Checkpoint, seal_record
from edge_agent.tokens.sign1 import stream_aad
from edge_agent.tokens.tap_token import Claims, seal
from tests.fakes.token_samples import (
    AAD,
    CHAIN,
    ED25519,
    FLEET,
    NOW,
    OTHER_ED25519,
    P256,
    TERMINAL,
    any_claims,
    claims,
    token,
)

RECORD = KeyRecord(public=ED25519.public, fleet=FLEET, terminal=TERMINAL)
OTHER_STREAM = stream_aad(FLEET, "sh-000123-b")


def registry(*records: KeyRecord) -> Callable[[bytes], KeyRecord | None]:
    return {record.public.kid: record for record in records}.get


def judge(
    data: bytes, *, record: KeyRecord = RECORD, now: float = NOW, stored: bytes | None = None, **more: Any
) -> Judgement:
    options = {"fleet": FLEET, "terminal": TERMINAL, "keys": registry(record), "seen": lambda _: stored, **more}
    return verify(data, now=now, **options)


def assert_refused(found: Judgement, verdict: Verdict) -> None:
    assert found.verdict is verdict, found.reason
    assert not found.stored
    assert not found.redeemable


# One token, as time goes by: iat NOW, exp NOW + 90.


@pytest.mark.parametrize(
    ("now", "verdict", "stored", "redeemable", "final"),
    [
        (NOW - 3600, Verdict.CLOCK_SUSPECT, False, False, False),
        (NOW - 60, Verdict.CLOCK_SUSPECT, False, False, False),
        (NOW - 59.9, Verdict.CLOCK_SUSPECT, True, False, True),
        (NOW - 10.1, Verdict.CLOCK_SUSPECT, True, False, True),
        (NOW - 10, Verdict.FRESH, True, True, True),
        (NOW, Verdict.FRESH, True, True, True),
        (NOW + 100, Verdict.FRESH, True, True, True),
        (NOW + 100.1, Verdict.LATE, True, False, True),
        (NOW + 100 + INGEST_WINDOW_S, Verdict.LATE, True, False, True),
        (NOW + 100.1 + INGEST_WINDOW_S, Verdict.EXPIRED, False, False, True),
    ],
)
def test_the_two_lives_of_a_token(now: float, verdict: Verdict, stored: bool, redeemable: bool, final: bool) -> None:
    found = judge(token(), now=now)
    assert (found.verdict, found.stored, found.redeemable, found.final) == (verdict, stored, redeemable, final)
    assert found.claims == claims()
    assert found.kid == ED25519.kid


def test_the_ingest_window_is_a_setting() -> None:
    assert judge(token(), now=NOW + 200, ingest_window_s=100).verdict is Verdict.LATE
    assert judge(token(), now=NOW + 201, ingest_window_s=100).verdict is Verdict.EXPIRED


@pytest.mark.parametrize("clk", [ClockTrust.HOLDOVER, ClockTrust.SYNCED])
def test_a_clock_in_holdover_still_earns_a_reward(clk: ClockTrust) -> None:
    assert judge(token(clk=clk)).redeemable


@pytest.mark.parametrize("iat", [0, 5, NOW - 30 * 86400, NOW - 1, NOW, NOW + 10])
def test_an_unset_clock_gives_evidence_whatever_it_says(iat: int) -> None:
    found = judge(token(clk=ClockTrust.UNSET, iat=iat, ttl=0))
    assert (found.verdict, found.stored, found.redeemable) == (Verdict.LATE, True, False)


@pytest.mark.parametrize("ahead", [11, 60, 10**6])
def test_an_unset_clock_ahead_is_suspect_and_still_evidence(ahead: int) -> None:
    found = judge(token(clk=ClockTrust.UNSET, iat=NOW + ahead, ttl=0))
    assert (found.verdict, found.stored, found.redeemable) == (Verdict.CLOCK_SUSPECT, True, False)


def test_a_technicians_tap_is_fresh_but_earns_nothing() -> None:
    found = judge(token(test=True))
    assert (found.verdict, found.stored, found.redeemable) == (Verdict.FRESH, True, False)
    assert "technician" in found.reason


def test_a_plain_card_can_be_fresh() -> None:
    assert judge(token(mode=TapMode.CARD, nonce=None)).redeemable


# Form, key, signature.


@pytest.mark.parametrize("data", [b"", b"\xd2\x84", b"hello", token()[:-1], token() + b"\0"])
def test_what_is_no_token_is_malformed(data: bytes) -> None:
    found = judge(data)
    assert_refused(found, Verdict.MALFORMED)
    assert found.claims is None


def test_a_checkpoint_is_no_token() -> None:
    record = Checkpoint(TERMINAL, NOW, CHAIN, 7, b"h" * 16, ClockTrust.SYNCED)
    assert_refused(judge(seal_record(record, ED25519, FLEET, TERMINAL)), Verdict.MALFORMED)


def test_an_unknown_key_may_become_known() -> None:
    found = judge(token(OTHER_ED25519))
    assert_refused(found, Verdict.UNKNOWN_KEY)
    assert not found.final
    assert found.claims is None


def test_a_changed_claim_is_a_bad_signature() -> None:
    data = bytearray(token())
    at = data.index(b"c-1")
    data[at + 2] = ord("2")
    found = judge(bytes(data))
    assert_refused(found, Verdict.BAD_SIGNATURE)
    assert found.claims is None


def test_a_forger_with_a_key_of_his_own_under_our_kid_is_a_bad_signature() -> None:
    data = token(OTHER_ED25519).replace(OTHER_ED25519.kid, ED25519.kid)
    assert_refused(judge(data), Verdict.BAD_SIGNATURE)


@pytest.mark.parametrize(("key", "other"), [(ED25519, P256), (P256, ED25519)])
def test_the_algorithm_is_the_keys_and_not_the_tokens(key: Any, other: Any) -> None:
    data = token(other).replace(other.kid, key.kid)
    found = judge(data, record=replace(RECORD, public=key.public))
    assert_refused(found, Verdict.BAD_SIGNATURE)
    assert other.alg.name in found.reason


def test_es256_tokens_are_judged_like_the_others() -> None:
    assert judge(token(P256), record=replace(RECORD, public=P256.public)).verdict is Verdict.FRESH


def test_nobody_makes_a_second_es256_token_of_one_that_he_carries() -> None:
    genuine = token(P256)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other_form = genuine[:-32] + (order - int.from_bytes(genuine[-32:], "big")).to_bytes(32, "big")
    record = replace(RECORD, public=P256.public)
    assert_refused(judge(other_form, record=record), Verdict.BAD_SIGNATURE)
    assert judge(other_form, record=record, seen=lambda _cti: genuine).verdict is Verdict.BAD_SIGNATURE


# Streams.


def test_a_token_moved_to_another_terminals_topic_is_in_the_wrong_stream() -> None:
    moved = judge(token(), terminal="sh-000123-b")
    assert_refused(moved, Verdict.WRONG_STREAM)
    assert "sh/sh-000123-a" in moved.reason
    assert_refused(judge(token(), fleet="other"), Verdict.WRONG_STREAM)


def test_a_forgery_in_another_terminals_topic_is_just_a_forgery() -> None:
    data = bytearray(token())
    data[-1] ^= 1
    assert_refused(judge(bytes(data), terminal="sh-000123-b"), Verdict.BAD_SIGNATURE)


def test_a_terminal_that_publishes_under_a_new_name_with_its_old_key_is_in_the_wrong_stream() -> None:
    data = token(aad=OTHER_STREAM, iss="sh-000123-b")
    found = judge(data, terminal="sh-000123-b")
    assert_refused(found, Verdict.WRONG_STREAM)
    assert "belongs to" in found.reason


def test_iss_is_the_terminal_of_the_topic() -> None:
    assert_refused(judge(token(iss="sh-000123-b")), Verdict.WRONG_STREAM)


def test_a_token_signed_for_another_stream_is_not_ours_although_the_key_is() -> None:
    assert_refused(judge(token(aad=OTHER_STREAM)), Verdict.BAD_SIGNATURE)


@pytest.mark.parametrize(("fleet", "terminal"), [("", TERMINAL), ("SH", TERMINAL), (FLEET, "a/b"), (FLEET, "x" * 25)])
def test_impossible_names_of_a_topic_raise_nothing(fleet: str, terminal: str) -> None:
    assert_refused(judge(token(), fleet=fleet, terminal=terminal), Verdict.WRONG_STREAM)


# Repetition.


def test_the_same_bytes_are_a_duplicate_for_ever() -> None:
    for now in (NOW, NOW + 1000, NOW + 10 * INGEST_WINDOW_S, NOW - 3600):
        assert_refused(judge(token(), now=now, stored=token()), Verdict.DUPLICATE)
    revoked = replace(RECORD, revoked_at=NOW - 5)
    assert_refused(judge(token(), record=revoked, stored=token()), Verdict.DUPLICATE)


def test_other_bytes_under_the_same_cti_are_a_conflict() -> None:
    found = judge(token(), stored=token(up=1))
    assert_refused(found, Verdict.CONFLICT)
    assert found.final
    assert "seq 2" in found.reason


def test_a_forgery_never_counts_as_a_repetition() -> None:
    data = bytearray(token())
    data[-1] ^= 1
    assert judge(bytes(data), stored=token()).verdict is Verdict.BAD_SIGNATURE
    assert judge(token(), terminal="sh-000123-b", stored=token()).verdict is Verdict.WRONG_STREAM


def test_seen_is_asked_by_cti_and_may_be_left_to_the_ledger() -> None:
    asked: list[bytes] = []
    judge(token(), seen=asked.append)
    assert asked == [claims().cti]
    assert judge(token(), seen=None).verdict is Verdict.FRESH


# The key's time.


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"valid_from": NOW + 10}, Verdict.FRESH),  # within the skew
        ({"valid_from": NOW + 11}, Verdict.UNKNOWN_KEY),
        ({"valid_to": NOW + 1}, Verdict.FRESH),
        ({"valid_to": NOW}, Verdict.REVOKED_KEY),
        ({"revoked_at": NOW + 1}, Verdict.FRESH),
        ({"revoked_at": NOW}, Verdict.REVOKED_KEY),
        ({"revoked_at": NOW - 1, "valid_to": NOW + 99}, Verdict.REVOKED_KEY),
    ],
)
def test_the_key_must_be_valid_at_iat(change: dict[str, Any], verdict: Verdict) -> None:
    assert judge(token(), record=replace(RECORD, **change)).verdict is verdict


def test_taps_from_before_the_revocation_stay_evidence() -> None:
    found = judge(token(), record=replace(RECORD, revoked_at=NOW + 50), now=NOW + 1000)
    assert (found.verdict, found.stored) == (Verdict.LATE, True)


def test_with_an_unset_clock_the_key_must_be_valid_now() -> None:
    data = token(clk=ClockTrust.UNSET, iat=5, ttl=0)
    assert judge(data, record=replace(RECORD, valid_from=NOW - 100)).verdict is Verdict.LATE
    # A stolen, revoked key cannot come back to life by a clock of 1970.
    assert judge(data, record=replace(RECORD, revoked_at=NOW - 100)).verdict is Verdict.REVOKED_KEY


def test_a_revoked_key_makes_no_conflicts() -> None:
    found = judge(token(), record=replace(RECORD, revoked_at=NOW), stored=token(up=1))
    assert found.verdict is Verdict.REVOKED_KEY


# Whatever comes.


@given(any_claims(), st.integers(0, 2**32), st.booleans())
def test_what_holds_for_every_judgement(drawn: Claims, now: int, known: bool) -> None:
    data = seal(replace(drawn, iss=TERMINAL), ED25519, AAD)
    found = judge(data, now=now, record=RECORD if known else replace(RECORD, public=P256.public))
    assert found.redeemable <= (found.verdict is Verdict.FRESH)
    assert found.stored <= found.final
    assert (found.verdict in (Verdict.FRESH, Verdict.LATE)) <= found.stored
    assert "\n" not in found.reason
    assert found.reason
    if found.claims:
        said = found.claims
        worthless = said.test or said.clk is ClockTrust.UNSET or not said.iat - 10 <= now <= said.exp + 10
        assert not (found.redeemable and worthless)


@given(st.binary(max_size=260))
def test_no_bytes_raise(data: bytes) -> None:
    assert judge(data).verdict is Verdict.MALFORMED


def test_the_verdicts_are_the_contracts() -> None:
    words = "fresh late expired duplicate conflict bad_signature unknown_key revoked_key wrong_stream clock_suspect"
    assert [verdict.value for verdict in Verdict] == [*words.split(), "malformed"]

"""The explanation: right for every record, useful for broken ones, harmless on a terminal, honest about signatures."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import TokenError
from edge_agent.models import ClockTrust, TapMode
from edge_agent.tokens import cbor
from edge_agent.tokens.chain import Checkpoint, Gap, seal_record
from edge_agent.tokens.inspect import Context, Row, explain, read_input
from edge_agent.tokens.sign1 import envelope_sealer
from edge_agent.tokens.tap_token import Claims, link_hash, seal
from tests.fakes.token_samples import (
    AAD,
    CHAIN,
    ED25519,
    FLEET,
    NOW,
    OTHER_ED25519,
    TERMINAL,
    any_claims,
    token,
)

KNOWN = Context(ED25519.public, FLEET)
CHECKPOINT = Checkpoint(TERMINAL, NOW, CHAIN, 7, b"h" * 16, ClockTrust.SYNCED)
GAP = Gap(TERMINAL, NOW, CHAIN, 3, 9, b"p" * 16, b"h" * 16, "full")


def by_label(rows: list[Row]) -> dict[str, Row]:
    return {row.label: row for row in rows}


def test_a_token_is_explained_in_the_order_of_interest() -> None:
    rows = explain(token(), KNOWN)
    found = by_label(rows)
    assert found["kind"].value == "tap token"
    assert found["kid"].value == ED25519.kid.hex()
    assert found["iss"].value == TERMINAL
    assert "2026-09-21 14:13:20 UTC" in found["iat"].meaning
    assert "redeemable for 90 s" in found["exp"].meaning
    assert found["seq"].value == "2"
    assert found["hash"].value == link_hash(token()).hex()
    assert "0 d 01:18:31" in found["up"].meaning
    assert found["nonce"].value == b"phonenonce".hex()
    assert found["campaign"].value == "c-1"
    assert found["rtt"].value == "21 ms"
    assert rows[-1] == ("signature", "right", f"made by this key for the stream {FLEET}/{TERMINAL}")


def test_the_meaning_follows_the_claims() -> None:
    first = by_label(explain(token(seq=1, prev=bytes(16), test=True, mode=TapMode.TAG_READ)))
    assert "nothing before" in first["prev"].meaning
    assert "ticket" in first["nonce"].meaning
    assert "technician" in first["test"].meaning
    odd = by_label(explain(token(seq=1, clk=ClockTrust.UNSET, ttl=0, mode=TapMode.CARD, nonce=None)))
    assert "should be zeros" in odd["prev"].meaning
    assert "never to be redeemed" in odd["exp"].meaning
    assert "nonce" not in odd


@pytest.mark.parametrize(("record", "labels"), [(CHECKPOINT, "seq head clk"), (GAP, "from to prev hash reason")])
def test_records_are_explained_too(record: Checkpoint | Gap, labels: str) -> None:
    data = seal_record(record, ED25519, FLEET, TERMINAL)
    found = by_label(explain(data, KNOWN))
    assert set(labels.split()) < set(found)
    assert found["signature"].value == "right"
    assert by_label(explain(data, KNOWN._replace(fleet="other")))["signature"].value == "WRONG"


@pytest.mark.parametrize(
    "write",
    [
        lambda data: data,
        lambda data: data.hex().encode(),
        lambda data: b"  0x" + data.hex().upper().encode() + b"\n",
        lambda data: data.hex(" ").encode(),
        lambda data: data.hex(":", 2).encode(),
        lambda data: b"\n".join(data.hex()[at : at + 64].encode() for at in range(0, 2 * len(data), 64)),
        base64.urlsafe_b64encode,
        lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
        base64.b64encode,
    ],
)
def test_bytes_hex_and_base64_are_understood(write: object) -> None:
    assert callable(write)
    assert read_input(write(token())) == token()
    assert explain(write(token())) == explain(token())


@pytest.mark.parametrize(
    ("raw", "why"), [(b"", "nothing to explain"), (b" \n", "nothing"), (b"x" * 5000, "more than 4096")]
)
def test_what_cannot_be_read_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        read_input(raw)
    (row,) = explain(raw)
    assert row.label == "kind"
    assert why in row.meaning


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xd2\x84\x40", "cut off"),
        (token()[:-3], "promised"),
        (token() + b"\0", "follow"),
        (b"hello, world!", "follow"),
        (b"abcde", "neither hex nor base64url"),
    ],
)
def test_what_is_no_envelope_says_where_it_goes_wrong(data: bytes, why: str) -> None:
    rows = explain(data)
    assert why in rows[0].meaning
    assert "right" not in {row.value for row in rows}


def test_an_envelope_with_other_content_says_what_is_missing_for_each_kind() -> None:
    found = explain(envelope_sealer(ED25519, AAD)(cbor.encode({1: TERMINAL})), KNOWN)
    assert found[0].value == "malformed"
    for words in (
        "as tap token: tap is missing",
        "as checkpoint: checkpoint is missing",
        "as gap record: gap is missing",
    ):
        assert words in found[0].meaning
    assert "signature" not in by_label(found)


@pytest.mark.parametrize(
    ("context", "value", "why"),
    [
        (Context(), "not checked", "public key"),
        (Context(public=ED25519.public), "not checked", "fleet"),
        (Context(OTHER_ED25519.public, FLEET), "not checked", "another one"),
        (Context(ED25519.public, "other"), "WRONG", "do not believe"),
        (Context(ED25519.public, FLEET, "sh-000123-b"), "WRONG", "sh-000123-b"),
        (Context(ED25519.public, "NOT/A/NAME"), "not checked", "1-24"),
    ],
)
def test_the_signature_is_called_right_only_when_it_is(context: Context, value: str, why: str) -> None:
    last = explain(token(), context)[-1]
    assert (last.label, last.value) == ("signature", value)
    assert why in last.meaning


def test_a_token_that_names_another_terminal_than_its_stream_is_called_wrong() -> None:
    assert explain(token(iss="sh-000123-b"), KNOWN._replace(terminal=TERMINAL))[-1].value == "WRONG"


def test_a_changed_token_is_called_wrong() -> None:
    data = bytearray(token())
    data[-1] ^= 1
    assert explain(bytes(data), KNOWN)[-1].value == "WRONG"


@given(any_claims())
def test_nothing_of_a_peer_reaches_the_terminal_raw(claims: Claims) -> None:
    data = seal(replace(claims, campaign="\x1b[2J\u202e\n"), ED25519, AAD)
    for row in explain(data):
        for text in row:
            assert text.isprintable()


@given(st.binary(max_size=300))
def test_no_bytes_raise_and_all_text_is_printable(raw: bytes) -> None:
    rows = explain(raw)
    assert rows
    assert all(text.isprintable() for row in rows for text in row)

"""The tap token: round trip, limits, every changed byte, and an independent CWT library on both sides."""

import base64
from dataclasses import replace
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cwt import COSE, COSEHeaders, COSEKey, VerifyError
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import TokenError
from edge_agent.models import FIRST_PREV, ChainPosition, ClockReading, ClockTrust, Tap, TapMode
from edge_agent.tokens import cbor
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import (
    MAX_TOKEN_BYTES,
    Claims,
    claims_for,
    link_hash,
    make_sealer,
    parse,
    seal,
    stream_aad,
)
from tests.fakes.token_samples import (
    AAD,
    CHAIN,
    CLAIMS,
    ED25519,
    FLEET,
    NOW,
    OTHER_ED25519,
    P256,
    POSITION,
    TERMINAL,
    any_claims,
    claims,
    names,
    tap,
    token,
)

BOTH = pytest.mark.parametrize("key", [ED25519, P256], ids=["ed25519", "p256"])


def accepts(data: bytes, key: PrivateKey = ED25519, aad: bytes = AAD) -> bool:
    try:
        return parse(data).verified_by(key.public, aad)
    except TokenError:
        return False


@BOTH
@given(claims=any_claims(), fleet=names, terminal=names)
def test_what_is_sealed_reads_back_and_verifies(key: PrivateKey, claims: Claims, fleet: str, terminal: str) -> None:
    aad = stream_aad(fleet, terminal)
    sealed = seal(claims, key, aad)
    parsed = parse(sealed)
    assert parsed.claims == claims
    assert (parsed.kid, parsed.alg) == (key.kid, key.alg)
    assert parsed.verified_by(key.public, aad)
    assert key.public.verify(parsed.signature, parsed.to_be_signed(aad))
    assert len(sealed) <= MAX_TOKEN_BYTES
    assert not parsed.verified_by(key.public, aad + b"x")
    assert not parsed.verified_by(OTHER_ED25519.public, aad)


def test_the_largest_token_fits_one_short_apdu() -> None:
    largest = claims(
        iss="x" * 24, iat=2**32 - 200, ttl=120, nonce=b"n" * 16, campaign="c" * 16, sub=b"s" * 12,
        rtt=65535, wtx=255, test=True, up=2**32 - 1,
    )  # fmt: skip
    assert len(seal(largest, ED25519, AAD)) == 246


@BOTH
def test_every_changed_byte_is_refused(key: PrivateKey) -> None:
    whole = token(key)
    assert accepts(whole, key)
    for at in range(len(whole)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[at] ^= flip
            assert not accepts(bytes(changed), key), f"byte {at} ^ {flip:02x}"


@pytest.mark.parametrize("key", [ED25519], ids=["ed25519"])
def test_every_cut_and_every_added_byte_is_refused(key: PrivateKey) -> None:
    whole = token(key)
    for size in range(len(whole)):
        assert not accepts(whole[:size], key)
    assert not accepts(whole + b"\x00", key)
    assert not accepts(b"\xd2" + whole, key)
    assert not accepts(whole[1:], key)


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_raise_token_error(data: bytes) -> None:
    try:
        parse(data)
    except TokenError as exc:
        verdict = exc.verdict
    else:
        verdict = "well-formed"
    assert verdict in ("malformed", "well-formed")


@settings(max_examples=300)
@given(st.integers(0, 160), st.binary(min_size=1, max_size=4), st.integers(0, 4))
def test_a_signed_but_spoiled_payload_parses_or_raises_token_error(at: int, put: bytes, cut: int) -> None:
    payload = parse(token()).envelope.payload
    at = min(at, len(payload))
    assert_parses_or_refuses(envelope(payload[:at] + put + payload[at + cut :]))


def assert_parses_or_refuses(data: bytes) -> None:
    try:
        parsed = parse(data)
    except TokenError:
        return
    assert seal(parsed.claims, ED25519, AAD)


def test_the_algorithm_is_pinned_to_the_key() -> None:
    parsed = parse(token(P256))
    renamed = replace(parsed.envelope, alg=ED25519.alg)
    assert parsed.verified_by(P256.public, AAD)
    assert not renamed.verified_by(P256.public, AAD)


# What the map must look like, one claim at a time: signed properly, so that only the claim is wrong.


def payload_map() -> dict[Any, Any]:
    value = cbor.decode(parse(token()).envelope.payload, 248)
    assert isinstance(value, dict)
    return value


def envelope(payload: bytes, *, header: Any = None, unprotected: Any = None) -> bytes:
    protected = cbor2.dumps({1: -8, 4: ED25519.kid} if header is None else header)
    to_sign = cbor2.dumps(["Signature1", protected, AAD, payload])
    parts = [protected, {} if unprotected is None else unprotected, payload, ED25519.sign(to_sign)]
    return cbor2.dumps(cbor2.CBORTag(18, parts))


def test_the_hand_made_envelope_is_ours() -> None:
    assert envelope(cbor.encode(payload_map())) == token()


TAP = -65537


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (1, ""), (1, "x" * 25), (1, "Upper"), (1, "a b"), (1, "ä"), (1, b"bytes"), (1, 7), (1, "tail\n"), (1, None),
        (4, NOW + 121), (4, NOW - 1), (4, str(NOW)), (4, True), (4, -5), (4, None),
        (6, -1), (6, 2**32), (6, None), (6, True),
        (7, CHAIN), (7, bytes(17)), (7, CHAIN + bytes(8)), (7, "x" * 16), (7, None),
        (10, b"short"), (10, bytes(17)), (10, "nonce-as-text"), (10, None), (10, True),
        (TAP, None), (TAP, []), (TAP, {}),
    ],
)  # fmt: skip
def test_a_wrong_claim_is_malformed(claim: int, value: object) -> None:
    wrong = payload_map()
    if value is None:
        del wrong[claim]
    else:
        wrong[claim] = value
    with pytest.raises(TokenError) as caught:
        parse(envelope(cbor.encode(wrong)))
    assert caught.value.verdict == "malformed"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        (1, bytes(15)), (1, bytes(17)), (1, None), (1, "p" * 16),
        (2, 0), (2, 4), (2, True), (2, None),
        (3, 3), (3, -1), (3, None), (3, False),
        (3, 0),  # with exp > iat
        (4, bytes(7)), (4, bytes(9)), (4, None),
        (5, -1), (5, 2**32), (5, None),
        (6, ""), (6, "x" * 17), (6, "ä" * 9), (6, b"c-1"),
        (7, bytes(7)), (7, bytes(13)), (7, "pseudonym"),
        (8, 65536), (8, -1), (8, True),
        (9, 256), (9, -1),
        (10, False), (10, 1),
    ],
)  # fmt: skip
def test_a_wrong_tap_claim_is_malformed(claim: int, value: object) -> None:
    wrong = payload_map()
    inner = wrong[TAP]
    if value is None:
        del inner[claim]
    else:
        inner[claim] = value
    with pytest.raises(TokenError):
        parse(envelope(cbor.encode(wrong)))


def test_nonce_and_mode_go_together() -> None:
    assert parse(token(mode=TapMode.CARD, nonce=None)).claims.nonce is None
    for mode, nonce in ((TapMode.CARD, b"12345678"), (TapMode.PHONE_APP, None), (TapMode.TAG_READ, None)):
        with pytest.raises(TokenError, match="eat_nonce"):
            token(mode=mode, nonce=nonce)


def test_unknown_claims_are_ignored_and_stay_signed() -> None:
    more = payload_map()
    inner = more[TAP]
    inner[11] = ["later", {1: None}]
    more[-70000] = True
    more["x"] = b"y"
    data = envelope(cbor.encode(more))
    assert parse(data).claims == CLAIMS
    assert accepts(data)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {1: -8},
        {4: ED25519.kid},
        {1: -8, 4: ED25519.kid, 3: 0},
        {1: -8, 2: [99], 4: ED25519.kid, 99: 0},
        {1: -35, 4: ED25519.kid},
        {1: "EdDSA", 4: ED25519.kid},
        {1: True, 4: ED25519.kid},
        {1: -8, 4: ED25519.kid[:7]},
        {1: -8, 4: "12345678"},
        {4: ED25519.kid, 1: -8},
        [1, -8],
    ],
)
def test_other_protected_headers_are_refused(header: object) -> None:
    with pytest.raises(TokenError):
        parse(envelope(cbor.encode(payload_map()), header=header))


@pytest.mark.parametrize("unprotected", [{4: b"12345678"}, {"x": 1}, [], 0, False])
def test_the_unprotected_header_is_empty(unprotected: object) -> None:
    with pytest.raises(TokenError, match="unprotected"):
        parse(envelope(cbor.encode(payload_map()), unprotected=unprotected))


@pytest.mark.parametrize("spoil", ["no tag", "array of 3", "text payload", "short signature", "nil payload"])
def test_other_envelopes_are_refused(spoil: str) -> None:
    parts = cbor2.loads(token()).value
    spoiled: dict[str, object] = {
        "no tag": parts,
        "array of 3": cbor2.CBORTag(18, parts[:3]),
        "text payload": cbor2.CBORTag(18, [parts[0], {}, "text", parts[3]]),
        "short signature": cbor2.CBORTag(18, [*parts[:3], parts[3][:63]]),
        "nil payload": cbor2.CBORTag(18, [parts[0], {}, None, parts[3]]),
    }
    with pytest.raises(TokenError):
        parse(cbor2.dumps(spoiled[spoil]))


def test_a_payload_that_is_not_deterministic_is_refused_although_it_is_signed() -> None:
    canonical = cbor.encode(payload_map())
    unordered = dict(reversed(payload_map().items()))
    assert cbor2.loads(cbor2.dumps(unordered)) == cbor2.loads(canonical)
    with pytest.raises(TokenError, match="order"):
        parse(envelope(cbor2.dumps(unordered)))
    with pytest.raises(TokenError, match="indefinite"):
        parse(envelope(b"\xbf" + canonical[1:] + b"\xff"))
    with pytest.raises(TokenError, match="shortest"):
        parse(envelope(b"\xb8\x06" + canonical[1:]))


def test_a_token_of_249_bytes_is_refused() -> None:
    more = payload_map()
    for size in range(160):
        more["x"] = bytes(size)
        data = envelope(cbor.encode(more))
        if len(data) > MAX_TOKEN_BYTES:
            assert len(data) == 249
            with pytest.raises(TokenError, match="at most 248"):
                parse(data)
            return
        assert accepts(data)


# The tap's way into claims.


def test_a_tap_becomes_claims() -> None:
    assert claims_for(tap(), POSITION, TERMINAL) == CLAIMS


def test_an_unset_clock_makes_evidence_only() -> None:
    unset = replace(tap(), at=ClockReading(unix=5, trust=ClockTrust.UNSET, boot=b"bootbyte", up=3))
    made = claims_for(unset, POSITION, TERMINAL)
    assert made.exp == made.iat == 5


def test_risk_scores_saturate_instead_of_losing_the_tap() -> None:
    made = claims_for(tap(rtt_ms=70_000, wtx=300), POSITION, TERMINAL)
    assert (made.rtt, made.wtx) == (65535, 255)
    none = claims_for(tap(rtt_ms=None, wtx=None), POSITION, TERMINAL)
    assert (none.rtt, none.wtx) == (None, None)


def test_the_sealer_is_seal_with_constants_computed_before() -> None:
    sealer = make_sealer(ED25519, FLEET, TERMINAL)
    assert sealer(tap(), POSITION) == token()


def test_a_chain_of_tokens_links_by_hash() -> None:
    sealer = make_sealer(ED25519, FLEET, TERMINAL)
    prev = FIRST_PREV
    for seq in range(1, 5):
        sealed = sealer(tap(), ChainPosition(CHAIN, seq, prev))
        assert parse(sealed).claims.prev == prev
        assert (parse(sealed).claims.chain, parse(sealed).claims.seq) == (CHAIN, seq)
        prev = link_hash(sealed)
        assert len(prev) == 16


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": b"short"},
        {"nonce": "text-nonce"},
        {"sub": bytes(13)},
        {"mode": TapMode.CARD},
        {"rtt_ms": -1},
        {"sub": 1.5},
    ],
)
def test_facts_that_make_no_valid_token_are_never_signed(wrong: dict[str, object]) -> None:
    with pytest.raises(TokenError):
        make_sealer(ED25519, FLEET, TERMINAL)(tap(**wrong), POSITION)


@pytest.mark.parametrize("ttl", [121, -1])
def test_a_ttl_beyond_the_contract_is_never_signed(ttl: int) -> None:
    sealer = make_sealer(ED25519, FLEET, TERMINAL)
    with pytest.raises(TokenError, match="exp"):
        sealer(Tap(facts=tap().facts, at=tap().at, ttl=ttl), POSITION)


def test_a_campaign_that_is_no_utf_8_is_never_signed() -> None:
    with pytest.raises(TokenError, match="cannot be encoded"):
        token(campaign="\ud800")


@pytest.mark.parametrize(
    ("fleet", "terminal"), [("", "a"), ("a", ""), ("a/b", "c"), ("a", "+"), ("A", "b"), ("a", "b\n")]
)
def test_stream_names_are_topic_levels(fleet: str, terminal: str) -> None:
    with pytest.raises(TokenError, match="is not 1-24"):
        stream_aad(fleet, terminal)


# The other side, by a library that we did not write.


@BOTH
@given(claims=any_claims())
@settings(max_examples=25)
def test_cwt_verifies_what_we_seal(key: PrivateKey, claims: Claims) -> None:
    theirs = COSEKey.from_bytes(key.public.cose_key())
    payload = COSE.new().decode(seal(claims, key, AAD), theirs, external_aad=AAD)
    assert cbor2.loads(payload)[7] == claims.cti


@BOTH
def test_cwt_refuses_our_token_in_another_stream(key: PrivateKey) -> None:
    theirs = COSEKey.from_bytes(key.public.cose_key())
    with pytest.raises(VerifyError):
        COSE.new().decode(token(key), theirs, external_aad=stream_aad(FLEET, "sh-000123-b"))


@BOTH
def test_we_accept_what_cwt_seals(key: PrivateKey) -> None:
    jwk = key.public.jwk()
    private = {**jwk, "d": private_part(key)}
    theirs = COSEKey.from_jwk(private)
    payload = cbor.encode(payload_map())
    made = COSE.new(alg_auto_inclusion=False).encode_and_sign(
        payload, theirs, {COSEHeaders.ALG: int(key.alg), COSEHeaders.KID: key.kid}, {}, external_aad=AAD
    )
    parsed = parse(made if key is ED25519 else with_small_s(made))
    assert parsed.claims == CLAIMS
    assert parsed.verified_by(key.public, AAD)


def with_small_s(token: bytes) -> bytes:
    """What a signer whose library knows both forms of an ES256 signature must do with it."""
    s = int.from_bytes(token[-32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return token[:-32] + min(s, order - s).to_bytes(32, "big")


def private_part(key: PrivateKey) -> str:
    inner = key._key
    raw = (
        inner.private_numbers().private_value.to_bytes(32, "big")
        if isinstance(inner, ec.EllipticCurvePrivateKey)
        else inner.private_bytes_raw()
    )
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

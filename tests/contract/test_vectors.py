"""The vectors, read back from the files: our verifier and an independent CWT library agree on every one of them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError

from edge_agent.cloud.keyset import KeySet
from edge_agent.cloud.verifier import Verdict, verify
from edge_agent.contract import stream_cases, token_cases
from edge_agent.models import FIRST_PREV
from edge_agent.tokens.chain import ChainWalk, Checkpoint, Gap, parse_checkpoint, parse_gap
from edge_agent.tokens.keys import PrivateKey, PublicKey
from edge_agent.tokens.tap_token import MAX_TOKEN_BYTES, link_hash, parse
from edge_agent.uplink.wire import decode_batch

FOLDER = Path(__file__).parents[2] / "config/contract/vectors"
KEYS = json.loads((FOLDER / "keys.json").read_text())
TOKENS = json.loads((FOLDER / "tokens.json").read_text())["cases"]
STREAMS = json.loads((FOLDER / "streams.json").read_text())

REGISTRY = KeySet.from_json(
    json.dumps({"version": 1, "keys": [key["registry"] for key in KEYS["keys"] if key["registry"]]})
)
EACH_TOKEN = pytest.mark.parametrize("case", TOKENS, ids=[case["name"] for case in TOKENS])


@pytest.mark.parametrize("key", KEYS["keys"], ids=[key["name"] for key in KEYS["keys"]])
def test_keys_are_what_follows_from_their_private_part(key: dict[str, Any]) -> None:
    raw = bytes.fromhex(key["private_hex"])
    if key["alg"] == "EdDSA":
        made = PrivateKey.from_ed25519_seed(raw)
    else:
        made = PrivateKey.from_p256_scalar(int.from_bytes(raw, "big"))
    assert made.kid.hex() == key["kid"] == key["thumbprint"][:16]
    assert made.public == PublicKey.from_cose(bytes.fromhex(key["public_cose_hex"]))
    assert made.public.jwk() == key["public_jwk"]
    required = {
        label: value
        for label, value in cbor2.loads(bytes.fromhex(key["public_cose_hex"])).items()
        if label not in (2, 3)
    }
    assert hashlib.sha256(cbor2.dumps(required, canonical=True)).hexdigest() == key["thumbprint"]


def test_the_keys_are_marked_as_test_only() -> None:
    assert "TEST KEYS ONLY" in KEYS["warning"]


@EACH_TOKEN
def test_our_verifier_gives_the_verdict(case: dict[str, Any]) -> None:
    stored = bytes.fromhex(case["stored_hex"]) if "stored_hex" in case else None
    found = verify(
        bytes.fromhex(case["token_hex"]),
        fleet=case["fleet"],
        terminal=case["terminal"],
        now=case["now"],
        keys=REGISTRY.lookup,
        seen=lambda _: stored,
    )
    assert found.verdict.value == case["verdict"], found.reason
    assert (found.stored, found.redeemable, found.final) == (case["stored"], case["redeemable"], case["final"])
    assert ("claims" in case) == (found.claims is not None)


def genuine(token: bytes, fleet: str, terminal: str) -> bool:
    """Whether cwt finds the signature right, for the registered key and the stream of the topic."""
    kid = cbor2.loads(cbor2.loads(token).value[0])[4]
    entry = next(entry for entry in REGISTRY.entries if entry.kid == kid.hex())
    key = COSEKey.from_bytes(bytes.fromhex(entry.public_cose_hex))
    try:
        COSE.new().decode(token, key, external_aad=f"tap/v1/{fleet}/{terminal}".encode())
    except (CWTError, ValueError):
        return False
    return True


@EACH_TOKEN
def test_an_independent_library_agrees_on_the_signature(case: dict[str, Any]) -> None:
    token = bytes.fromhex(case["token_hex"])
    if case["verdict"] == "malformed" or case["name"] == "key-not-registered":
        return
    for_topic = genuine(token, case["fleet"], case["terminal"])
    if case["name"] == "es256-signature-in-its-other-form":
        assert for_topic, "right for ES256: it is the contract that refuses it"
    elif case["verdict"] == "bad_signature":
        assert not for_topic
    elif case["verdict"] == "wrong_stream":
        assert for_topic or genuine(token, case["fleet"], "sh-000123-a")
    else:
        assert for_topic


@EACH_TOKEN
def test_an_independent_decoder_reads_the_same_claims(case: dict[str, Any]) -> None:
    if "claims" not in case:
        return
    claims = cbor2.loads(cbor2.loads(bytes.fromhex(case["token_hex"])).value[2])
    numbers = {"iss": 1, "exp": 4, "iat": 6, "cti": 7, "nonce": 10}
    inner = {
        "prev": 1,
        "mode": 2,
        "clk": 3,
        "boot": 4,
        "up": 5,
        "campaign": 6,
        "sub": 7,
        "rtt": 8,
        "wtx": 9,
        "test": 10,
    }
    for name, value in case["claims"].items():
        theirs = claims[numbers[name]] if name in numbers else claims[-65537][inner[name]]
        assert (theirs.hex() if isinstance(theirs, bytes) else theirs) == value, name
    known = set(numbers.values()) & set(claims) | {("tap", key) for key in set(inner.values()) & set(claims[-65537])}
    assert len(known) == len(case["claims"])


def test_every_verdict_has_a_vector() -> None:
    assert {case["verdict"] for case in TOKENS} == {verdict.value for verdict in Verdict}
    assert len({case["name"] for case in TOKENS}) == len(TOKENS)


def test_malformed_vectors_differ_in_more_than_their_name() -> None:
    bodies = [case["token_hex"] for case in TOKENS if case["verdict"] == "malformed"]
    assert len(set(bodies)) == len(bodies)


def test_the_byte_by_byte_builder_makes_the_sealers_token() -> None:
    assert token_cases.built() == token_cases.sealed()


def test_the_size_limit_is_tested_on_both_sides() -> None:
    sizes = {case["name"]: len(case["token_hex"]) // 2 for case in TOKENS}
    assert sizes["249-bytes"] == MAX_TOKEN_BYTES + 1
    assert max(size for name, size in sizes.items() if name != "249-bytes") <= MAX_TOKEN_BYTES


# Streams.


def test_the_chain_links_up() -> None:
    tokens = [bytes.fromhex(text) for text in STREAMS["tokens_hex"]]
    prev = FIRST_PREV
    for seq, (token, link) in enumerate(zip(tokens, STREAMS["links_hex"], strict=True), 1):
        assert parse(token).claims.prev == prev
        assert parse(token).claims.seq == seq
        assert genuine(token, STREAMS["fleet"], STREAMS["terminal"])
        prev = hashlib.sha256(token).digest()[:16]
        assert prev.hex() == link


@pytest.mark.parametrize("stream", STREAMS["streams"], ids=[stream["name"] for stream in STREAMS["streams"]])
def test_a_walk_over_the_arrivals_finds_what_the_vector_says(stream: dict[str, Any]) -> None:
    tokens = [bytes.fromhex(text) for text in STREAMS["tokens_hex"]]
    if "replaced" in stream["name"]:
        tokens[3] = bytes.fromhex(STREAMS["fourth_replaced_hex"])
    walk = ChainWalk()
    for arrival in stream["arrivals"]:
        if arrival in ("gap", "unknown gap"):
            gap = parse_gap(bytes.fromhex(STREAMS[arrival.replace(" ", "_") + "_hex"])).record
            assert isinstance(gap, Gap)
            walk.gap(gap)
        elif arrival == "checkpoint":
            head = parse_checkpoint(bytes.fromhex(STREAMS["checkpoint_hex"])).record
            assert isinstance(head, Checkpoint)
            walk.checkpoint(head)
        else:
            token = tokens[int(arrival.split()[1]) - 1]
            walk.token(parse(token).claims.seq, parse(token).claims.prev, link_hash(token))
    assert walk.through == stream["through"]
    assert [list(hole) for hole in walk.holes()] == stream["holes"]
    assert sorted(walk.breaks) == stream["breaks"]


@pytest.mark.parametrize(("name", "suffix", "claim"), [("checkpoint", "/chk", -65538), ("gap", "/gap", -65539)])
def test_records_are_signed_for_their_own_kind(name: str, suffix: str, claim: int) -> None:
    data = bytes.fromhex(STREAMS[f"{name}_hex"])
    assert genuine(data, STREAMS["fleet"], STREAMS["terminal"] + suffix)
    assert not genuine(data, STREAMS["fleet"], STREAMS["terminal"])
    payload = cbor2.loads(cbor2.loads(data).value[2])
    expected = list(STREAMS[name].values())
    found = [payload[1], payload[6], *payload[claim].values()]
    assert [value.hex() if isinstance(value, bytes) else value for value in found] == expected


def test_the_batch_holds_the_first_three_tokens() -> None:
    assert [token.hex() for token in decode_batch(bytes.fromhex(STREAMS["batch_hex"]))] == STREAMS["tokens_hex"][:3]


def test_the_generator_stands_for_its_own_findings() -> None:
    assert stream_cases.walked(stream_cases.chain(), ["token 2"]) == {"through": 0, "holes": [[1, 1]], "breaks": []}

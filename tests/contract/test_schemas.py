"""The JSON Schemas: valid themselves, true for what the agent writes, false for what its readers refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_agent.cloud.verifier import Verdict
from edge_agent.contract import payload_cases, schemas
from edge_agent.show_command import ShowArgs
from edge_agent.strict_json import load_object
from edge_agent.uplink import wire
from edge_agent.uplink.resend import ResendArgs

FOLDER = Path(__file__).parents[2] / "config/contract"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text())
    for path in sorted((FOLDER / "schemas").glob("*.json"))
}
PAYLOADS = json.loads((FOLDER / "vectors/payloads.json").read_text())

DECODERS: dict[str, Callable[[bytes], object]] = {
    "ack": wire.Ack.decode,
    "result": wire.Result.decode,
    "state": wire.State.decode,
    "alarm": wire.Alarm.decode,
    "health": wire.Health.decode,
    "command": lambda payload: wire.Command.decode("cmd/resend", payload),
    "response": wire.Response.decode,
    "resend-args": lambda payload: ResendArgs.decode(load_object(payload, max_bytes=1000)),
    "show-args": lambda payload: ShowArgs.decode(load_object(payload, max_bytes=1000)),
}


def valid(name: str, value: Any) -> bool:
    return Draft202012Validator(SCHEMAS[name]).is_valid(value)


def test_every_schema_is_one_and_is_named() -> None:
    assert set(SCHEMAS) == set(schemas.all_schemas())
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert schema["title"] == name
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in PAYLOADS["valid"].items() for value in values]
)
def test_valid_payloads_are_valid_for_schema_and_reader(name: str, value: Any) -> None:
    Draft202012Validator(SCHEMAS[name]).validate(value)
    if name in DECODERS:
        DECODERS[name](json.dumps(value).encode())


def test_the_valid_payloads_are_what_the_agent_writes() -> None:
    for name, payloads in payload_cases.written().items():
        assert [json.loads(payload) for payload in payloads] == PAYLOADS["valid"][name]
    assert set(DECODERS) == set(payload_cases.written()) == set(PAYLOADS["refused_texts"])


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in PAYLOADS["refused_texts"].items() for text in texts]
)
def test_refused_texts_are_refused_by_schema_and_reader(name: str, text: str) -> None:
    assert not valid(name, json.loads(text))
    with pytest.raises(wire.WireError):
        DECODERS[name](text.encode())


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_member_is_needed_and_typed(name: str) -> None:
    for value in PAYLOADS["valid"].get(name, []):
        for member in SCHEMAS[name]["required"]:
            assert not valid(name, {key: inner for key, inner in value.items() if key != member})
            assert not valid(name, {**value, member: None})


@pytest.mark.parametrize("name", sorted(set(SCHEMAS) - {"key-registry"}))
def test_unknown_members_are_allowed(name: str) -> None:
    for value in PAYLOADS["valid"].get(name, []):
        assert valid(name, {**value, "x-new": [1]})


lines = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)


@given(st.binary(min_size=8, max_size=8), st.lists(st.integers(1, 10**6), max_size=128, unique=True))
def test_any_ack_is_valid(chain: bytes, ends: list[int]) -> None:
    ordered = sorted(ends)
    missing = tuple(zip(ordered[::2], ordered[1::2], strict=False))
    ack = wire.Ack(chain, 10**6, missing)
    assert valid("ack", json.loads(ack.encode()))


@given(st.binary(min_size=16, max_size=16), st.none() | lines, st.none() | st.integers(0, 10**9))
def test_any_result_is_valid(cti: bytes, text: str | None, amount: int | None) -> None:
    assert valid("result", json.loads(wire.Result(cti, "rewarded", text, amount).encode()))


@given(lines, st.dictionaries(lines, st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_any_health_and_alarm_is_valid(text: str, figures: dict[str, float]) -> None:
    assert valid("health", json.loads(wire.Health(1, 2, {"part": text}, figures).encode()))
    assert valid("alarm", json.loads(wire.Alarm("code", text, 1, dict(figures)).encode()))


def test_the_demo_summary_of_the_documentation_is_valid() -> None:
    spread = {"p50": 1.2, "p99": 3}
    steps = ("seen_to_reading_cue", "seen_to_committed", "seen_to_puback", "seen_to_stored")
    summary = {"taps": 5, "stored": 5, "verdicts": {"fresh": 5}, "latency_ms": dict.fromkeys(steps, spread)}
    assert valid("demo-summary", summary)
    assert not valid("demo-summary", {**summary, "verdicts": {"good": 5}})
    assert not valid("demo-summary", {**summary, "latency_ms": {}})


def test_the_words_of_the_schemas_are_those_of_the_code() -> None:
    assert list(schemas.VERDICTS) == [verdict.value for verdict in Verdict]
    assert SCHEMAS["state"]["properties"]["state"]["enum"] == [word.value for word in wire.StateWord]
    assert SCHEMAS["response"]["properties"]["status"]["enum"] == [word.value for word in wire.ResponseStatus]


def test_a_private_jwk_is_not_a_public_key() -> None:
    (shown,) = PAYLOADS["valid"]["keys-show"]
    assert not valid("keys-show", {**shown, "public_jwk": {**shown["public_jwk"], "d": "x"}})

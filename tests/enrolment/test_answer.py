"""The answer's form: both ways of bringing it, its bounds, and what must never be in it."""

import base64
import json
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_agent.enrolment.answer import LINE_PREFIX, MAX_BYTES, Answer, Refusal, parse_answer
from edge_agent.strict_json import WireError
from tests.fakes.enrolment_site import CA

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "config/contract/schemas/enrol-answer.schema.json").read_text())
)
PEM = CA.issue_cert("t@example.org", common_name="t").cert_chain_pems[0].bytes().decode()
ONE = Answer(
    bytes(8),
    "sh-000123-a",
    "sh",
    PEM,
    CA.cert_pem.bytes().decode(),
    "broker.example.net",
    8883,
    (bytes(8), b"12345678"),
)
NO = Refusal(bytes(8), "not_expected", "terminal sh-000123-a is not on the list")


def packed(data: bytes) -> bytes:
    return LINE_PREFIX.encode() + base64.urlsafe_b64encode(zlib.compress(data)).rstrip(b"=")


def test_both_forms_come_back_as_they_went_and_fit_the_schema() -> None:
    for answer in (ONE, replace(ONE, host="2001:db8::1"), replace(ONE, host="192.0.2.7", tap_kids=())):
        assert parse_answer(answer.to_json()) == answer
        assert parse_answer(answer.to_line().encode()) == answer
        SCHEMA.validate(json.loads(answer.to_json()))
    assert parse_answer(NO.to_json()) == NO
    SCHEMA.validate(json.loads(NO.to_json()))


def test_a_pasted_line_may_be_folded_by_a_terminal() -> None:
    line = ONE.to_line()
    folded = "\r\n".join(line[start : start + 76] for start in range(0, len(line), 76))
    assert parse_answer(f"\n {folded} \n".encode()) == ONE


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("format", "x", "format"),
        ("id", "0" * 15, "id is not 8 bytes"),
        ("terminal", "Sh", "terminal is not"),
        ("fleet", "a/b", "fleet is not"),
        ("host", "-x", "no host name"),
        ("host", "a b", "no host name"),
        ("host", "broker.example.net/../x", "no host name"),
        ("host", "a..b", "no host name"),
        ("host", "x\n[keys]", "control characters"),
        ("port", 0, "port is out of range"),
        ("port", 65536, "port is out of range"),
        ("port", "8883", "port is not of type"),
        ("certificate", "", "certificate is no PEM"),
        ("certificate", 3, "certificate is no PEM"),
        ("ca", "x" * 13_000, "ca is no PEM"),
        ("ca", "é", "ca is no PEM"),
        ("certificate", "-----BEGIN EC PRIVATE KEY-----", "holds a private key"),
        ("tap_kids", ["00"], "tap_kids is not 8 bytes"),
        ("tap_kids", [1], "tap_kids is not of type"),
        ("tap_kids", ["00" * 8] * 17, "at most 16"),
        ("refused", "Two words", "refused is no word"),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, value: Any, why: str) -> None:
    changed = {**json.loads(ONE.to_json()), name: value}
    with pytest.raises(WireError, match=why):
        parse_answer(json.dumps(changed).encode())


@pytest.mark.parametrize("cut", range(9, len(ONE.to_line()), 97))
def test_a_line_that_lost_its_end_is_refused(cut: int) -> None:
    with pytest.raises(WireError):
        parse_answer(ONE.to_line()[:cut].encode())


def test_a_bomb_is_not_unpacked() -> None:
    bomb = packed(b" " * 20_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match=f"at most {MAX_BYTES}"):
            parse_answer(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_follows_the_answer_is_not_overlooked() -> None:
    twice = base64.urlsafe_b64encode(zlib.compress(ONE.to_json()) + b"more").rstrip(b"=")
    with pytest.raises(WireError, match="something follows"):
        parse_answer(LINE_PREFIX.encode() + twice)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(packed) | st.text(max_size=99).map(lambda t: t.encode()))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_answer(data)


@given(st.integers(0, 9999), st.integers(1, 255))
def test_a_flipped_bit_of_the_line_never_gives_another_answer(place: int, flip: int) -> None:
    changed = bytearray(ONE.to_line().encode())
    changed[place % len(changed)] ^= flip
    try:
        found = parse_answer(bytes(changed))
    except WireError:
        return
    assert found == ONE  # spare bits of base64, or a blank

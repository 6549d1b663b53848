"""The request in both its forms: what goes in comes out, and nothing that was changed comes through."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_agent.enrolment.request import Request, parse_request
from edge_agent.enrolment.x509 import TlsKey, parse_signing_request
from edge_agent.strict_json import WireError
from edge_agent.tokens.keys import PrivateKey

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "config/contract/schemas/enrol-request.schema.json").read_text())
)
KEY, OLD = PrivateKey.from_ed25519_seed(bytes(range(32))), PrivateKey.from_ed25519_seed(bytes(range(1, 33)))


def made(terminal: str = "sh-000123-a", fleet: str = "sh", serial: str = "10000000abcdef01") -> Request:
    csr = TlsKey.generate().request(terminal, fleet)
    return Request(bytes(8), terminal, fleet, serial, 1_800_000_000, csr, KEY.public, b"").proven(KEY.sign)


ONE = made()
HEIR = made().endorsed(OLD.kid, OLD.sign)


@pytest.mark.parametrize("request_", [ONE, HEIR, made("a" * 24, "b" * 24, "")])
def test_both_forms_come_back_as_they_went(request_: Request) -> None:
    assert parse_request(request_.to_json()) == request_
    assert parse_request(request_.to_line().encode()) == request_
    SCHEMA.validate(json.loads(request_.to_json()))


def test_the_line_survives_a_chat_that_folds_and_lowers_it() -> None:
    line = ONE.to_line()
    folded = "\n  ".join(line[start : start + 40] for start in range(0, len(line), 40)).lower()
    assert parse_request(f"  {folded}\r\n".encode()) == ONE


def test_the_line_is_of_the_letters_that_a_qr_code_packs_best_and_is_short() -> None:
    assert set(ONE.to_line()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:")
    assert len(ONE.to_line()) <= 667  # version 14: 73 modules, with its margin 77 columns
    assert len(made("a" * 24, "b" * 24, "0123456789abcde1").to_line()) <= 758


def test_openssl_would_read_the_csr_out_of_the_json() -> None:
    der = base64.b64decode(json.loads(ONE.to_json())["csr"])
    assert parse_signing_request(der).terminal == "sh-000123-a"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("format", "tap-enrol-request/2", "format"),
        ("id", "00", "id is not 8 bytes"),
        ("id", "0000000000000001", "proof is not by"),
        ("terminal", "sh-000124-a", "another terminal"),
        ("terminal", "A", "another terminal"),
        ("fleet", "gz", "another terminal or fleet"),
        ("serial", "20000000abcdef01", "proof is not by"),
        ("serial", "a\nb", "control characters"),
        ("created", 1, "proof is not by"),
        ("created", True, "created is not of type"),
        ("csr", "AAAA", "no complete PKCS#10"),
        ("csr", "not base64", "not base64"),
        ("proof", "00" * 64, "proof is not by"),
        ("tap_key", {"kid": "00" * 8, "public_cose_hex": OLD.public.cose_key().hex()}, "kid is not the key's"),
        ("tap_key", {"kid": OLD.kid.hex(), "public_cose_hex": OLD.public.cose_key().hex()}, "proof is not by"),
    ],
)
def test_whatever_is_changed_is_refused(name: str, value: Any, why: str) -> None:
    changed = {**json.loads(ONE.to_json()), name: value}
    with pytest.raises(WireError, match=why):
        parse_request(json.dumps(changed).encode())


def test_a_copy_under_another_name_needs_the_keys() -> None:
    """A cloned request: the same CSR cannot be made to say another terminal."""
    other = made("sh-000999-a")
    stolen = {**json.loads(other.to_json()), "csr": json.loads(ONE.to_json())["csr"], "terminal": "sh-000123-a"}
    with pytest.raises(WireError, match="proof is not by"):
        parse_request(json.dumps(stolen).encode())


@given(st.integers(0, 5000), st.integers(1, 255))
def test_a_flipped_bit_is_refused_in_both_forms(place: int, flip: int) -> None:
    for form in (HEIR.to_json(), HEIR.to_line().encode()):
        changed = bytearray(form)
        changed[place % len(changed)] ^= flip
        try:
            found = parse_request(bytes(changed))
        except WireError:
            continue
        # Case and blanks of the line, and the vouching, which the fleet judges.
        assert (found.csr, found.tap_key, found.proof) == (HEIR.csr, HEIR.tap_key, HEIR.proof)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"TAPREQ1:{text}".encode()))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_request(data)


def test_what_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="at most 4096"):
        parse_request(b"{" * 5000)
    with pytest.raises(WireError, match="at most 2048"):
        parse_request(b"TAPREQ1:" + b"A" * 3000)

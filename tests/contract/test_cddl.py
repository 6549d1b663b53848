"""The CDDL: complete by itself, and, with a CDDL library at hand, true for every vector."""

import json
import re
from pathlib import Path

import pytest

from edge_agent.tokens import tap_token

FOLDER = Path(__file__).parents[2] / "config/contract"
TEXT = (FOLDER / "tap-token.cddl").read_text()
TOKENS = json.loads((FOLDER / "vectors/tokens.json").read_text())["cases"]
STREAMS = json.loads((FOLDER / "vectors/streams.json").read_text())

# What CDDL cannot express: determinism, size, and rules across claims. Everything else it must refuse too.
BEYOND_CDDL = {
    "a-checkpoint",  # another rule of the same file
    "249-bytes",
    "protected-header-out-of-order",
    "map-of-indefinite-length",
    "map-keys-out-of-order",
    "map-count-not-shortest",
    "integer-not-shortest",
    "undefined-in-an-unknown-claim",
    "nine-levels",
    "exp-121-seconds-after-iat",
    "exp-before-iat",
    "seq-0",
    "mode-1-without-nonce",
    "mode-3-with-nonce",
    "clock-unset-and-exp-after-iat",
}
PRELUDE = {"bstr", "tstr", "int", "any", "true"}


def rules() -> dict[str, str]:
    """Return rule bodies by name, comments and strings removed."""
    bare = re.sub(r";.*", "", re.sub(r'"[^"]*"', "", TEXT))
    parts = re.split(r"^([a-z][a-z-]*)\s+=(?!>)", bare, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_name_is_defined_and_every_rule_is_used() -> None:
    defined = rules()
    used = set()
    for body in defined.values():
        without_members = re.sub(r"[a-z-]+:(?= )", "", body)
        used |= set(re.findall(r"(?<![.\w-])[a-z][a-z-]*", without_members))
    assert used - PRELUDE <= set(defined)
    assert set(defined) - used == {"contract", "tap-batch"}


def test_every_claim_of_the_code_is_in_the_cddl() -> None:
    defined = rules()
    for rule, names in (("tap-claims", tap_token.CLAIM_NAMES), ("tap", tap_token.TAP_NAMES)):
        keys = {int(key) for key in re.findall(r"^\s*(?:\? )?(-?\d+):", defined[rule], re.MULTILINE)}
        assert keys == set(names)


def test_brackets_are_balanced() -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert TEXT.count(opening) == TEXT.count(closing)


def test_a_cddl_library_accepts_what_is_well_formed_and_refuses_what_cddl_can_express() -> None:
    library = pytest.importorskip("cddl_verifier", reason="pip install cddl-verifier")
    assert library.schema_diagnostics(TEXT) == ()
    validator = library.Validator(TEXT)

    def accepts(data: bytes, rule: str) -> bool:
        try:
            return bool(validator.validate(data, root_type=rule).valid)
        except (library.CBORDecodeError, ValueError):
            return False

    for case in TOKENS:
        accepted = accepts(
            bytes.fromhex(case["token_hex"]), "tap-token" if case["name"] != "a-checkpoint" else "contract"
        )
        well_formed = case["verdict"] != "malformed" or case["name"] in BEYOND_CDDL
        assert accepted == well_formed, case["name"]
    assert accepts(bytes.fromhex(STREAMS["checkpoint_hex"]), "checkpoint")
    assert accepts(bytes.fromhex(STREAMS["gap_hex"]), "gap-record")
    assert not accepts(bytes.fromhex(STREAMS["gap_hex"]), "checkpoint")

import ast
import hashlib
import hmac
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_agent
from edge_agent.readers.base import RawUid
from edge_agent.readers.pseudonym import KEY_LIFE_S, Pseudonyms

UID = RawUid(bytes.fromhex("04A1B2C3D4E5F6"))


def test_is_the_hmac_of_the_uid_cut_to_the_claims_size() -> None:
    pseudonyms = Pseudonyms(entropy=lambda size: b"k" * size)
    assert pseudonyms.of(UID, 0.0) == hmac.digest(b"k" * 32, UID.reveal(), hashlib.sha256)[:12]


def test_same_card_same_day_same_pseudonym() -> None:
    pseudonyms = Pseudonyms()
    first = pseudonyms.of(UID, 1000.0)
    assert pseudonyms.of(UID, 1000.0 + KEY_LIFE_S - 1) == first
    assert pseudonyms.of(RawUid(b"\x04" * 7), 1000.0) != first


def test_next_day_and_next_process_cannot_be_linked() -> None:
    pseudonyms = Pseudonyms()
    first = pseudonyms.of(UID, 1000.0)
    assert pseudonyms.of(UID, 1000.0 + KEY_LIFE_S) != first
    assert Pseudonyms().of(UID, 1000.0) != first


def test_key_life_counts_from_the_key_not_from_the_last_card() -> None:
    pseudonyms = Pseudonyms(life_s=10)
    first = pseudonyms.of(UID, 0.0)
    assert pseudonyms.of(UID, 9.0) == first
    assert pseudonyms.of(UID, 18.0) != first


@pytest.mark.parametrize("uid", ["08123456", ""])
def test_a_random_or_absent_uid_names_nobody(uid: str) -> None:
    assert Pseudonyms().of(RawUid(bytes.fromhex(uid)), 0.0) is None


def test_a_long_uid_that_starts_with_08_is_a_real_one() -> None:
    assert Pseudonyms().of(RawUid(bytes.fromhex("08123456789ABC")), 0.0) is not None


@given(st.binary(min_size=4, max_size=10))
def test_the_uid_never_shows_in_its_pseudonym_or_text(uid: bytes) -> None:
    raw = RawUid(uid)
    pseudonym = Pseudonyms(entropy=lambda size: b"k" * size).of(raw, 0.0)
    assert pseudonym is None or uid not in pseudonym
    assert uid.hex() not in f"{raw!r} {raw}"
    with pytest.raises(TypeError):
        pickle.dumps(raw)


def test_no_other_module_reveals_a_uid() -> None:
    package = Path(edge_agent.__file__).parent
    callers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert callers == {"readers/pseudonym.py"}

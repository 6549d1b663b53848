"""The key registry: whole or not at all, one line for each problem, atomic on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cloud.keyset import KeyEntry, KeySet, entry_from_show
from edge_agent.errors import ConfigError
from edge_agent.tokens.keys import PrivateKey
from tests.fakes.token_samples import ED25519, FLEET, OTHER_ED25519, P256, TERMINAL


def entry(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "kid": ED25519.kid.hex(),
        "alg": "EdDSA",
        "public_cose_hex": ED25519.public.cose_key().hex(),
        "fleet": FLEET,
        "terminal": TERMINAL,
        "valid_from": 100,
        "valid_to": None,
        "revoked_at": 900,
    }
    return {**made, **changes}


def registry(*entries: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"version": 1, "keys": list(entries), **changes})


def test_a_key_is_found_by_its_kid() -> None:
    keys = KeySet.from_json(registry(entry()))
    record = keys.lookup(ED25519.kid)
    assert record is not None
    assert record.public == ED25519.public
    assert (record.fleet, record.terminal) == (FLEET, TERMINAL)
    assert (record.valid_from, record.valid_to, record.revoked_at) == (100, None, 900)
    assert keys.lookup(P256.kid) is None
    assert len(keys) == 1


def test_times_may_be_left_out() -> None:
    bare = {name: value for name, value in entry().items() if name not in {"valid_from", "valid_to", "revoked_at"}}
    record = KeySet.from_json(registry(bare)).lookup(ED25519.kid)
    assert record is not None
    assert (record.valid_from, record.valid_to, record.revoked_at) == (0, None, None)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["JSON"]),
        ("[]", ["object"]),
        (registry(version=2), ["version: "]),
        (registry(more=1), ["more: "]),
        (registry(entry(more=1)), ["keys.0.more: "]),
        (registry(entry(kid="00" * 8)), [f"keys.0: kid: the key's thumbprint begins with {ED25519.kid.hex()}"]),
        (registry(entry(kid="zz" * 8)), ["keys.0.kid: "]),
        (registry(entry(kid=ED25519.kid.hex().upper())), ["keys.0.kid: hex must be lowercase"]),
        (registry(entry(alg="ES256")), ["keys.0: alg: the key is for EdDSA"]),
        (registry(entry(alg="none")), ["keys.0.alg: "]),
        (registry(entry(public_cose_hex="a0")), ["keys.0: public_cose_hex: the COSE_Key is neither"]),
        (registry(entry(public_cose_hex="zz")), ["keys.0.public_cose_hex: "]),
        (registry(entry(fleet="A")), ["keys.0.fleet: "]),
        (registry(entry(terminal="a\n")), ["keys.0.terminal: "]),
        (registry(entry(valid_from="1")), ["keys.0.valid_from: "]),
        (registry(entry(valid_from=True)), ["keys.0.valid_from: "]),
        (registry(entry(valid_to=100)), ["keys.0: valid_to: must be later"]),
        (registry(entry(), entry()), [f"keys: {ED25519.kid.hex()} is registered twice"]),
        (registry(entry(fleet="A"), entry(terminal="")), ["keys.0.fleet: ", "keys.1.terminal: "]),
    ],
)
def test_each_problem_has_one_line(text: str, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        KeySet.from_json(text, "keys.json")
    assert len(caught.value.problems) == len(lines)
    for problem, line in zip(caught.value.problems, lines, strict=True):
        assert problem.startswith("keys.json: ")
        assert line in problem
        assert "\n" not in problem


def test_a_private_key_given_by_mistake_is_not_quoted() -> None:
    pem = ED25519.pkcs8_pem()
    with pytest.raises(ConfigError) as caught:
        KeySet.from_json(pem)
    assert pem.splitlines()[1].decode() not in str(caught.value)


def test_what_keys_show_printed_becomes_an_entry() -> None:
    for key, alg in ((ED25519, "EdDSA"), (P256, "ES256")):
        shown = {
            "kid": key.kid.hex(),
            "alg": alg,
            "public_jwk": key.public.jwk(),
            "public_cose_hex": key.public.cose_key().hex(),
        }
        made = entry_from_show(shown, fleet=FLEET, terminal=TERMINAL, valid_from=5)
        assert made.record().public == key.public
        assert made.valid_from == 5


@pytest.mark.parametrize("key", [ED25519, P256])
def test_an_entry_is_what_keys_show_prints_and_a_place(key: PrivateKey) -> None:
    printed = {**key.public.registration(), "fleet": FLEET, "terminal": TERMINAL}
    keys = KeySet.from_json(registry(printed))
    assert keys.lookup(key.kid) is not None
    assert "jwk" not in keys.to_json(), "one form of a key is enough to keep"
    other = {**printed, "public_jwk": OTHER_ED25519.public.jwk()}
    with pytest.raises(ConfigError, match="public_jwk: is another key than public_cose_hex"):
        KeySet.from_json(registry(other))


def test_what_keys_show_did_not_print_is_named() -> None:
    with pytest.raises(ConfigError, match=r"keys show: kid: .*\n.*alg: .*\n.*public_cose_hex: "):
        entry_from_show({}, fleet=FLEET, terminal=TERMINAL)


def test_a_registry_survives_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeySet().save(path)
    keys = KeySet.load(path).with_entry(KeyEntry.model_validate(entry()))
    keys.save(path)
    again = KeySet.load(path)
    assert again.entries == keys.entries
    revoked = again.with_entry(KeyEntry.model_validate(entry(revoked_at=5)))
    assert len(revoked) == 1
    record = revoked.lookup(ED25519.kid)
    assert record is not None
    assert record.revoked_at == 5
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    KeySet().save(path)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        KeySet([KeyEntry.model_validate(entry())]).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["keys.json"]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        KeySet.load(tmp_path / "keys.json")


def test_two_keys_of_one_terminal_live_side_by_side() -> None:
    other = entry(kid=OTHER_ED25519.kid.hex(), public_cose_hex=OTHER_ED25519.public.cose_key().hex())
    assert len(KeySet.from_json(registry(entry(), other))) == 2

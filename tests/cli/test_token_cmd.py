import io
import json
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.models import ChainPosition, ClockReading, ClockTrust, Tap, TapFacts, TapMode
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import make_sealer

KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))


@pytest.fixture
def token() -> bytes:
    tap = Tap(
        facts=TapFacts(TapMode.PHONE_APP, "nfc0", nonce=b"nonce678"),
        at=ClockReading(1_790_000_000, ClockTrust.SYNCED, b"bootbyte", 100),
        ttl=90,
    )
    return make_sealer(KEY, "f", "t-1")(tap, ChainPosition(b"chain678", 1))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(KEY.public.registration()))
    return path


class Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_explains_a_file_in_80_columns(tmp_path: Path, token: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_bytes(token)
    assert main(["token", "inspect", str(file)]) == 0
    out = capsys.readouterr().out
    assert "t-1" in out
    assert "not checked" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_reads_hex_from_standard_input_and_checks_the_signature(
    token: bytes, key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fleet, status, verdict in (("f", 0, "right"), ("other", 1, "WRONG")):
        monkeypatch.setattr("sys.stdin", Stdin(token.hex().encode()))
        words = ["token", "inspect", "-", "--json", "--key", str(key_file), "--fleet", fleet]
        assert main(words) == status
        assert json.loads(capsys.readouterr().out)[-1]["value"] == verdict


@pytest.mark.parametrize("data", [b"", b"abcdef", b"\xd2\x84junk", b"x" * 10_000])
def test_what_is_no_token_is_explained_too(
    data: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(data))
    assert main(["token", "inspect", "-"]) == 1
    assert capsys.readouterr().out.startswith("kind")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"public_cose_hex": "zz"}', '{"public_cose_hex": "a0"}'])
def test_what_cannot_be_read_ends_with_3(
    tmp_path: Path, content: str, token: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "inspect", str(tmp_path / "none")]) == 3
    file, key = tmp_path / "token", tmp_path / "key"
    file.write_bytes(token)
    key.write_text(content)
    assert main(["token", "inspect", str(file), "--key", str(key)]) == 3
    assert "edge-agent keys show --json" in capsys.readouterr().err

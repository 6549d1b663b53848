import errno
import json
import os
import stat
import tempfile
from pathlib import Path

import pytest

from edge_agent.cli.main import main
from edge_agent.tokens.keyring import load_key_file
from edge_agent.tokens.keys import PublicKey


def test_init_makes_a_private_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "keys" / "tap.key"
    assert main(["keys", "init", "--path", str(path)]) == 0
    out = capsys.readouterr().out
    assert load_key_file(path).kid.hex() in out
    assert "PRIVATE" not in out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert main(["keys", "init", "--path", str(path)]) == 78
    assert "never overwritten" in capsys.readouterr().err
    assert main(["keys", "init", "--if-missing", "--path", str(path)]) == 0
    assert path.read_bytes() == before


def test_init_if_missing_refuses_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "tap.key"
    path.write_text("torn")
    path.chmod(0o600)
    assert main(["keys", "init", "--if-missing", "--path", str(path)]) == 78
    assert path.read_text() == "torn"


def test_init_if_missing_in_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "private" / "tap.key"

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)  # the superuser that runs the tests may look anywhere
    monkeypatch.setattr("os.open", refuse)
    assert main(["keys", "init", "--if-missing", "--path", str(path)]) == 78
    assert f"may not read {path}" in capsys.readouterr().err


def test_init_if_missing_refuses_a_dangling_link(tmp_path: Path) -> None:
    path = tmp_path / "tap.key"
    path.symlink_to(tmp_path / "gone")
    assert main(["keys", "init", "--if-missing", "--path", str(path)]) == 78


def test_show_json_is_exactly_what_the_cloud_registers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tap.key"
    config = tmp_path / "agent.toml"
    config.write_text(f'[terminal]\nid="t"\nfleet="f"\n[uplink]\nhost="localhost"\n[keys]\npath="{path}"\n')
    assert main(["keys", "init", "--json", "--config", str(config)]) == 0
    made = capsys.readouterr().out
    assert main(["keys", "show", "--json", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert shown == made
    values = json.loads(shown)
    assert list(values) == ["kid", "alg", "public_jwk", "public_cose_hex"]
    public = PublicKey.from_cose(bytes.fromhex(values["public_cose_hex"]))
    assert public == load_key_file(path).public
    assert values["kid"] == public.kid.hex()
    assert values["public_jwk"] == public.jwk()
    assert values["alg"] == "EdDSA"


def test_show_without_a_key_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "show", "--path", str(tmp_path / "none")]) == 78
    message, remedy = capsys.readouterr().err.splitlines()
    assert "none" in message
    assert remedy.startswith("  ")


@pytest.mark.usefixtures("as_root")  # what `sudo` does, only root can try
def test_under_sudo_the_key_is_the_agents_whose_folder_it_is_in(capsys: pytest.CaptureFixture[str]) -> None:
    agent = 12_345
    with tempfile.TemporaryDirectory() as state:  # no other user gets into the folders of pytest
        os.chown(state, agent, agent)
        path = Path(state) / "keys" / "tap.key"
        assert main(["keys", "init", "--path", str(path)]) == 0
        assert [one.stat().st_uid for one in (path, path.parent)] == [agent, agent]
        capsys.readouterr()
        for words in (["show"], ["init", "--if-missing"]):
            assert main(["keys", *words, "--path", str(path)]) == 0, "root may look, and is not told to take it over"
    assert capsys.readouterr().err == ""
    assert os.geteuid() == 0

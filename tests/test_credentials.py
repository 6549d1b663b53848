"""Secrets that systemd hands over: found by name, guarded by their folder; the real thing is in tests/nspawn."""

from pathlib import Path

import pytest

from edge_agent.credentials import is_credential, located
from edge_agent.errors import ConfigError, KeyFileError
from edge_agent.password import read_password
from edge_agent.tokens.keyring import create_key_file, load_key_file

KEY = Path("credential:tap-key")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$CREDENTIALS_DIRECTORY of this process."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_path_is_itself() -> None:
    assert located(Path("/etc/x")) == Path("/etc/x")


def test_a_credential_is_found_by_its_name_and_the_decrypted_one_comes_first(folder: Path) -> None:
    (folder / "edge-agent.tap-key").write_text("plain")
    assert located(KEY) == folder / "edge-agent.tap-key"
    (folder / "edge-agent.tap-key.cred").write_text("decrypted")
    assert located(KEY) == folder / "edge-agent.tap-key.cred"


def test_outside_of_the_service_the_credentials_of_the_service_are_meant() -> None:
    with pytest.raises(ConfigError, match=r"not in /run/credentials/edge-agent\.service") as caught:
        located(KEY, {})
    assert "/etc/credstore/edge-agent.tap-key" in str(caught.value), "it says where to put one"
    assert "/etc/credstore.encrypted/edge-agent.tap-key.cred" in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc/shadow", "a/b", "-x", "x" * 65, "naïve", "a\nb"])
def test_a_name_that_systemd_cannot_have_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name"):
        located(Path(f"credential:{name}"))


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_the_signing_key_may_be_a_credential_whose_access_list_shows_as_a_group(folder: Path, mode: int) -> None:
    made = create_key_file(folder / "edge-agent.tap-key")
    (folder / "edge-agent.tap-key").chmod(mode)
    assert load_key_file(KEY).public == made.public


def test_the_same_file_elsewhere_must_be_private(folder: Path) -> None:
    elsewhere = folder / "else"
    create_key_file(elsewhere / "tap.key")
    (elsewhere / "tap.key").chmod(0o440)
    with pytest.raises(KeyFileError, match="mode 0440"):
        load_key_file(elsewhere / "tap.key")
    assert not is_credential(elsewhere / "tap.key")


def test_no_key_is_made_where_systemd_would_take_it_away_again(folder: Path) -> None:
    with pytest.raises(KeyFileError, match="comes from systemd") as caught:
        create_key_file(KEY)
    assert "systemd-creds encrypt FILE /etc/credstore.encrypted/edge-agent.tap-key.cred" in caught.value.remedy
    assert list(folder.iterdir()) == []


def test_the_password_may_be_a_credential(tmp_path: Path) -> None:
    (tmp_path / "edge-agent.mqtt-password").write_text("geheim\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read_password(Path("credential:mqtt-password"), env) == "geheim"
    with pytest.raises(ConfigError, match="not in"):
        read_password(Path("credential:other"), env)

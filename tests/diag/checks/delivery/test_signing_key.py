from pathlib import Path

import pytest

from edge_agent.diag.checks.delivery.signing_key import CHECK
from edge_agent.diag.finding import Finding, Seen
from edge_agent.tokens.keyring import create_key_file
from tests.diag.checks.delivery.site import STATUS, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 'host = "localhost"')


def test_a_good_key_is_told_by_its_thumbprint_alone(place: Place) -> None:
    key = create_key_file(place.folder / "tap.key")
    (seen,) = place.look(CHECK)
    assert isinstance(seen, Seen)
    assert seen.text == f"{key.kid.hex()} in {place.folder / 'tap.key'}"


def test_a_missing_a_torn_and_an_open_one_are_told(place: Place) -> None:
    path = place.folder / "tap.key"
    assert place.kinds(CHECK) == ["signing-key-unusable"]
    create_key_file(path)
    secret = path.read_text().splitlines()[1]
    path.chmod(0o644)
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "signing-key-unusable"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:50])
    (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.kind.id == "signing-key-unusable"
    assert secret[:20] not in one.text


def test_another_one_than_the_agent_signs_with_is_told(place: Place) -> None:
    key = create_key_file(place.folder / "tap.key")
    with place.agent():
        assert place.kinds(CHECK) == ["signing-key-changed"]
    with place.agent(status=STATUS | {"kid": key.kid.hex()}):
        assert place.kinds(CHECK) == []


def test_a_credential_that_the_service_lacks_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, 'host = "localhost"')
    text = place.config.read_text()
    place.config.write_text(text.replace(f"{tmp_path}/tap.key", "credential:tap-key"))
    with place.agent():
        assert place.kinds(CHECK) == ["signing-key-unusable"]

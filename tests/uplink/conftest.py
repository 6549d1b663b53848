"""What the tests of the uplink share: brokers and certificates."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.certificates import Certificates, make_certificates
from tests.fakes.mosquitto import Mosquitto


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def heard_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last word has time for its PUBACK, where half a second passes sooner than it comes: else the will speaks."""
    monkeypatch.setattr("edge_agent.uplink.connection.LAST_WORD_S", 30.0)


@pytest.fixture
def broker(require_system: Callable[[str], str], tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path) as mosquitto:
        yield mosquitto


@pytest.fixture
def tls_broker(require_system: Callable[[str], str], tmp_path: Path, certificates: Certificates) -> Iterator[Mosquitto]:
    with Mosquitto(require_system("mosquitto"), tmp_path, tls=certificates) as mosquitto:
        yield mosquitto

"""What every test shares: the way to ask for a system part, and how hypothesis runs."""

import logging
import os
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.system_parts import PARTS

# A shared or slow machine must not turn a property into a timing test; CI replays the same examples.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def skip_or_fail(text: str) -> NoReturn:
    """What this machine lacks for a test: a skip that says so, a failure under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


def require_system(name: str) -> str:
    """Absolute path of a system part; skip with a how-to where it is missing, fail under CI=true."""
    part = PARTS[name]
    found = part.find()
    if found is not None:
        return found
    skip_or_fail(f"no {name} on this machine; to run this test: {part.how_to}")


@pytest.fixture(name="require_system")
def _require_system() -> Callable[[str], str]:
    """The same as a fixture: `def test_x(require_system): broker = require_system("mosquitto")`."""
    return require_system


@pytest.fixture(name="as_root")
def _as_root() -> None:
    """For what only root can bring about."""
    if os.geteuid() != 0:
        skip_or_fail("only root can run this test")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Undo what `run` or a test configured of the logs: the next test would hear less, or nothing."""
    root, nfc = logging.getLogger(), logging.getLogger("nfc")
    handlers, level, nfc_level = list(root.handlers), root.level, nfc.level
    yield
    if structlog.is_configured():
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(level)
        nfc.setLevel(nfc_level)
        structlog.reset_defaults()

"""The C reference, built once for all its tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_system
from tests.fakes.mcu_reference import Firmware, Harness, build_harness, emulated_firmware, host_firmware, make


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mcu")


@pytest.fixture(scope="session")
def harness(build: Path) -> Iterator[Harness]:
    running = Harness(build_harness(build))
    yield running
    running.close()


@pytest.fixture(scope="session")
def host_program(build: Path) -> Path:
    require_system("gcc")
    make(build, "host", "SANITIZE=1")
    return build / "tap_screen_posix"


@pytest.fixture(scope="session")
def arm_image(build: Path) -> Path:
    require_system("arm-none-eabi-gcc")
    make(build, "arm")
    return build / "tap_screen_lm3s6965.elf"


@pytest.fixture(params=["process", "cortex-m3"])
def firmware(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firmware]:
    if request.param == "process":
        with host_firmware(request.getfixturevalue("host_program"), tmp_path / "screen") as running:
            yield running
    else:
        with emulated_firmware(request.getfixturevalue("arm_image")) as running:
            yield running

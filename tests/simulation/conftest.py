"""A plugged-in emulator and the hosts above it."""

from collections.abc import Iterator

import nfc.clf
import pytest
from nfc.clf import pn532

from edge_agent.simulation.pn532_line import Pn532Emulator
from tests.fakes.pn532_host import RawHost, open_driver, patient_library


@pytest.fixture
def emulator() -> Iterator[Pn532Emulator]:
    with Pn532Emulator() as running:
        yield running


@pytest.fixture
def host(emulator: Pn532Emulator) -> Iterator[RawHost]:
    raw = RawHost(emulator.device_path)
    yield raw
    raw.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library waits for an emulator whose thread gets no time; for chips that answer."""
    patient_library(monkeypatch)


@pytest.fixture
def frontend(
    emulator: Pn532Emulator, monkeypatch: pytest.MonkeyPatch, patient: None
) -> Iterator[nfc.clf.ContactlessFrontend]:
    # The baud rate has its own tests; without stty(1) every other one opens faster.
    monkeypatch.setattr(pn532.os, "system", lambda _command: 1)
    opened = open_driver(emulator.device_path)
    yield opened
    if opened.device is not None:
        opened.close()

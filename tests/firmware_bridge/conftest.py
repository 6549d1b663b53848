"""What makes a stall of a loaded machine a slow test of a screen, and no other test."""

import pytest

from firmware_bridge.cues import HOLD_S

LONG_S = 60.0


@pytest.fixture
def patient_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not give its line up after three seconds in which nothing on this machine went on."""
    monkeypatch.setattr("firmware_bridge.protocol.SILENCE_S", LONG_S)


@pytest.fixture
def patient_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks and replays that wait longer for an answer that is missing: none of ours is, but it may be late."""
    monkeypatch.setattr("firmware_bridge.conformance.talk.PATIENCE_S", LONG_S)
    monkeypatch.setattr("firmware_bridge.replay.ANSWER_WITHIN_S", LONG_S)
    monkeypatch.setattr("firmware_bridge.replay.SILENCE_S", LONG_S)


@pytest.fixture
def long_cues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers to a tap that stay until the test says another: what looks at them may come late."""
    monkeypatch.setattr("firmware_bridge.cues.HOLD_S", dict.fromkeys(HOLD_S, LONG_S))

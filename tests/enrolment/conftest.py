"""Without the waiting of fsync(2), which is a second on a busy disk: what is durable is modelled in test_power_cut."""

import os

import pytest


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)

from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.reader_health import CHECK
from edge_agent.diag.finding import CannotLook, NotHere
from edge_agent.diag.site import AGENT_DOWN
from tests.fakes.device_site import DeviceSite, found, ids

READER = '[[readers]]\nname = "nfc0"\ndriver = "simulated"\n'


def site(folder: Path, uptime_s: float = 3600.0, **counts: object) -> DeviceSite:
    return DeviceSite(folder, READER, {"uptime_s": uptime_s, "readers": [{"name": "nfc0", **counts}]})


@pytest.mark.parametrize(
    ("counts", "kinds"),
    [
        ({"taps": 100, "lost": 5, "reopens": 2}, []),
        ({"taps": 70, "lost": 30, "reopens": 0}, ["reader-loses-phones"]),
        ({"taps": 1, "lost": 9, "reopens": 0}, []),  # too few to tell
        ({"taps": 0, "lost": 0, "reopens": 3}, ["reader-unsteady"]),
        ({}, []),
        ({"taps": "many", "reopens": True}, []),
    ],
)
def test_counts_are_judged(tmp_path: Path, counts: dict[str, object], kinds: list[str]) -> None:
    assert ids(CHECK.look, site(tmp_path, **counts)) == kinds


def test_a_few_reopenings_in_days_are_no_trouble(tmp_path: Path) -> None:
    assert ids(CHECK.look, site(tmp_path, uptime_s=7 * 86400, reopens=20)) == []


def test_what_the_reader_said_last_is_told_without_control_characters(tmp_path: Path) -> None:
    ((_, subject, text),) = found(CHECK.look, site(tmp_path, reopens=9, last_error="gone\x1b[2J"))
    assert subject == "nfc0"
    assert "opened again 9 times" in text
    assert "\x1b" not in text


def test_only_the_agent_knows(tmp_path: Path) -> None:
    with pytest.raises(CannotLook) as lost:
        list(CHECK.look(DeviceSite(tmp_path, READER)))
    assert lost.value.because == AGENT_DOWN
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))

from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.screen_health import CHECK
from edge_agent.diag.finding import CannotLook, NotHere, Seen
from tests.fakes.device_site import DeviceSite, ids

SCREEN = '[[screens]]\ndriver = "simulated"\n'


@pytest.mark.parametrize(
    ("facts", "kinds"),
    [
        ({"faults": 0, "temperature_c": 41, "tampers": 0, "resets": 0, "opened": 1}, []),
        ({"faults": 3}, ["screen-faulty"]),
        ({"temperature_c": 70}, ["screen-hot"]),
        ({"tampers": 1}, ["screen-tampered"]),
        ({"resets": 2, "opened": 2}, ["screen-unsteady"]),
        (
            {"faults": 1, "temperature_c": 90, "tampers": 2, "resets": 9},
            ["screen-faulty", "screen-hot", "screen-tampered", "screen-unsteady"],
        ),
        ({"faults": None, "temperature_c": None}, []),
    ],
)
def test_what_a_screen_says_of_itself_is_judged(tmp_path: Path, facts: dict[str, object], kinds: list[str]) -> None:
    site = DeviceSite(tmp_path, SCREEN, {"uptime_s": 600.0, "screens": [{"name": "simulated0", **facts}]})
    assert ids(CHECK.look, site) == kinds


def test_one_that_is_well_is_told_with_its_temperature(tmp_path: Path) -> None:
    status = {"uptime_s": 9.0, "screens": [{"name": "simulated0", "faults": 0, "temperature_c": 41}]}
    assert list(CHECK.look(DeviceSite(tmp_path, SCREEN, status))) == [Seen("41 degrees C, no fault bits", "simulated0")]


def test_only_the_agent_knows(tmp_path: Path) -> None:
    with pytest.raises(CannotLook):
        list(CHECK.look(DeviceSite(tmp_path, SCREEN)))
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, '[[screens]]\ndriver = "web"\n')))

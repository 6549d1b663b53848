from pathlib import Path

import pytest

from edge_agent.diag.checks.devices.tag import CHECK
from edge_agent.diag.finding import CannotLook, NotHere, Seen
from edge_agent.errors import ControlError
from tests.fakes.device_site import DeviceSite, found, ids

TAG = '[[tags]]\nname = "tag0"\ndriver = "ntag_i2c"\nbus = "{bus}"\n'


def site(folder: Path, **told: object) -> DeviceSite:
    (folder / "i2c-1").touch()
    return DeviceSite(folder, TAG.format(bus=folder / "i2c-1"), {"tags": [{"name": "tag0", **told}]})


def test_a_chip_that_shows_tickets_is_well(tmp_path: Path) -> None:
    assert list(CHECK.look(site(tmp_path, state="showing", chip="NT3H2111"))) == [Seen("NT3H2111", "tag0")]


def test_a_bus_that_is_not_there_is_told_whether_the_agent_runs_or_not(tmp_path: Path) -> None:
    assert ids(CHECK.look, DeviceSite(tmp_path, TAG.format(bus="/dev/i2c-77"))) == ["tag-bus-missing"]


def test_a_chip_that_the_agent_lost_is_missing(tmp_path: Path) -> None:
    lost = site(tmp_path, state="lost", last_error="no tag chip answers\x1b")
    ((kind, subject, text),) = found(CHECK.look, lost)
    assert (kind, subject) == ("tag-missing", "tag0")
    assert "\x1b" not in text


def test_one_that_comes_and_goes_is_unsteady(tmp_path: Path) -> None:
    assert ids(CHECK.look, site(tmp_path, state="showing", reopens=3)) == ["tag-unsteady"]


def test_without_an_agent_the_bus_is_opened(tmp_path: Path) -> None:
    (tmp_path / "i2c-1").touch()
    ((kind, _, text),) = found(CHECK.look, DeviceSite(tmp_path, TAG.format(bus=tmp_path / "i2c-1")))
    assert kind == "tag-missing"
    assert text


def test_a_terminal_without_tags_has_nothing_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(NotHere):
        list(CHECK.look(DeviceSite(tmp_path, "")))


def test_the_bus_of_an_agent_that_does_not_answer_is_left_alone(tmp_path: Path) -> None:
    class Silent(DeviceSite):
        def ask(self, request: dict[str, object], timeout_s: float = 0.0) -> dict[str, object]:
            raise ControlError("no answer in time")

    (tmp_path / "i2c-1").touch()
    with pytest.raises(CannotLook, match="no answer in time"):
        list(CHECK.look(Silent(tmp_path, TAG.format(bus=tmp_path / "i2c-1"))))

from pathlib import Path
from typing import Any

import pytest

from edge_agent.diag.checks.delivery.skew import CHECK
from edge_agent.diag.finding import CannotLook, Finding, NotHere
from tests.diag.checks.delivery.site import CONNECTED, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 'host = "localhost"')


@pytest.mark.parametrize(
    ("ahead", "kinds"),
    [
        ([-1, 1], []),
        ([-9, 60], []),  # a slow line: nothing is known for sure
        ([5, 7], []),
        ([6, 8], ["clock-skewed"]),
        ([-8, -6], ["clock-skewed"]),
        ([90, 92], ["clock-skewed"]),
        ([91, 93], ["clock-far-off"]),
        ([-3600, -3598], ["clock-far-off"]),
    ],
)
def test_only_what_is_sure_is_told(place: Place, ahead: list[int], kinds: list[str]) -> None:
    with place.agent(round_trip=CONNECTED | {"ahead_s": ahead}):
        assert place.kinds(CHECK) == kinds


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        ([30, 32], "30 s ahead of this one"),
        ([-900, -800], "13 min behind this one"),
        ([9000, 9001], "2 h ahead of this one"),
        ([-(10**6), -(10**6)], "11 days behind this one"),
    ],
)
def test_how_much_and_which_way_is_told(place: Place, ahead: list[int], text: str) -> None:
    with place.agent(round_trip=CONNECTED | {"ahead_s": ahead}):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert text in one.text


@pytest.mark.parametrize("answer", [{"ahead_s": None}, {"ahead_s": None, "ack_ms": None}])
def test_a_receiver_that_tells_no_time_is_nothing_to_look_at(place: Place, answer: dict[str, Any]) -> None:
    with place.agent(round_trip=CONNECTED | answer), pytest.raises(NotHere):
        place.look(CHECK)


def test_without_a_connection_it_cannot_look(place: Place) -> None:
    with place.agent(round_trip=CONNECTED | {"up": False, "reason": "dns"}), pytest.raises(CannotLook) as lost:
        place.look(CHECK)
    assert lost.value.because == "uplink-down"

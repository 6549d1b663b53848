from pathlib import Path
from typing import Any

import pytest

from edge_agent.diag.checks.delivery.round_trip import CHECK
from edge_agent.diag.finding import CannotLook, Finding, Seen
from tests.diag.checks.delivery.site import CONNECTED, STATUS, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 'host = "localhost"')


def test_both_that_answer_are_well(place: Place) -> None:
    with place.agent():
        assert place.look(CHECK) == [Seen("PUBACK after 3 ms, the receiver's ack after 9 ms")]


@pytest.mark.parametrize(
    ("answer", "sent", "kinds"),
    [
        ({"puback_ms": None, "ack_ms": None}, 0, ["broker-swallows"]),
        ({"puback_ms": 2500.0}, 0, ["broker-slow"]),
        ({"ack_ms": None}, 0, ["receiver-unheard"]),
        ({"ack_ms": None}, 3, ["receiver-silent"]),
        ({"puback_ms": 2500.0, "ack_ms": None}, 3, ["broker-slow", "receiver-silent"]),
    ],
)
def test_who_does_not_answer_is_told(place: Place, answer: dict[str, Any], sent: int, kinds: list[str]) -> None:
    with place.agent(status=STATUS | {"outbox": {"sent": sent}}, round_trip=CONNECTED | answer):
        assert place.kinds(CHECK) == kinds


def test_where_the_broker_is_trusted_nobody_behind_it_is_asked(tmp_path: Path) -> None:
    place = Place(tmp_path, 'host = "localhost"', 'confirm = "broker"')
    with place.agent(round_trip=CONNECTED | {"ack_ms": None}):
        assert place.kinds(CHECK) == []


def test_how_long_nothing_came_is_told(place: Place) -> None:
    with place.agent(round_trip=CONNECTED | {"ack_ms": None}):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.text.endswith("the last ack came 12 s ago")


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        ({"up": False, "reason": "busy", "code": 0x89}, "broker-busy"),
        ({"refusal": {"topic": "state", "code": 135}, "puback_ms": None}, "topics-refused"),
    ],
)
def test_without_a_login_it_cannot_look(place: Place, answer: dict[str, Any], because: str) -> None:
    with place.agent(round_trip=CONNECTED | answer), pytest.raises(CannotLook) as lost:
        place.look(CHECK)
    assert lost.value.because == because


def test_without_an_agent_it_cannot_look(place: Place) -> None:
    with pytest.raises(CannotLook) as lost:
        place.look(CHECK)
    assert lost.value.because == "agent-down"


def test_an_answer_that_makes_no_sense_crashes_nothing(place: Place) -> None:
    with place.agent(round_trip={}), pytest.raises(CannotLook, match="not connected"):
        place.look(CHECK)
    with place.agent(round_trip={"up": True, "puback_ms": "soon", "ahead_s": [1, "x"], "refusal": 7}):
        assert place.kinds(CHECK) == ["broker-swallows"]

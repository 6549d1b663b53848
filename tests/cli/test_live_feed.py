import time
from typing import Any

import pytest

from edge_agent.cli.live_feed import PAUSE_S, SETTLED_S, VISITS_KEPT, Feed, Visit, Visits, arrows


def step(visit: int, name: str, at_ms: float = 0.0, age_s: float = 0.0, **facts: Any) -> dict[str, Any]:
    return {"n": 1, "visit": visit, "where": "nfc0", "step": name, "at_ms": at_ms, "age_s": age_s, **facts}


GOOD = [
    step(1, "seen", technology="iso_dep"),
    step(1, "cue", 0.4, cue="reading", screen="serial0"),
    step(1, "token", 36.6, seq=1),
    step(1, "ended", 38.0, outcome="accepted"),
    step(1, "cue", 39.0, cue="thanks", screen="serial0"),
    step(1, "sent", 38.4),
    step(1, "stored", 41.2),
]


def test_it_asks_on_behind_the_last_step_and_notices_another_process() -> None:
    asked: list[dict[str, object]] = []
    answers = [
        {"run": "a", "next": 7, "missed": 0, "steps": GOOD},
        {"run": "a", "next": 9, "missed": 2, "steps": []},
        {"run": "b", "next": 1, "missed": 0, "steps": GOOD[:1]},
    ]

    def ask(request: dict[str, object]) -> dict[str, object]:
        asked.append(request)
        return answers[len(asked) - 1]

    feed = Feed(ask)
    assert [len(feed.news(0.5)) for _ in answers] == [7, 0, 1]
    assert [(request.get("run"), request.get("after")) for request in asked] == [(None, None), ("a", 7), ("a", 9)]
    assert (feed.missed, feed.restarts) == (2, 1)


def test_a_tap_is_told_as_arrows() -> None:
    visits = Visits()
    visits.take(GOOD, 100.0)
    (visit,) = visits.newest()
    assert arrows(visit) == ("cue 0.4 → kept 37 → sent 38 → stored 41 ms", "good")


@pytest.mark.parametrize(
    ("steps", "text", "kind"),
    [
        (GOOD[:2], "cue 0.4 ms …", "warn"),
        (GOOD[:4], "cue 0.4 → kept 37 ms", "warn"),
        ([*GOOD[:2], step(1, "ended", 9.0, outcome="lost")], "cue 0.4 ms → phone gone too early", "bad"),
        ([GOOD[0], step(1, "ended", 9.0, outcome="no_app")], "no app", "bad"),
        ([*GOOD[:3], step(1, "ended", 9.0, outcome="unconfirmed")], "not taken by the phone", "warn"),
        ([GOOD[0], step(1, "ended", 9.0, outcome="of a later version")], "of a later version", "bad"),
    ],
)
def test_where_a_tap_stands_or_ended_is_said(steps: list[dict[str, Any]], text: str, kind: str) -> None:
    visits = Visits()
    visits.take(steps, 100.0)
    (visit,) = visits.newest()
    told = arrows(visit)
    assert told[0].endswith(text)
    assert told[1] == kind


def test_a_tap_is_settled_once_with_the_last_step_or_after_a_while() -> None:
    visits = Visits()
    visits.take(GOOD[:4], 100.0)
    assert visits.settled(100.0, "stored") == []
    visits.take(GOOD[6:], 101.0)
    assert len(visits.settled(101.0, "stored")) == 1
    assert visits.settled(101.0, "stored") == []
    assert Visit("nfc0", 1.0, {"token": 1.0}, ended_at=1.0).settled(1.0 + SETTLED_S, "stored")
    assert Visit("nfc0", 1.0, {}, ended_at=1.0).settled(1.0, "stored"), "it got no token"


def test_cards_that_are_left_alone_are_no_taps() -> None:
    visits = Visits()
    visits.take([step(1, "seen"), step(1, "ended", outcome="ignored")], 1.0)
    assert list(visits.newest()) == []
    assert visits.settled(100.0, "stored") == []


def test_the_same_number_after_a_restart_is_another_phone() -> None:
    visits = Visits()
    visits.take(GOOD, 100.0)
    visits.take(GOOD[:1], 101.0, run=1)
    assert [visit.outcome for visit in visits.newest()] == ["", "accepted"]


@pytest.mark.parametrize("odd", [{}, {"visit": "x"}, {"visit": 1, "step": "seen", "age_s": None, "at_ms": []}])
def test_steps_of_another_version_are_left_out(odd: dict[str, Any]) -> None:
    visits = Visits()
    visits.take([odd, step(5, "token")], 1.0)
    assert list(visits.newest()) == []


def test_memory_is_bounded() -> None:
    visits = Visits()
    visits.take([step(number, "seen") for number in range(1000)], 1.0)
    assert len(list(visits.newest())) == VISITS_KEPT


def test_an_agent_that_answers_at_once_with_nothing_new_is_not_asked_without_an_end() -> None:
    answers = []

    def ask(_request: dict[str, object]) -> dict[str, object]:
        answers.append(time.monotonic())
        return {"run": "a", "next": 0, "missed": 0, "steps": []}

    feed = Feed(ask)
    begun = time.monotonic()  # a pause counts from the question, not from its answer
    for _ in range(3):
        feed.news(4.0)
    assert answers[2] - begun >= 2 * PAUSE_S

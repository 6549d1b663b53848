from typing import Any

import pytest

from edge_agent.cli.live_feed import Visits
from edge_agent.cli.live_screen import LiveScreen, Segment
from edge_agent.cli.watch_view import HEIGHT, lines, waiting

STATUS: dict[str, Any] = {
    "terminal": "sh-000123-a",
    "uptime_s": 7500.0,
    "health": {"state": "ok", "components": [{"name": "nfc0", "state": "ok"}]},
    "readers": [{"name": "nfc0", "state": "polling", "taps": 214, "lost": 1}],
    "tags": [{"name": "tag0", "state": "showing", "taps": 1}],
    "screens": [{"name": "serial0", "state": "up", "last_cue": "invite"}, {"name": "web1", "state": "down"}],
    "outbox": {"pending": 1, "leased": 1, "sent": 0, "stored": 214, "parked": 0, "fault": ""},
    "uplink": {"up": True, "confirm": "receiver"},
}
STEPS = [
    {"visit": 1, "where": "nfc0", "step": "seen", "at_ms": 0.0, "age_s": 41.0, "technology": "iso_dep"},
    {"visit": 1, "where": "nfc0", "step": "cue", "at_ms": 0.4, "age_s": 41.0, "cue": "reading", "screen": "serial0"},
    {"visit": 1, "where": "nfc0", "step": "token", "at_ms": 37.0, "age_s": 41.0, "seq": 214},
    {"visit": 1, "where": "nfc0", "step": "ended", "at_ms": 37.4, "age_s": 41.0, "outcome": "accepted"},
    {"visit": 1, "where": "nfc0", "step": "sent", "at_ms": 38.0, "age_s": 41.0},
    {"visit": 1, "where": "nfc0", "step": "stored", "at_ms": 41.0, "age_s": 41.0},
]


def visits(*steps: dict[str, Any]) -> Visits:
    found = Visits()
    found.take(list(steps), 1000.0)
    return found


def text(line: list[Segment]) -> str:
    return "".join(part for part, _ in line)


def kinds(line: list[Segment]) -> set[str]:
    return {kind for part, kind in line if part.strip() and kind}


def test_five_lines_tell_verdict_readers_screens_delivery_and_the_last_taps() -> None:
    assert [text(line) for line in lines(STATUS, visits(*STEPS).newest(), 1000.0)] == [
        "sh-000123-a: OK, takes taps · up 2 h 5 min",
        "readers   nfc0 polling 214 taps, 1 lost · tag0 showing 1 tap",
        "screens   serial0 up shows invite · web1 down",
        "delivery  connected · 2 waiting · 214 stored",
        "taps      nfc0 41 s ago  cue 0.4 → kept 37 → sent 38 → stored 41 ms",
    ]


def test_what_is_wrong_is_named_first_and_red() -> None:
    status = STATUS | {
        "health": {"state": "degraded", "components": [{"name": "uplink", "state": "degraded"}]},
        "uplink": {"up": False, "reason": "dns"},
        "outbox": {"pending": 3, "leased": 0, "parked": 2, "fault": "full"},
    }
    view = lines(status, [], 0.0)
    assert text(view[0]) == "sh-000123-a: DEGRADED, takes taps, but not all is well · uplink"
    assert text(view[3]) == "delivery  not connected (dns) · 3 waiting · 2 refused · taps cannot be kept: full"
    assert "bad" in kinds(view[3])
    assert text(view[4]) == "taps      none yet"


@pytest.mark.parametrize("answer", [{}, {"health": 1, "readers": {}, "screens": ["x"], "outbox": [], "uplink": None}])
def test_an_answer_of_another_version_is_shown_as_far_as_it_goes(answer: dict[str, Any]) -> None:
    assert len(lines(answer, [], 0.0)) == HEIGHT


def test_older_taps_stand_beside_only_where_there_is_room() -> None:
    lost = {"visit": 2, "where": "nfc0", "step": "seen", "at_ms": 0.0, "age_s": 2.0}
    ended = {"visit": 2, "where": "nfc0", "step": "ended", "at_ms": 9.0, "age_s": 2.0, "outcome": "lost"}
    line = text(lines(STATUS, visits(*STEPS, lost, ended).newest(), 1000.0)[4])
    assert line == "taps      nfc0 2 s ago  phone gone too early"
    short = ended | {"outcome": "no_app"}
    many = [step | {"visit": number} for number in (1, 2) for step in (lost, short)]
    assert text(lines(STATUS, visits(*many).newest(), 1000.0)[4]).count("|") == 1


def test_a_serial_console_of_9600_baud_keeps_up() -> None:
    screen = LiveScreen(HEIGHT, colour=True)
    first = screen.frame(lines(STATUS, visits(*STEPS).newest(), 1000.0), 79)
    assert len(first.encode()) < 960, "the first picture takes less than a second"
    second = screen.frame(lines(STATUS, visits(*STEPS).newest(), 1001.0), 79)
    assert 0 < len(second.encode()) <= 20, "one more second: a digit and two moves of the cursor"
    after = [step | {"visit": 2, "age_s": 0.0, "at_ms": step["at_ms"] * 1.1} for step in STEPS]
    status = STATUS | {"readers": [{"name": "nfc0", "state": "polling", "taps": 215, "lost": 1}]}
    tap = screen.frame(lines(status, visits(*STEPS, *after).newest(), 1001.0), 79)
    assert len(tap.encode()) < 240, "a whole new tap: a quarter of a second"


def test_while_nobody_answers_it_says_so_and_nothing_in_it_moves_the_cursor() -> None:
    view = waiting("cannot reach \x1b[2J")
    assert text(view[0]) == "waiting for the agent …"
    assert text(view[1]).isprintable()

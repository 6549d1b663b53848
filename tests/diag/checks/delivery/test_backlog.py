import time
from pathlib import Path
from typing import Any

import pytest

from edge_agent.diag.checks.delivery import backlog
from edge_agent.diag.checks.delivery.backlog import CHECK
from edge_agent.diag.finding import Finding, Seen
from edge_agent.diag.outbox_look import outbox_of
from edge_agent.diag.site import Site
from edge_agent.outbox.store import OutboxStore
from tests.diag.checks.delivery.site import STATUS, Place
from tests.diag.checks.delivery.test_outbox import BOUNDS, STATS
from tests.fakes.outbox_site import OutboxSite, sent

CHAIN = "00112233445566aa"
TTL, DAY = 90, 86_400


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(backlog, "LOOK_S", 0.01)
    return Place(tmp_path, 'host = "localhost"')


def answers(state: str, age_s: float, *, up: bool = True, **stats: int) -> dict[str, Any]:
    """An agent whose oldest row in ``state`` is so old; nothing of it moves."""
    exp = int(time.time() - age_s) + TTL
    return {
        "status": STATUS | {"uplink": STATUS["uplink"] | {"up": up, "since_s": 5000.0}},
        "outbox_stats": {"stats": STATS | stats, "bounds": BOUNDS},
        "outbox_ranges": {"ranges": [[CHAIN, 1, 4, "stored", ""], [CHAIN, 5, 9, state, ""]], "more": False},
        "outbox_page": {"rows": [[CHAIN, 5, state, "", exp, "00"]]},
    }


def test_nothing_that_waits_is_well(place: Place) -> None:
    with place.agent(**answers("stored", 5)):
        assert place.look(CHECK) == [Seen("0 taps wait")]


@pytest.mark.parametrize(
    ("state", "age_s", "up", "stats", "kinds"),
    [
        ("pending", 30, True, {"pending": 3}, []),
        ("pending", 600, True, {"pending": 3}, ["backlog-stuck"]),
        ("pending", 600, False, {"pending": 3}, []),
        ("pending", 2 * DAY, False, {"pending": 3}, ["backlog-old"]),
        ("pending", -5 * DAY, False, {"pending": 3}, []),  # a clock that was set back
        ("sent", 60, True, {"sent": 2}, []),
        ("sent", 2 * DAY, True, {"sent": 2}, ["backlog-unconfirmed"]),
        ("stored", 5, True, {"gaps": 1}, ["backlog-unconfirmed"]),
        ("stored", 5, False, {"gaps": 1}, []),
    ],
)
def test_what_is_late_is_told(
    place: Place, state: str, age_s: float, up: bool, stats: dict[str, int], kinds: list[str]
) -> None:
    with place.agent(**answers(state, age_s, up=up, **stats)):
        assert place.kinds(CHECK) == kinds


def test_how_long_the_oldest_waits_is_told(place: Place) -> None:
    with place.agent(**answers("pending", 3 * DAY + 3600, up=False, pending=3)):
        (one,) = place.look(CHECK)
    assert isinstance(one, Finding)
    assert one.text == "3 taps wait, the oldest for 3 days"


def test_nobody_is_asked_to_confirm_to_a_terminal_that_trusts_the_broker(tmp_path: Path) -> None:
    place = Place(tmp_path, 'host = "localhost"', 'confirm = "broker"')
    with place.agent(**answers("sent", 2 * DAY, sent=2)):
        assert place.kinds(CHECK) == []


def test_the_file_alone_tells_how_old_the_oldest_are(tmp_path: Path) -> None:
    terminal = OutboxSite(tmp_path)

    async def fill(store: OutboxStore) -> None:
        await terminal.taps(store, 9)
        await sent(store, 4)

    terminal.stopped(fill)
    alone = outbox_of(Site(terminal.config, env={}))
    assert (alone.pending, alone.sent) == (5, 4)
    assert alone.waits_exp == alone.unconfirmed_exp == int(terminal.clock.unix) + TTL

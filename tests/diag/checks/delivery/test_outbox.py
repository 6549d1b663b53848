"""The real store's file while no agent runs, and the real ops of a running one."""

import os
from pathlib import Path

import pytest

from edge_agent.diag.checks.delivery.outbox import CHECK
from edge_agent.diag.finding import CannotLook, Finding, Seen
from edge_agent.diag.site import Site
from edge_agent.outbox.store import OutboxStore
from tests.diag.checks.delivery.site import STATUS, Place
from tests.fakes.outbox_site import OutboxSite, parked

STATS = {"pending": 0, "leased": 0, "sent": 0, "stored": 0, "parked": 0, "bytes_on_disk": 4096, "evicted": 0, "gaps": 0}
BOUNDS = {"max_rows": 1000, "max_bytes": 10**6, "min_free_bytes": 0}


@pytest.fixture
def terminal(tmp_path: Path) -> OutboxSite:
    return OutboxSite(tmp_path)


def kinds(terminal: OutboxSite) -> list[str]:
    found = CHECK.look(Site(terminal.config, env={}))
    return [one.kind.id for one in found if isinstance(one, Finding)]


def test_a_sound_one_is_well_and_stays_untouched(terminal: OutboxSite) -> None:
    async def fill(store: OutboxStore) -> None:
        await terminal.taps(store, 5)

    terminal.stopped(fill)
    before = terminal.database.read_bytes()
    (seen,) = CHECK.look(Site(terminal.config, env={}))
    assert isinstance(seen, Seen)
    assert seen.text.startswith("5 rows, ")
    assert terminal.database.read_bytes() == before
    assert sorted(path.name for path in terminal.folder.iterdir()) == ["edge-agent.toml", "outbox.db", "tap.key"]


def test_none_at_all_is_well_and_is_not_made(terminal: OutboxSite) -> None:
    assert kinds(terminal) == []
    assert not terminal.database.exists()


def test_a_damaged_one_is_told_and_left_where_it_is(terminal: OutboxSite) -> None:
    async def fill(store: OutboxStore) -> None:
        await terminal.taps(store, 50)

    terminal.stopped(fill)
    with terminal.database.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    torn = terminal.database.read_bytes()
    assert kinds(terminal) == ["outbox-damaged"]
    assert terminal.database.read_bytes() == torn


def test_a_file_of_something_else_is_told(terminal: OutboxSite) -> None:
    terminal.database.write_bytes(b"hello " * 4096)
    assert kinds(terminal) in (["outbox-damaged"], ["outbox-unusable"])


def test_a_missing_folder_is_told(terminal: OutboxSite) -> None:
    text = terminal.config.read_text().replace("outbox.db", "gone/outbox.db")
    terminal.config.write_text(text)
    assert kinds(terminal) == ["outbox-unusable"]


def test_parked_taps_are_told(terminal: OutboxSite) -> None:
    async def refuse(store: OutboxStore) -> None:
        await terminal.taps(store, 3)
        await parked(store, 2, "refused by the broker with code 153")

    terminal.stopped(refuse)
    assert kinds(terminal) == ["taps-parked"]


def test_what_was_set_aside_is_told(terminal: OutboxSite) -> None:
    async def fill(store: OutboxStore) -> None:
        await terminal.taps(store, 1)

    terminal.stopped(fill)
    terminal.database.with_name("outbox.db.broken-20261123T070118Z").write_bytes(b"")
    assert kinds(terminal) == ["outbox-set-aside"]


def test_one_that_another_process_holds_cannot_be_looked_at(terminal: OutboxSite) -> None:
    with terminal.running():
        terminal.config.write_text(terminal.config.read_text().replace("control.sock", "elsewhere.sock"))
        with pytest.raises(CannotLook):
            list(CHECK.look(Site(terminal.config, env={})))


@pytest.mark.parametrize(
    ("stats", "found"),
    [
        ({}, []),
        ({"fault": "full"}, ["outbox-full"]),
        ({"fault": "read_only"}, ["outbox-read-only"]),
        ({"fault": "failing"}, ["outbox-failing"]),
        ({"fault": "busy"}, ["outbox-failing"]),
        ({"fault": "damaged"}, ["outbox-damaged"]),
        ({"fault": "held"}, ["outbox-unusable"]),
        ({"stored": 900}, []),
        ({"pending": 800}, ["outbox-nearly-full"]),
        ({"pending": 1, "bytes_on_disk": 900_000}, ["outbox-nearly-full"]),
        ({"evicted": 7, "gaps": 1}, ["taps-evicted"]),
        ({"evicted": 7}, []),
        ({"quarantined": ["outbox.db.broken-1"], "salvaging": True}, ["outbox-set-aside"]),
        ({"parked": 2}, ["taps-parked"]),
    ],
)
def test_what_the_running_agent_says_is_told(tmp_path: Path, stats: dict[str, object], found: list[str]) -> None:
    place = Place(tmp_path, 'host = "localhost"')
    answer = {"stats": STATS | stats, "bounds": BOUNDS}
    ranges = {"ranges": [], "more": False}
    with place.agent(status=STATUS, outbox_stats=answer, outbox_ranges=ranges):
        assert place.kinds(CHECK) == found

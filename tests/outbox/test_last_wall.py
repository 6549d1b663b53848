"""The last good wall time outlives the process, and costs no commit of its own while confirmations are written."""

from pathlib import Path

import pytest

from edge_agent.models import ClockReading, ClockTrust
from edge_agent.outbox.database import Database
from edge_agent.outbox.rows import Plan
from tests.fakes.outbox_taps import PLAIN

GOOD = ClockReading(1_790_000_000, ClockTrust.HOLDOVER, b"bootbyte", 100)
LATER = ClockReading(1_790_000_600, ClockTrust.HOLDOVER, b"bootbyte", 700)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def kept(path: Path) -> ClockReading | None:
    database = Database(path, PLAIN)
    try:
        return database.last_wall()
    finally:
        database.close()


def test_a_new_outbox_knows_no_time(path: Path) -> None:
    assert kept(path) is None


def test_what_is_written_at_once_is_there_after_a_restart(path: Path) -> None:
    database = Database(path, PLAIN)
    for good in (GOOD, LATER):
        database.remember_wall(good, at_once=True)
    database.close()
    assert kept(path) == LATER


def test_otherwise_it_goes_with_the_next_confirmations_and_not_before(path: Path) -> None:
    database = Database(path, PLAIN)
    database.remember_wall(GOOD, at_once=False)
    assert database.last_wall() is None
    database.apply(Plan(1.0, (), (), {}, (), frozenset()))
    assert database.last_wall() == GOOD
    database.close()


@pytest.mark.parametrize("damage", ["DELETE FROM meta WHERE key = 'wall_up'", "UPDATE meta SET value = 'x'"])
def test_what_is_not_a_time_is_none(path: Path, damage: str) -> None:
    database = Database(path, PLAIN)
    database.remember_wall(GOOD, at_once=True)
    database.connection.execute(damage)
    assert database.last_wall() is None
    database.close()

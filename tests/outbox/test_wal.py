"""Damage in the middle of a WAL is told from its end; what a power cut does to the last transaction is no damage."""

import io
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.models import ChainPosition
from edge_agent.outbox.connection import PAGE_SIZE, wal_path
from edge_agent.outbox.database import Database
from edge_agent.outbox.wal import damaged_inside
from tests.fakes.outbox_taps import PLAIN, a_tap, plain_sealer

FRAME = PAGE_SIZE + 24


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """A WAL of 30 taps and a group of 40, and how many of its frames are in use; older ones stand behind."""
    path = tmp_path_factory.mktemp("wal") / "a.db"
    database = Database(path, PLAIN)
    for taps in (50, 30):
        database.checkpoint()
        for _ in range(taps):
            database.append([lambda place: (plain_sealer(a_tap(), place), 90)], lambda: 0.0)
    database.append([lambda place: (plain_sealer(a_tap(), place), 90)] * 40, lambda: 0.0)
    data = wal_path(path).read_bytes()
    database.close()
    frames = [data[at : at + FRAME] for at in range(32, len(data) - FRAME + 1, FRAME)]
    return data, sum(frame[8:16] == data[16:24] for frame in frames)


def damaged(data: bytes) -> bool:
    return damaged_inside(io.BytesIO(data), PAGE_SIZE)


def test_a_sound_log_is_not_damaged(log: tuple[bytes, int]) -> None:
    data, used = log
    assert used > 30
    assert 32 + used * FRAME < len(data), "there is an old end behind"
    assert not damaged(data)


@pytest.mark.parametrize("data", [b"", bytes(10), bytes(32), bytes(32 + 3 * FRAME)])
def test_an_empty_log_is_not_damaged(data: bytes) -> None:
    assert not damaged(data)


@given(st.integers(0, 2**32), st.integers(1, 255))
def test_any_damage_before_the_last_transaction_is_seen(log: tuple[bytes, int], place: int, bits: int) -> None:
    raw, used = log
    frames = [raw[32 + index * FRAME : 32 + (index + 1) * FRAME] for index in range(used)]
    commits = [index for index, frame in enumerate(frames) if frame[4:8] != bytes(4)]
    last_begins = 32 + (commits[-2] + 1) * FRAME
    at = place % last_begins
    if at >= 32 and (at - 32) // FRAME == commits[-2]:
        at -= FRAME  # of the last but one alone nobody can tell whether it was ever finished
    changed = bytearray(raw)
    changed[at] ^= bits
    assert damaged(bytes(changed))


@given(st.sets(st.integers(0, 2**16), min_size=1, max_size=20))
def test_sectors_of_the_last_transaction_that_were_not_written_are_no_damage(
    log: tuple[bytes, int], places: set[int]
) -> None:
    raw, used = log
    frames = [raw[32 + index * FRAME : 32 + (index + 1) * FRAME] for index in range(used)]
    commits = [index for index, frame in enumerate(frames) if frame[4:8] != bytes(4)]
    begin, end = 32 + (commits[-2] + 1) * FRAME, 32 + used * FRAME
    changed = bytearray(raw)
    sectors = range(begin // 512, end // 512)
    for sector in {sectors[place % len(sectors)] for place in places}:
        low = max(begin, sector * 512)
        changed[low : (sector + 1) * 512] = bytes((sector + 1) * 512 - low)
    assert not damaged(bytes(changed))


@given(st.binary(max_size=200), st.integers(0, 3))
def test_bytes_at_random_are_no_error(data: bytes, frames: int) -> None:
    damaged(data.ljust(32 + frames * FRAME, b"\x01"))


def test_what_failed_transactions_left_behind_is_no_damage(tmp_path: Path) -> None:
    """Two that were written but not synced, each shorter than the one before; then the storage works, and it dies."""
    path = tmp_path / "a.db"
    database = Database(path, PLAIN)
    database.append([lambda place: (plain_sealer(a_tap(), place), 90)], lambda: 0.0)
    begin = bytearray(wal_path(path).read_bytes())
    leftovers = []
    for taps in (60, 20, 1):
        copy = tmp_path / f"{taps}.db"
        copy.write_bytes(path.read_bytes())
        wal_path(copy).write_bytes(begin)
        other = Database(copy, PLAIN)
        seal = partial(_sealed, number=taps)
        other.append([seal] * taps, lambda: 0.0)
        leftovers.append(wal_path(copy).read_bytes())
        other.close()
    ends = [used_bytes(data) for data in leftovers]
    assert ends == sorted(ends, reverse=True)
    data = leftovers[2][: ends[2]] + leftovers[1][ends[2] : ends[1]] + leftovers[0][ends[1] :]
    assert not damaged(data)
    database.close()


def used_bytes(data: bytes) -> int:
    frames = [data[at : at + FRAME] for at in range(32, len(data) - FRAME + 1, FRAME)]
    return 32 + FRAME * sum(frame[8:16] == data[16:24] for frame in frames)


def _sealed(place: ChainPosition, number: int) -> tuple[bytes, int]:
    return plain_sealer(a_tap(number), place), 90

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.base import Bounds
from edge_agent.outbox.policy import FLOOR_PAGES, WAL_RESERVE_BYTES, Need, Usage, need, order, page_limit
from edge_agent.outbox.runs import State

MB = 1024 * 1024
BOUNDS = Bounds(max_rows=100_000, max_bytes=WAL_RESERVE_BYTES + 32 * MB, min_free_bytes=64 * MB)
BUDGET = 32 * 1024


def usage(pages: int = 1000, free_pages: int = 0, *, disk_free: int = 10_000 * MB, in_wal: int = 0) -> Usage:
    return Usage(1024, pages, free_pages, (pages - in_wal) * 1024, disk_free)


def test_far_from_all_bounds_nothing_goes() -> None:
    assert need(BOUNDS, usage(), 3000) is None
    assert page_limit(BOUNDS, usage()) == BUDGET


def test_too_many_rows_go_with_slack() -> None:
    assert need(BOUNDS, usage(), 99_000) is None
    assert need(BOUNDS, usage(), 99_001) == Need(1001, lossy=True), "98 % stay"
    assert need(BOUNDS, usage(), 150_000) == Need(52_000, lossy=True)


def test_a_small_bound_keeps_most_of_its_rows() -> None:
    small = Bounds(max_rows=100)
    assert need(small, usage(), 88) is None
    assert need(small, usage(), 89) == Need(14, lossy=True)


def test_too_many_pages_go_as_rows() -> None:
    slack = BUDGET // 50
    assert need(BOUNDS, usage(BUDGET - slack // 2), 50_000) is None
    wanted = need(BOUNDS, usage(BUDGET), 65_536)
    assert wanted == Need(slack * 2, lossy=True), "two rows in each page"


def test_free_pages_inside_of_the_file_are_not_in_use() -> None:
    assert need(BOUNDS, usage(BUDGET, 2000), 50_000) is None


def test_below_the_floor_the_file_does_not_grow_and_delivered_rows_make_room() -> None:
    low = usage(1000, 10, disk_free=64 * MB)
    assert page_limit(BOUNDS, low) == 1000
    assert need(BOUNDS, low, 1980) == Need((FLOOR_PAGES - 10) * 2, lossy=False)
    assert need(BOUNDS, usage(1000, FLOOR_PAGES // 2, disk_free=0), 1980) is None


def test_near_the_floor_the_file_grows_up_to_it() -> None:
    assert page_limit(BOUNDS, usage(1000, disk_free=64 * MB + 100 * 1024)) == 1100
    assert page_limit(BOUNDS, usage(1000, disk_free=64 * MB + 100 * 1024, in_wal=30)) == 1070, (
        "pages in the WAL will lengthen the file yet"
    )


def test_a_file_larger_than_the_bound_does_not_grow() -> None:
    assert page_limit(BOUNDS, usage(BUDGET + 500)) == BUDGET + 500


@given(
    pages=st.integers(10, 2 * BUDGET),
    free=st.floats(0, 1),
    disk_free=st.integers(0, 200 * MB),
    rows=st.integers(1, 200_000),
)
def test_what_goes_is_enough_and_undelivered_rows_only_go_for_the_own_bounds(
    pages: int, free: float, disk_free: int, rows: int
) -> None:
    found = usage(pages, int(free * pages), disk_free=disk_free)
    wanted = need(BOUNDS, found, rows)
    limit = page_limit(BOUNDS, found)
    assert found.pages <= limit <= max(found.pages, BUDGET)
    if limit > found.pages:
        assert disk_free - (limit - found.pages) * 1024 >= BOUNDS.min_free_bytes
    if wanted is None:
        assert rows <= BOUNDS.max_rows
        assert found.pages - found.free_pages <= BUDGET
    elif wanted.lossy:
        assert rows > BOUNDS.max_rows * 0.98 or found.pages - found.free_pages > BUDGET * 0.98
        assert rows - wanted.rows <= BOUNDS.max_rows * 0.98


@pytest.mark.parametrize("crowded", [False, True])
def test_for_the_floor_only_what_was_sent_goes(*, crowded: bool) -> None:
    assert order(Need(1, lossy=False), crowded=crowded) == ({State.SENT},)


def test_what_was_sent_goes_before_what_was_not() -> None:
    assert order(Need(1, lossy=True), crowded=False) == ({State.SENT}, {State.PENDING, State.PARKED})


def test_among_many_gaps_age_alone_decides() -> None:
    assert order(Need(1, lossy=True), crowded=True) == ({State.SENT, State.PENDING, State.PARKED},)


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("lossy", [False, True])
def test_leased_rows_never_go(*, lossy: bool, crowded: bool) -> None:
    assert all(State.LEASED not in rank for rank in order(Need(1, lossy=lossy), crowded=crowded))

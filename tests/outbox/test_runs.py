from itertools import pairwise
from random import Random

import pytest

from edge_agent.outbox.runs import GONE, PENDING, STORED, Mark, Run, RunMap, State


def change_to(mark: Mark):  # type: ignore[no-untyped-def]  # a lambda for rewrite
    return lambda _: mark


@pytest.fixture
def ten() -> RunMap:
    runs = RunMap(1)
    runs.extend(10, PENDING)
    return runs


def test_equal_neighbours_are_one_run(ten: RunMap) -> None:
    ten.extend(5, PENDING)
    assert list(ten.runs()) == [Run(1, 15, PENDING)]


def test_a_change_in_the_middle_cuts_and_undoing_it_joins(ten: RunMap) -> None:
    assert ten.rewrite(change_to(STORED), 4, 6) == 3
    assert list(ten.runs()) == [Run(1, 3, PENDING), Run(4, 6, STORED), Run(7, 10, PENDING)]
    assert (ten.count(State.PENDING), ten.count(State.STORED)) == (7, 3)
    assert ten.rewrite(change_to(PENDING), 4, 6) == 3
    assert list(ten.runs()) == [Run(1, 10, PENDING)]


def test_rewriting_to_the_same_mark_changes_nothing(ten: RunMap) -> None:
    assert ten.rewrite(change_to(PENDING)) == 0


def test_runs_are_cut_to_the_bounds(ten: RunMap) -> None:
    ten.rewrite(change_to(STORED), 4, 6)
    assert list(ten.runs(5, 8)) == [Run(5, 6, STORED), Run(7, 8, PENDING)]
    assert list(ten.runs(-5, 2)) == [Run(1, 2, PENDING)]
    assert list(ten.runs(11, 20)) == []


def test_the_oldest_pending_rows_are_found_again_after_they_came_back(ten: RunMap) -> None:
    ten.rewrite(change_to(STORED), 1, 8)
    assert ten.oldest_pending() == Run(9, 10, PENDING)
    ten.rewrite(change_to(PENDING), 2, 3)
    assert ten.oldest_pending() == Run(2, 3, PENDING)
    ten.rewrite(change_to(STORED))
    assert ten.oldest_pending() is None


def test_only_rows_at_the_low_end_are_forgotten(ten: RunMap) -> None:
    ten.rewrite(change_to(GONE), 1, 3)
    ten.rewrite(change_to(GONE), 6, 6)
    ten.forget_gone()
    assert (ten.first, ten.end, ten.count(State.GONE)) == (4, 11, 1)
    with pytest.raises(IndexError):
        ten.mark(3)
    assert ten.mark(6) == GONE


def test_everything_can_be_forgotten_and_the_numbers_go_on(ten: RunMap) -> None:
    ten.rewrite(change_to(GONE))
    ten.forget_gone()
    assert (ten.first, ten.end, list(ten.runs())) == (11, 11, [])
    ten.extend(1, PENDING)
    assert ten.oldest_pending() == Run(11, 11, PENDING)


def test_whatever_changes_neighbours_differ_and_the_counts_are_true() -> None:
    random = Random(5)
    marks = [PENDING, STORED, GONE, Mark(State.SENT, at=1.0)]
    for _ in range(300):
        runs, rows = RunMap(1), [PENDING] * 30
        runs.extend(30, PENDING)
        for _ in range(12):
            first = random.randint(1, 30)
            last = random.randint(first, 30)
            became = {mark: random.choice([None, *marks]) for mark in marks}
            before = list(rows)
            rows[first - 1 : last] = [became[mark] or mark for mark in rows[first - 1 : last]]
            changed = runs.rewrite(lambda mark: became[mark], first, last)  # noqa: B023 - called at once
            assert changed == sum(old != new for old, new in zip(before, rows, strict=True))
        found = list(runs.runs())
        assert [run.mark for run in found for _ in range(len(run))] == rows
        assert all(one.mark != other.mark for one, other in pairwise(found))
        assert all(runs.count(state) == sum(mark.state is state for mark in rows) for state in State)
        oldest = runs.oldest_pending()
        assert (oldest.first if oldest else 31) == next(
            (seq for seq, mark in enumerate(rows, 1) if mark == PENDING), 31
        )

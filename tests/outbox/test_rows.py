import pytest

from edge_agent.outbox.base import Resent
from edge_agent.outbox.gaps import Lost
from edge_agent.outbox.policy import Need
from edge_agent.outbox.rows import MISSING, SENT_GRAIN_S, Acked, ChainLoad, Range, Rows, Span
from edge_agent.outbox.runs import State

CHAIN = b"chain-id"
OLD = b"old-chai"


def rows_of(next_seq: int = 11, *, keep_sent_s: float | None = None, keep_newest: int = 0, **load: object) -> Rows:
    chain = ChainLoad(number=1, id=CHAIN, first_seq=1, next_seq=next_seq, lowest=1, **load)  # type: ignore[arg-type]  # test
    return Rows([chain], keep_sent_s=keep_sent_s, keep_newest=keep_newest)


def counts(rows: Rows) -> dict[str, int]:
    return {state.name: rows.count(state) for state in State if rows.count(state)}


def leased(rows: Rows, first: int, last: int, session: int = 1) -> int:
    lease = rows.lease(session, CHAIN, first, last)
    assert lease is not None
    return lease


def test_a_row_is_leased_once() -> None:
    rows = rows_of()
    leased(rows, 3, 5)
    assert rows.lease(2, CHAIN, 5, 6) is None
    assert counts(rows) == {"PENDING": 7, "LEASED": 3}


@pytest.mark.parametrize(
    ("chain", "first", "last"), [(b"nobodys.", 1, 1), (CHAIN, 0, 1), (CHAIN, 10, 11), (CHAIN, 5, 4)]
)
def test_rows_that_are_not_there_cannot_be_leased(chain: bytes, first: int, last: int) -> None:
    assert rows_of().lease(1, chain, first, last) is None


def test_puback_counts_in_its_own_session_only() -> None:
    rows = rows_of()
    lease = leased(rows, 1, 4)
    assert rows.release(1) == 4
    again = leased(rows, 1, 4, session=2)
    assert rows.confirm_sent(lease, 0.0) == 0
    assert counts(rows) == {"PENDING": 6, "LEASED": 4}
    assert rows.confirm_sent(again, 0.0) == 4


def test_release_takes_back_that_session_only() -> None:
    rows = rows_of()
    leased(rows, 1, 2, session=1)
    leased(rows, 3, 4, session=2)
    assert rows.release(1) == 2
    assert rows.release(1) == 0
    assert counts(rows) == {"PENDING": 8, "LEASED": 2}


def test_an_ack_that_overtakes_the_puback_wins() -> None:
    rows = rows_of()
    lease = leased(rows, 1, 4)
    assert rows.confirm_stored(CHAIN, 2, []) == Acked(new=2)
    assert rows.confirm_sent(lease, 0.0) == 2
    assert counts(rows) == {"PENDING": 6, "STORED": 2, "SENT": 2}


def test_a_missing_range_inside_of_another_does_not_end_it() -> None:
    assert rows_of().confirm_stored(CHAIN, 9, [(2, 7), (3, 4)]) == Acked(new=3)


def test_acks_are_idempotent_and_leave_missing_rows_alone() -> None:
    rows = rows_of()
    rows.confirm_sent(leased(rows, 1, 10), 0.0)
    assert rows.confirm_stored(CHAIN, 8, [(2, 3), (5, 5)]) == Acked(new=5)
    assert rows.confirm_stored(CHAIN, 8, [(5, 5), (2, 3)]) == Acked(new=0)
    assert counts(rows) == {"STORED": 5, "SENT": 5}
    assert rows.confirm_stored(CHAIN, 8, [(3, 3), (2, 3), (7, 900)]) == Acked(new=1), (
        "overlapping, out of order, too far"
    )


@pytest.mark.parametrize(
    ("chain", "through", "missing"),
    [
        (b"nobodys.", 1, []),
        (CHAIN, 11, []),
        (CHAIN, 2**70, []),
        (CHAIN, 5, [(4, 3)]),
        (CHAIN, 5, [(0, 3)]),
        (CHAIN, 5, [(-7, -3)]),
    ],
)
def test_an_ack_that_cannot_be_true_changes_nothing(chain: bytes, through: int, missing: list[tuple[int, int]]) -> None:
    rows = rows_of()
    acked = rows.confirm_stored(chain, through, missing)
    assert acked.new == 0
    assert acked.ignored
    assert counts(rows) == {"PENDING": 10}


@pytest.mark.parametrize("through", [0, -1])
def test_an_ack_of_nothing_is_fine(through: int) -> None:
    assert rows_of().confirm_stored(CHAIN, through, []) == Acked()


def test_unconfirmed_rows_come_back_by_their_age() -> None:
    rows = rows_of()
    rows.confirm_sent(leased(rows, 1, 4), 100.0)
    rows.confirm_sent(leased(rows, 5, 8), 150.0)
    assert rows.requeue_unconfirmed(169.0, 70.0) == 0
    assert rows.requeue_unconfirmed(170.0, 70.0) == 4
    assert counts(rows) == {"PENDING": 6, "SENT": 4}


def test_parked_rows_stay_out_of_the_way_until_the_receiver_has_them() -> None:
    rows = rows_of()
    assert rows.park(leased(rows, 1, 1), "payload format invalid") == 1
    oldest = rows.oldest_pending()
    assert oldest is not None
    assert oldest[1].first == 2
    assert rows.requeue_unconfirmed(1e9, 0.0) == 0
    assert rows.confirm_stored(CHAIN, 1, []) == Acked(new=1)


def test_the_receiver_may_know_rows_of_an_old_chain_whose_end_is_lost() -> None:
    """They were sent before the file was damaged; without its ack the rest would be sent for ever."""
    rows = Rows(
        [ChainLoad(number=1, id=OLD, first_seq=1, next_seq=4, lowest=1), ChainLoad(2, CHAIN, 1, 1)],
        keep_sent_s=None,
        keep_newest=0,
    )
    assert rows.confirm_stored(OLD, 9, [(2, 2), (6, 7)]) == Acked(new=2)
    assert counts(rows) == {"PENDING": 1, "STORED": 2}
    assert rows.confirm_stored(CHAIN, 9, []).ignored == "beyond the last row"


def test_the_newest_rows_are_not_deleted() -> None:
    rows = rows_of(keep_newest=3)
    rows.confirm_stored(CHAIN, 10, [])
    plan = rows.plan(0.0, 100)
    assert plan is not None
    assert plan.deleted == (Range(1, 1, 7),)
    assert plan.first_seqs == {1: 8}
    assert plan.added == (Span(1, 8, 10, State.STORED),)
    rows.applied(plan)
    assert rows.plan(0.0, 100) is None


def test_deletions_come_in_bounded_pieces() -> None:
    rows = rows_of()
    rows.confirm_stored(CHAIN, 10, [(5, 5)])
    deleted = []
    while (plan := rows.plan(0.0, 4)) is not None:
        deleted.append(plan.deleted)
        rows.applied(plan)
    assert deleted == [(Range(1, 1, 4),), (Range(1, 6, 9),), (Range(1, 10, 10),)]
    assert counts(rows) == {"PENDING": 1, "GONE": 5}
    assert rows.confirm_stored(CHAIN, 10, []) == Acked(new=1), "rows that are gone are no news"
    assert counts(rows) == {"STORED": 1, "GONE": 5}


def test_a_failed_plan_is_made_again() -> None:
    rows = rows_of()
    rows.confirm_stored(CHAIN, 4, [])
    plan = rows.plan(0.0, 100)
    assert plan is not None
    rows.failed(plan)
    assert counts(rows) == {"PENDING": 6, "STORED": 4}
    assert rows.plan(0.0, 100) == plan


def test_what_was_confirmed_while_a_plan_was_under_way_is_in_the_next_one() -> None:
    rows = rows_of()
    rows.confirm_sent(leased(rows, 1, 2), 0.0)
    first = rows.plan(0.0, 100)
    assert first is not None
    rows.confirm_sent(leased(rows, 3, 4), 0.0)
    rows.applied(first)
    second = rows.plan(0.0, 100)
    assert second is not None
    assert second.removed == (Span(1, 1, 2, State.SENT),)
    assert second.added == (Span(1, 1, 4, State.SENT),)


def test_old_sent_times_are_rounded_up_so_that_runs_join() -> None:
    rows = rows_of(next_seq=101)
    for seq in range(1, 101):
        rows.confirm_sent(leased(rows, seq, seq), now=seq / 10)
    plan = rows.plan(10.0 + SENT_GRAIN_S, 100)
    assert plan is not None
    assert plan.added == (Span(1, 1, 100, State.SENT, at=SENT_GRAIN_S),)
    assert rows.requeue_unconfirmed(10.0 + SENT_GRAIN_S, 10.1) == 0, "never repeated early"


def test_with_confirm_broker_the_age_of_the_puback_counts() -> None:
    rows = rows_of(keep_sent_s=1000.0)
    rows.confirm_sent(leased(rows, 1, 4), 0.0)
    first = rows.plan(999.0, 100)
    assert first is not None
    assert first.deleted == ()
    rows.applied(first)
    second = rows.plan(1000.0 + SENT_GRAIN_S, 100)
    assert second is not None
    assert second.deleted == (Range(1, 1, 4),)


def test_a_plan_loads_back_as_what_it_said() -> None:
    rows = rows_of()
    rows.confirm_sent(leased(rows, 2, 3), 5.0)
    rows.park(leased(rows, 5, 5), "no")
    leased(rows, 7, 8)
    rows.confirm_stored(CHAIN, 9, [(1, 8)])
    plan = rows.plan(5.0, 0)
    assert plan is not None
    again = rows_of(spans=plan.added)
    assert counts(again) == {"PENDING": 6, "SENT": 2, "PARKED": 1, "STORED": 1}, "leases are void"
    reloaded = again.plan(5.0, 0)
    assert reloaded is None


def test_rows_that_vanished_from_disk_are_gone_and_counted() -> None:
    rows = Rows([ChainLoad(1, CHAIN, 1, 11, lowest=4)], keep_sent_s=None, keep_newest=0)
    assert rows.vanished == 3
    assert counts(rows) == {"PENDING": 7, "GONE": 3}
    assert rows.next_seq == 11


def test_an_old_chain_is_delivered_first_and_wholly_deleted() -> None:
    rows = Rows([ChainLoad(2, OLD, 1, 4, lowest=1), ChainLoad(1, CHAIN, 1, 1)], keep_sent_s=None, keep_newest=64)
    rows.append(1)
    assert rows.current == CHAIN
    oldest = rows.oldest_pending()
    assert oldest is not None
    assert oldest[0] == OLD
    rows.confirm_stored(OLD, 3, [])
    plan = rows.plan(0.0, 100)
    assert plan is not None
    assert plan.deleted == (Range(2, 1, 3),)
    oldest = rows.oldest_pending()
    assert oldest is not None
    assert oldest[0] == CHAIN


def test_a_row_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="11 was next"):
        rows_of().append(12)


def test_a_row_that_cannot_be_read_is_parked() -> None:
    rows = rows_of()
    rows.park_missing(CHAIN, 1)
    plan = rows.plan(0.0, 100)
    assert plan is not None
    assert plan.added == (Span(1, 1, 1, State.PARKED, note=MISSING),)


def evicting(rows: Rows, count: int, *, lossy: bool = True, crowded: bool = False) -> list[tuple[int, int]]:
    plan = rows.plan(0.0, 1000, Need(count, lossy=lossy), crowded=crowded)
    assert plan is not None
    rows.applied(plan)
    return [(lost.first, lost.last) for lost in plan.evicted]


def mixed() -> Rows:
    """1-2 parked, 3-4 pending, 5-6 sent, 7 leased, 8 stored, 9-10 pending."""
    rows = rows_of(keep_newest=1)
    rows.park(leased(rows, 1, 2), "no")
    rows.confirm_sent(leased(rows, 5, 6), 0.0)
    leased(rows, 7, 7)
    rows.confirm_stored(CHAIN, 8, [(1, 7)])
    return rows


def test_what_is_given_up_goes_in_the_order_of_the_policy() -> None:
    assert evicting(mixed(), 1) == [], "the stored row was enough"
    assert evicting(mixed(), 2) == [(5, 5)]
    assert evicting(mixed(), 5) == [(5, 6), (1, 2)]
    assert evicting(mixed(), 99) == [(5, 6), (1, 2), (3, 4), (9, 9)], "the newest row and the leased one stay"
    assert evicting(mixed(), 99, lossy=False) == [(5, 6)]
    assert evicting(mixed(), 99, crowded=True) == [(1, 2), (3, 4), (5, 6), (9, 9)]


def test_old_chains_are_given_up_first() -> None:
    rows = Rows(
        [ChainLoad(2, OLD, 1, 4, lowest=1), ChainLoad(1, CHAIN, 1, 9, lowest=1)], keep_sent_s=None, keep_newest=2
    )
    plan = rows.plan(0.0, 5, Need(99, lossy=True))
    assert plan is not None
    assert plan.evicted == (Lost(2, OLD, 1, 3), Lost(1, CHAIN, 1, 2))
    assert plan.rows == plan.lost == 5, "a bounded piece at a time"
    assert plan.first_seqs == {2: 4, 1: 3}


def test_rows_whose_eviction_failed_are_what_they_were() -> None:
    rows = mixed()
    before = [(run.first, run.mark) for run in rows._chains[CHAIN].runs()]
    plan = rows.plan(0.0, 1000, Need(99, lossy=True))
    assert plan is not None
    assert rows.on_disk == 2
    rows.failed(plan)
    assert [(run.first, run.mark) for run in rows._chains[CHAIN].runs()] == before
    assert rows.on_disk == 10


def test_what_lies_between_gaps_may_be_bridged_only_if_nobody_needs_it() -> None:
    rows = mixed()
    assert rows.delivered(CHAIN, 8, 8)
    assert not rows.delivered(CHAIN, 7, 8)
    evicting(rows, 99)
    assert rows.delivered(CHAIN, 1, 6)
    assert not rows.delivered(CHAIN, 1, 7)


def test_only_rows_that_are_here_and_not_under_way_come_again() -> None:
    rows = mixed()
    assert rows.resend(CHAIN, 1, 10) == Resent(requeued=5, pending=5, gone=0)
    assert rows.resend(CHAIN, 1, 10) == Resent(requeued=0, pending=10, gone=0)
    rows = rows_of()
    rows.park_missing(CHAIN, 4)
    assert rows.resend(CHAIN, 4, 4) == Resent(0, 0, 1), "it cannot be read"

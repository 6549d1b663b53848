import pytest

from edge_agent.outbox.base import GapRecord, Hole
from edge_agent.outbox.gaps import GapBook, GapOrder, Lost, RecordLoad, RecordsPlan, Sealed
from edge_agent.outbox.policy import CROWDED_RECORDS

CHAIN = b"chain-id"
OTHER = b"otherone"


def book_of(*ranges: tuple[int, int], keep_sent_s: float | None = None) -> GapBook:
    book = GapBook(keep_sent_s=keep_sent_s)
    book.load(CHAIN, [RecordLoad(number, *ends, None, b"gap") for number, ends in enumerate(ranges, 1)])
    return book


def numbers(records: list[GapRecord]) -> list[int]:
    return [record.number for record in records]


def test_a_record_is_sent_once_and_waits_for_the_ack_that_covers_it() -> None:
    book = book_of((1, 5), (9, 9))
    assert numbers(book.to_send()) == [1, 2]
    assert book.sent(1, 10.0)
    assert numbers(book.to_send()) == [2]
    assert book.unconfirmed == 2
    assert book.stored(CHAIN, 4, []) == 0, "it ends behind what is stored"
    assert book.stored(OTHER, 9, []) == 0
    assert book.stored(CHAIN, 9, [(5, 7)]) == 1, "the receiver misses a row of the first one, not of the second"
    assert numbers(book.all()) == [1]
    assert book.stored(CHAIN, 5, []) == 1
    assert book.unconfirmed == 0
    assert not book.sent(1, 11.0), "a PUBACK that comes after the ack"


def test_an_ack_ends_a_record_that_was_not_even_sent() -> None:
    book = book_of((1, 5))
    assert book.stored(CHAIN, 5, []) == 1
    assert book.to_send() == []


@pytest.mark.parametrize(("first", "last", "again"), [(1, 1, 1), (5, 8, 1), (6, 8, 0), (5, 9, 2), (0, 99, 2)])
def test_who_misses_rows_gets_the_records_about_them_again(first: int, last: int, again: int) -> None:
    book = book_of((1, 5), (9, 9))
    for number in (1, 2):
        book.sent(number, 0.0)
    assert book.resend(OTHER, first, last) == 0
    assert book.resend(CHAIN, first, last) == again
    assert len(book.to_send()) == again


def test_the_end_of_the_connection_or_silence_makes_it_try_again() -> None:
    book = book_of((1, 5), (9, 9))
    book.sent(1, 10.0)
    book.sent(2, 20.0)
    assert book.requeue(30.0, 20.0) == 1
    assert numbers(book.to_send()) == [1]
    assert book.release() == 1
    assert numbers(book.to_send()) == [1, 2]


def test_with_confirm_broker_the_puback_is_the_end_and_the_record_is_kept_for_a_resend() -> None:
    book = book_of((1, 5), keep_sent_s=100.0)
    assert book.unconfirmed == 1
    book.sent(1, 10.0)
    assert book.unconfirmed == 0
    assert book.release() == book.requeue(1e9, 0.0) == 0
    plan = book.plan(109.0)
    assert plan == RecordsPlan({1: 10.0}, ())
    assert book.resend(CHAIN, 3, 3) == 1
    assert numbers(book.to_send()) == [1]
    book.applied(plan)
    assert book.plan(200.0) == RecordsPlan({1: None}, ()), "it is to be sent: it does not age"
    book.sent(1, 110.0)
    assert book.plan(210.0) == RecordsPlan({}, (1,))


def test_the_disk_hears_of_every_change_once() -> None:
    book = book_of((1, 5), (9, 9))
    assert book.plan(0.0) is None
    book.sent(1, 3.0)
    book.stored(CHAIN, 9, [(1, 5)])
    plan = book.plan(4.0)
    assert plan == RecordsPlan({1: 3.0}, (2,))
    book.sent(1, 5.0)
    book.applied(plan)
    assert book.plan(6.0) == RecordsPlan({1: 5.0}, ()), "what changed while it was being written"


def test_salvaged_records_come_in_the_order_of_their_numbers() -> None:
    book = book_of((1, 5), (9, 9))
    book.load(OTHER, [RecordLoad(7, 1, 2, 3.0, b"gap"), RecordLoad(5, 4, 4, None, b"gap")])
    assert numbers(book.all()) == [1, 2, 5, 7]
    assert numbers(book.to_send()) == [1, 2, 5]


def hole(first: int, last: int, reason: str = "evicted") -> Hole:
    return Hole(CHAIN, first, last, b"prev of %d" % first, b"hash of %d" % last, reason)


def given_up(book: GapBook, *ranges: tuple[int, int], needed: frozenset[int] = frozenset()) -> list[GapOrder]:
    """Rows are given up, as the store does it: the records are ordered, signed and taken up."""

    def nobody_needs(_chain: bytes, first: int, last: int) -> bool:
        return needed.isdisjoint(range(first, last + 1))

    orders = book.orders([Lost(1, CHAIN, *ends) for ends in ranges], "evicted", nobody_needs)
    for order in orders:
        whole = hole(order.lost.first, order.lost.last)
        assert order.prev in (None, whole.prev)
        assert order.hash in (None, whole.hash)
        book.replace([Sealed(order, whole, b"gap")])
    return orders


def holes(book: GapBook) -> list[tuple[int, int]]:
    return [(record.first, record.last) for record in book.all()]


def test_rows_that_adjoin_make_one_record() -> None:
    book = book_of()
    (order,) = given_up(book, (3, 4), (1, 2), (5, 5))
    assert (order.lost, order.prev, order.hash, order.replaces) == (Lost(1, CHAIN, 1, 5), None, None, ())
    assert holes(book) == [(1, 5)]
    assert book.plan(0.0) is None, "the transaction of the eviction wrote it"


def test_a_record_that_was_not_sent_grows_at_both_ends() -> None:
    book = book_of()
    given_up(book, (4, 6), (9, 9))
    first, second = (record.number for record in book.all())
    (order,) = given_up(book, (7, 8))
    assert order.lost == Lost(1, CHAIN, 4, 9)
    assert (order.prev, order.hash) == (b"prev of 4", b"hash of 9")
    assert sorted(order.replaces) == [first, second]
    assert order.number not in order.replaces
    assert holes(book) == [(4, 9)]
    assert not book.sent(first, 0.0), "the PUBACK of a smaller record confirms nothing of the larger one"


def test_a_record_that_was_sent_or_has_another_reason_stays_alone() -> None:
    book = book_of()
    book.load(
        CHAIN, [RecordLoad(1, 1, 3, None, b"gap", hole(1, 3)), RecordLoad(2, 7, 9, None, b"gap", hole(7, 9, "corrupt"))]
    )
    book.sent(1, 0.0)
    (order,) = given_up(book, (4, 6))
    assert (order.lost, order.replaces) == (Lost(1, CHAIN, 4, 6), ())
    assert holes(book) == [(1, 3), (7, 9), (4, 6)]


def test_a_record_of_an_earlier_run_grows_too() -> None:
    book = book_of()
    book.load(CHAIN, [RecordLoad(5, 1, 3, None, b"gap", hole(1, 3)), RecordLoad(6, 9, 9, None, b"?", None)])
    (order,) = given_up(book, (4, 8))
    assert (order.number, order.replaces, order.prev, order.hash) == (7, (5,), b"prev of 1", None)
    assert holes(book) == [(9, 9), (1, 8)]


def test_the_number_of_records_is_bounded_by_joining_over_rows_that_nobody_needs() -> None:
    book = book_of()
    for row in range(1, 2 * CROWDED_RECORDS, 2):
        given_up(book, (row, row))
        book.sent(book.all()[-1].number, 0.0)
    assert len(holes(book)) == CROWDED_RECORDS
    given_up(book, (301, 301), needed=frozenset({100}))
    assert holes(book) == [*((row, row) for row in range(1, 100, 2)), (101, 301)]
    assert len(book.to_send()) == 1

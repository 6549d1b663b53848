import pytest

from edge_agent.outbox.base import GapRecord
from edge_agent.outbox.gaps import GapBook, RecordLoad, RecordsPlan

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

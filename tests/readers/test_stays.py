from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.base import RawUid
from edge_agent.readers.stays import LIMIT, Stays

A, B = RawUid(b"\x04aaa"), RawUid(b"\x04bbb")


def test_a_number_that_is_repeated_is_one_stay() -> None:
    stays = Stays(gone_after_s=1.0)
    for tenth in range(50):
        stays.hear(RawUid(b"\x04aaa"), tenth / 10)
        assert stays.next() == (A if tenth == 0 else None)
        assert stays.there(A, tenth / 10 + 0.05)


def test_a_card_has_gone_when_it_was_silent_for_the_time() -> None:
    stays = Stays(gone_after_s=1.0)
    stays.hear(A, 10.0)
    assert stays.next() == A
    assert stays.there(A, 10.99)
    assert not stays.there(A, 11.0)
    stays.hear(A, 11.0)
    assert stays.next() == A, "it came back: another stay"


def test_another_card_is_not_lost_and_does_not_wait_for_the_first_to_fade() -> None:
    stays = Stays(gone_after_s=1.0)
    stays.hear(A, 10.0)
    assert stays.next() == A
    stays.hear(B, 10.1)
    assert not stays.there(A, 10.1)
    assert (stays.next(), stays.next()) == (B, None)
    assert stays.there(B, 10.2)


def test_two_cards_that_lie_there_and_are_read_in_turn_are_two_stays() -> None:
    stays = Stays(gone_after_s=1.0)
    told = []
    for tenth in range(100):
        stays.hear((A, B)[tenth % 2], tenth / 10)
        told.append(stays.next())
    assert [uid for uid in told if uid] == [A, B]


def test_a_card_with_which_nothing_was_done_is_told_again_when_it_is_heard_again() -> None:
    stays = Stays()
    stays.hear(A, 0.0)
    assert stays.next() == A
    stays.forget(A)
    assert stays.next() is None
    stays.hear(A, 0.1)
    assert stays.next() == A


def test_who_waits_is_kept_however_long_it_takes() -> None:
    stays = Stays(gone_after_s=1.0)
    stays.hear(A, 0.0)
    stays.hear(B, 100.0)
    assert (stays.next(), stays.next()) == (A, B)


def test_no_more_than_eight_are_kept_and_who_was_told_of_goes_first() -> None:
    stays = Stays()
    stays.hear(A, 0.0)
    assert stays.next() == A
    for number in range(LIMIT):
        assert stays.hear(RawUid(bytes([number])), 0.1)
    assert not stays.hear(B, 0.1)
    assert [stays.next() for _ in range(LIMIT)] == [RawUid(bytes([number])) for number in range(LIMIT)]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 3)), max_size=60))
def test_a_number_is_told_once_more_exactly_after_a_silence_of_the_time(heard: list[tuple[int, float]]) -> None:
    stays = Stays(gone_after_s=1.0)
    now, last, expected, told = 0.0, {}, [], []
    for number, pause in heard:
        now += pause
        if number not in last or now - last[number] >= 1.0:
            expected.append(number)
        last[number] = now
        stays.hear(RawUid(bytes([number])), now)
        while (uid := stays.next()) is not None:
            told.append(uid.reveal()[0])
    assert told == expected

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.base import Message
from edge_agent.uplink.echo import Echo

STATE = Message("tap/v1/sh/t-1/state", b"{}")


def test_nothing_is_heard_before_something_came() -> None:
    heard = Echo().heard
    assert (heard.puback_at, heard.ack_at, heard.ahead_s) == (None, None, None)


def test_a_round_is_done_when_broker_and_receiver_answered() -> None:
    echo = Echo()
    echo.ask(STATE, 10.0, 1000)
    echo.puback(10.25)
    echo.said(STATE, 10.25)
    assert echo.round is not None
    assert (echo.round.puback_s, echo.round.ack_s) == (0.25, None)
    echo.stored(1007, 10.5, 1000)
    assert (echo.round.ack_s, echo.round.ahead) == (0.5, (6, 8))
    assert (echo.heard.puback_at, echo.heard.ack_at, echo.heard.ahead_s) == (10.25, 10.5, 7)


def test_another_message_and_a_second_ack_do_not_count() -> None:
    echo = Echo()
    echo.ask(STATE, 10.0, 1000)
    echo.said(Message(STATE.topic, STATE.payload), 11.0)
    assert echo.round is not None
    assert echo.round.puback_s is None
    echo.stored(None, 12.0, 1002)
    echo.stored(9999, 13.0, 1003)
    assert (echo.round.ack_s, echo.round.ahead) == (2.0, None)


def test_a_receiver_that_tells_no_time_takes_none_back() -> None:
    echo = Echo()
    echo.stored(1005, 1.0, 1000)
    echo.stored(None, 2.0, 1001)
    assert (echo.heard.ack_at, echo.heard.ahead_s) == (2.0, 5)


def test_what_comes_after_the_end_of_the_connection_is_no_answer() -> None:
    echo = Echo()
    echo.cut()
    echo.ask(STATE, 10.0, 1000)
    echo.cut()
    echo.said(STATE, 11.0)
    echo.stored(1000, 11.0, 1001)
    assert echo.round is not None
    assert echo.round.cut
    assert (echo.round.puback_s, echo.round.ack_s) == (None, None)


@given(
    ours=st.floats(10**6, 10**9),
    ahead=st.floats(-(10**5), 10**5),
    there=st.floats(0, 30),
    back=st.floats(0, 30),
)
def test_the_true_difference_of_the_clocks_is_always_inside(
    ours: float, ahead: float, there: float, back: float
) -> None:
    echo = Echo()
    echo.ask(STATE, 0.0, int(ours))
    echo.stored(int(ours + there + ahead), there + back, int(ours + there + back))
    assert echo.round is not None
    assert echo.round.ahead is not None
    least, most = echo.round.ahead
    assert least - 1e-6 <= ahead <= most + 1e-6
    assert most - least <= there + back + 3

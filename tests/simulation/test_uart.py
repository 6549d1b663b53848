import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.uart import heard_at

BAUDS = (9600, 19200, 38400, 57600, 115200)
bauds = st.sampled_from(BAUDS)


@given(st.binary(max_size=40), bauds)
def test_at_the_same_speed_every_byte_arrives(data: bytes, baud: int) -> None:
    assert heard_at(data, sent=baud, heard=baud) == data


@pytest.mark.parametrize("host", [9504, 9696])
@given(st.binary(min_size=1, max_size=40))
def test_a_clock_that_is_a_percent_off_does_no_harm(host: int, data: bytes) -> None:
    assert heard_at(data, sent=9600, heard=host) == data


@given(st.binary(min_size=1, max_size=40), bauds, bauds)
def test_whoever_listens_faster_than_the_sender_hears_every_byte(data: bytes, one: int, other: int) -> None:
    assert len(heard_at(data, sent=min(one, other), heard=max(one, other))) >= len(data)


@given(st.binary(max_size=40), bauds, bauds)
def test_whoever_listens_more_slowly_hears_no_more_than_was_said(data: bytes, one: int, other: int) -> None:
    assert len(heard_at(data, sent=max(one, other), heard=min(one, other))) <= len(data)


def test_what_arrives_is_what_a_uart_would_sample() -> None:
    # 0x00 is nine low bits, at twice the speed eighteen: a byte of zeros with a wrong stop bit, and no other edge. 0xFF
    # is one low bit: at twice the speed the start bit and a zero, at half the speed over in the middle of a start bit.
    assert heard_at(b"\x00", sent=9600, heard=19200) == b"\x00"
    assert heard_at(b"\xff", sent=9600, heard=19200) == b"\xfe"
    assert heard_at(b"\xff\xff", sent=19200, heard=9600) == b""
    # Low for two bits: a start bit at half the speed.
    assert heard_at(b"\xfe", sent=19200, heard=9600) == b"\xff"

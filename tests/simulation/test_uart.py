import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.simulation.uart import received

SPEEDS = (9600, 19200, 38400, 57600, 115200)


@given(st.binary(max_size=60), st.sampled_from(SPEEDS))
def test_at_the_same_speed_nothing_changes(data: bytes, baud: int) -> None:
    assert received(data, sent_at=baud, read_at=baud) == data


@given(st.binary(max_size=60), st.sampled_from(SPEEDS), st.sampled_from(SPEEDS))
def test_whoever_reads_faster_than_the_sender_gets_every_byte_as_one_or_more(data: bytes, one: int, other: int) -> None:
    heard = received(data, sent_at=min(one, other), read_at=max(one, other))
    assert len(data) <= len(heard) <= 10 * len(data)


@given(st.binary(max_size=60), st.sampled_from(SPEEDS), st.sampled_from(SPEEDS))
def test_whoever_reads_more_slowly_gets_no_more_than_was_said(data: bytes, one: int, other: int) -> None:
    assert len(received(data, sent_at=max(one, other), read_at=min(one, other))) <= len(data)


@pytest.mark.parametrize("read_at", [9504, 9696])
@given(st.binary(max_size=60))
def test_a_clock_that_is_a_percent_off_does_no_harm(read_at: int, data: bytes) -> None:
    assert received(data, sent_at=9600, read_at=read_at) == data


def test_what_is_over_before_the_middle_of_a_start_bit_is_no_byte() -> None:
    assert received(b"\xff\xff", sent_at=19200, read_at=9600) == b""
    assert received(b"\xfe", sent_at=19200, read_at=9600) == b"\xff"  # low for two bits: a start bit at half the speed


@pytest.mark.parametrize(
    ("byte", "heard"),
    [
        # At double speed each level is seen twice: start 00, then the first data bits; worked out on paper.
        (b"\x00", b"\x00"),
        (b"\xff", b"\xfe"),
    ],
)
def test_a_byte_read_at_double_speed(byte: bytes, heard: bytes) -> None:
    assert received(byte, sent_at=9600, read_at=19200) == heard


def test_a_hair_off_is_not_noticed() -> None:
    assert received(b"04A1B2C3\r\n", sent_at=9600, read_at=9700) == b"04A1B2C3\r\n"


def test_a_fast_reader_is_not_understood_by_a_slow_host() -> None:
    frame = b"\x020C000621A58E\x03"
    heard = received(frame, sent_at=115200, read_at=9600)
    assert frame not in heard
    assert len(heard) < len(frame)

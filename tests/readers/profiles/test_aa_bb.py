from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.readers.profiles.aa_bb import MAX_PAYLOAD, AaBb
from edge_agent.readers.profiles.base import FaultKind
from tests.fakes.portions import CUTS, numbers, shown, told

Check = Literal["xor", "sum", "none"]
Length = Literal["payload", "frame"]


def frame(
    payload: bytes,
    *,
    head: bytes = b"\xaa",
    tail: bytes = b"\xbb",
    length: Length = "payload",
    checksum: Check = "xor",
) -> bytes:
    size = len(payload)
    if length == "frame":
        size += len(head) + 2 + (checksum != "none") + len(tail)
    body = bytes([7, size]) + payload
    check = 0
    for byte in body:
        check = check ^ byte if checksum == "xor" else check + byte & 0xFF
    return head + body + (b"" if checksum == "none" else bytes([check])) + tail


payloads = st.binary(min_size=13, max_size=MAX_PAYLOAD)
settings = st.fixed_dictionaries(
    {
        "head": st.binary(min_size=1, max_size=4),
        "tail": st.binary(min_size=1, max_size=4),
        "length": st.sampled_from(["payload", "frame"]),
        "checksum": st.sampled_from(["xor", "sum", "none"]),
    }
)


@pytest.mark.parametrize(
    ("wire", "uid"),
    [
        ("AA 00 06 00 00 16 0F F4 7F 94 BB", "160FF47F"),
        ("AA 00 09 00 00 04 C0 BA 3A 8E 3A 80 79 BB", "04C0BA3A8E3A80"),
    ],
)
def test_the_published_answers_are_read(wire: str, uid: str) -> None:
    assert told(AaBb(), bytes.fromhex(wire)) == [bytes.fromhex(uid)]


def test_the_published_answer_without_a_tag_is_no_number() -> None:
    assert told(AaBb(), bytes.fromhex("AA 00 02 01 83 80 BB")) == [FaultKind.NO_CARD]


def test_the_published_vector_with_another_check_byte_is_refused() -> None:
    assert FaultKind.CHECKSUM in told(AaBb(), bytes.fromhex("AA 00 06 00 00 16 0F F4 7F 95 BB"))


@pytest.mark.parametrize(
    ("payload", "uid"),
    [
        ("160FF47F", "160FF47F"),
        ("0000160FF47F", "160FF47F"),
        ("0100160FF47F", "0100160FF47F"),
        ("0102030405", "0102030405"),
    ],
)
def test_status_and_flag_are_taken_off_where_a_uid_is_left(payload: str, uid: str) -> None:
    assert told(AaBb(), frame(bytes.fromhex(payload))) == [bytes.fromhex(uid)]


@given(settings, st.lists(payloads, min_size=1, max_size=4), CUTS)
def test_any_setting_and_any_portions_give_the_same_numbers(kind: dict, wanted: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(frame(payload, **kind) for payload in wanted)
    assert told(AaBb(**kind), wire, cuts) == wanted


@given(settings, st.binary(max_size=600), CUTS)
def test_any_bytes_in_any_portions_give_the_same_and_raise_nothing(kind: dict, noise: bytes, cuts: list[int]) -> None:
    assert told(AaBb(**kind), noise, cuts) == told(AaBb(**kind), noise)


@given(st.binary(max_size=300).filter(lambda noise: b"\xaa" not in noise), payloads)
def test_noise_without_a_head_hides_nothing(noise: bytes, payload: bytes) -> None:
    assert numbers(AaBb().feed(noise + frame(payload))) == [payload]


GOOD = frame(b"0123456789abc")
false_starts = st.builds(
    lambda noise, address, size: noise + bytes([0xAA, address, size]),
    st.binary(max_size=60),
    st.integers(0, 255),
    st.integers(1, MAX_PAYLOAD),
)


def test_a_good_frame_inside_what_only_seemed_to_be_one_is_found() -> None:
    seeming = bytes([0xAA, 0, len(GOOD)]) + GOOD + b"\x00\xbb"
    assert told(AaBb(), seeming)[:2] == [FaultKind.CHECKSUM, b"0123456789abc"]
    seeming = bytes([0xAA, 0, len(GOOD)]) + GOOD + b"\x00\x00"
    assert told(AaBb(), seeming)[:2] == [FaultKind.FORM, b"0123456789abc"]


def test_a_good_frame_in_one_that_never_ends_is_found_when_the_line_falls_silent() -> None:
    parser = AaBb()
    assert parser.feed(bytes([0xAA, 0, MAX_PAYLOAD]) + GOOD) == []
    assert shown(parser.idle()) == [FaultKind.TORN, b"0123456789abc"]


@given(st.one_of(st.binary(max_size=200), false_starts), payloads)
def test_after_any_noise_a_frame_is_found_when_the_line_falls_silent(noise: bytes, payload: bytes) -> None:
    found = [event for event in told(AaBb(), noise + frame(payload)) if isinstance(event, bytes)]
    # Another number is a frame that noise made whole by chance: one in 65536 of what begins like one.
    assert payload in found or found


@given(st.one_of(st.binary(max_size=200), false_starts), payloads)
def test_after_any_noise_a_frame_is_found_within_the_longest_frame(noise: bytes, payload: bytes) -> None:
    parser = AaBb()
    events = parser.feed(noise + frame(payload) + b"\x00" * parser.max_frame)
    assert numbers(events)


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD + 1, 255])
def test_a_length_that_no_number_has_is_not_waited_for(size: int) -> None:
    assert told(AaBb(), bytes([0xAA, 0, size]) + frame(b"0123456789abc")) == [FaultKind.LENGTH, b"0123456789abc"]


@given(st.data(), payloads, st.sampled_from(["xor", "sum"]))
def test_one_flipped_bit_never_reads_as_a_number_of_its_own(data: st.DataObject, payload: bytes, check: Check) -> None:
    wire = bytearray(frame(payload, checksum=check))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert len(payload) not in {len(number) for number in numbers(AaBb(checksum=check).feed(bytes(wire)))}


@given(settings, st.lists(st.binary(max_size=300), max_size=20))
def test_no_more_than_the_longest_frame_is_held(kind: dict, parts: list[bytes]) -> None:
    parser = AaBb(**kind)
    for part in parts:
        parser.feed(part)
        assert len(parser._buffer) < parser.max_frame
    parser.idle()
    assert len(parser._buffer) == 0


def test_resync_forgets_what_had_begun() -> None:
    parser = AaBb()
    parser.feed(frame(b"0123456789abc")[:8])
    parser.resync()
    assert told(parser, b"") == []

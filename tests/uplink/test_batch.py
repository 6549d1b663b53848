from contextlib import suppress

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.batch import MAX_BATCH_BYTES, decode_batch, encode_batch
from edge_agent.uplink.wire import WireError

SMALL = (
    st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=8)
    | st.text(max_size=4)
    | st.booleans()
    | st.none()
    | st.floats()
)
VALUES = st.recursive(
    SMALL,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=6,
)


def cose(*parts: object) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(18, list(parts)))


TOKENS = (
    st.tuples(VALUES, VALUES, VALUES, VALUES).map(lambda parts: cose(*parts)).filter(lambda token: len(token) <= 248)
)


@given(st.lists(TOKENS, min_size=1, max_size=64))
def test_tokens_come_apart_as_they_were_joined(tokens: list[bytes]) -> None:
    assert decode_batch(encode_batch(tokens)) == tokens


def test_the_largest_batch_fits() -> None:
    token = cose(b"", {}, bytes(161), bytes(64 + 15))
    assert len(token) == 248
    assert decode_batch(encode_batch([token] * 64)) == [token] * 64
    assert len(token) * 64 <= MAX_BATCH_BYTES


@pytest.mark.parametrize("tokens", [[], [cose(1, 2, 3, 4)] * 65, [b""], [b"\x01"], [cose(b"", {}, bytes(245), b"")]])
def test_what_is_no_batch_is_not_joined(tokens: list[bytes]) -> None:
    with pytest.raises(WireError):
        encode_batch(tokens)


GOOD = cose(b"a", {}, b"b", b"c")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "0 bytes"),
        (bytes(MAX_BATCH_BYTES + 1), "16385 bytes"),
        (GOOD * 65, "more than 64 tokens"),
        (GOOD[:-1], "cut short"),
        (GOOD + b"\xd2", "cut short"),
        (GOOD + b"\x00", "no tagged COSE_Sign1"),
        (b"\xd2\x83\x01\x02\x03", "no tagged COSE_Sign1"),
        (b"\xd1\x84\x01\x02\x03\x04", "no tagged COSE_Sign1"),
        (b"\xd2\x84\x5f\x41\x00\xff\xa0\x40\x40", "indefinite"),
        (b"\xd2\x84\x1c\xa0\x40\x40", "reserved"),
        (b"\xd2\x84\x9b" + b"\xff" * 8, "cut short"),
        (b"\xd2\x84\xbb" + b"\xff" * 8, "cut short"),
        (b"\xd2\x84\x5b" + b"\xff" * 8 + b"\x00\x00\x00", "cut short"),
        (b"\xd2\x84\x40\xa0\x58\xf8" + bytes(248) + b"\x40", "255 bytes, at most 248"),
        (b"\xd2\x84" + b"\x81" * 16_000, "cut short"),
        (b"\xd2\x84" + b"\xc1" * 16_000, "cut short"),
    ],
)
def test_a_broken_batch_is_refused_with_its_reason(payload: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        decode_batch(payload)


@given(st.binary(max_size=400) | st.binary(max_size=60).map(lambda tail: GOOD + b"\xd2\x84" + tail))
def test_any_bytes_give_tokens_or_a_reason(payload: bytes) -> None:
    with suppress(WireError):
        assert b"".join(decode_batch(payload)) == payload


@given(st.lists(TOKENS, min_size=1, max_size=3), st.data())
def test_a_cut_is_always_noticed(tokens: list[bytes], data: st.DataObject) -> None:
    payload = encode_batch(tokens)
    ends = {sum(len(token) for token in tokens[:n]) for n in range(len(tokens) + 1)}
    cut = data.draw(
        st.integers(1, len(payload) - 1).filter(lambda end: end not in ends) if len(payload) > 1 else st.nothing()
    )
    with pytest.raises(WireError):
        decode_batch(payload[:cut])

"""Deterministic CBOR: what we write is canonical, what we read we could have written, and cbor2 agrees."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import TokenError
from edge_agent.tokens import cbor

scalars = st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20) | st.booleans() | st.none()
keys = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=20
)


def shallow(value: object) -> bool:
    depth, level = 0, [value]
    while level := [
        inner
        for item in level
        if isinstance(item, list | dict)
        for inner in (item.values() if isinstance(item, dict) else item)
    ]:
        depth += 1
    return depth < cbor.MAX_DEPTH


@given(values.filter(shallow))
def test_what_is_written_is_read_back(value: cbor.CborValue) -> None:
    encoded = cbor.encode(value)
    assert cbor.decode(encoded, 10_000) == value
    assert cbor2.loads(encoded) == value


@given(st.binary(max_size=64))
def test_whatever_is_accepted_could_have_been_written(data: bytes) -> None:
    try:
        value = cbor.decode(data, 64)
    except TokenError:
        return
    if isinstance(value, cbor.Tagged):
        assert b"\xd2" + cbor.encode(value.value) == data
    else:
        assert cbor.encode(value) == data


@given(values.filter(shallow), st.data())
def test_changed_bytes_are_refused_or_mean_something_else(value: cbor.CborValue, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        other = cbor.decode(bytes(encoded), 10_000)
    except TokenError:
        return
    assert repr(other) != repr(value)


@given(st.dictionaries(keys, st.integers(0, 3), max_size=8))
def test_keys_are_written_in_bytewise_order_of_their_encoding(mapping: dict[int | str, int]) -> None:
    encoded = cbor.encode(mapping)
    order = [cbor2.dumps(key) for key in cbor2.loads(encoded)]
    assert order == sorted(order)


def test_bytewise_order_is_not_length_first_order() -> None:
    # RFC 8949, 4.2.1 puts 0x1818 (24) before 0x20 (-1); the older RFC 7049 canonical form does not.
    assert cbor.encode({-1: 0, 24: 0}) == bytes.fromhex("a2 1818 00 20 00")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "cut off"),
        ("1801", "shortest"),
        ("190018", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("5801ff", "shortest"),
        ("9f01ff", "indefinite"),
        ("bf0101ff", "indefinite"),
        ("5f4101ff", "indefinite"),
        ("1c", "reserved"),
        ("a201010102", "twice"),
        ("a202000100", "out of order"),
        ("a1f500", "neither an integer nor text"),
        ("a1410000", "neither an integer nor text"),
        ("a1800000", "levels"),
        ("f90000", "not allowed"),
        ("fb3ff0000000000000", "not allowed"),
        ("f7", "not allowed"),
        ("f8ff", "not allowed"),
        ("ff", "not allowed"),
        ("c11a00000000", "tag 1 "),
        ("c5821b00000000ffffffff01", "tag 5 "),
        ("d2d280", "tag 18 "),
        ("81d280", "tag 18 "),
        ("61ff", "UTF-8"),
        ("62c328", "UTF-8"),
        ("420001ff", "follow"),
        ("4400", "promised"),
        ("9b7fffffffffffffff", "promised"),
        ("bb7fffffffffffffff", "promised"),
        ("5b7fffffffffffffff", "promised"),
        ("81" * 9 + "00", "levels"),
    ],
)
def test_what_the_writer_would_not_write_is_refused(data: str, why: str) -> None:
    with pytest.raises(TokenError, match=why) as caught:
        cbor.decode(bytes.fromhex(data), 300)
    assert caught.value.verdict == "malformed"


def test_a_deep_nest_and_a_long_input_end_quickly() -> None:
    with pytest.raises(TokenError, match="levels"):
        cbor.decode(b"\x81" * 16_000 + b"\x00", 20_000)
    with pytest.raises(TokenError, match="at most 248"):
        cbor.decode(b"\x00" * 249, 248)


@pytest.mark.parametrize(
    "value", [1.5, 2**64, -(2**64) - 1, {b"x": 1}, {True: 1}, {2**64: 1}, (1, 2), cbor2.CBORTag(1, 0)]
)
def test_what_the_contract_has_no_use_for_is_not_written(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        cbor.encode(value)


def test_the_writer_has_the_depth_limit_of_the_reader() -> None:
    value: cbor.CborValue = 0
    for _ in range(cbor.MAX_DEPTH):
        value = [value]
    assert cbor.decode(cbor.encode(value), 99) == value
    with pytest.raises(ValueError, match="levels"):
        cbor.encode([value])


@given(st.binary(max_size=300))
def test_bstr_is_the_byte_string_of_cbor2(content: bytes) -> None:
    assert cbor.bstr(content) == cbor2.dumps(content)


def test_bstr_has_a_ceiling() -> None:
    assert cbor.bstr(bytes(0xFFFF)) == cbor2.dumps(bytes(0xFFFF))
    with pytest.raises(ValueError, match="65536"):
        cbor.bstr(bytes(0x10000))

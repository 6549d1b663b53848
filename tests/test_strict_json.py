import pytest

from edge_agent.strict_json import WireError, dump_object, load_object, take_text


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xff{}", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":1,"a":2}', "duplicate keys"),
        (b'{"a":{"b":1,"b":1}}', "duplicate keys"),
        (b'{"a":NaN}', "NaN is no JSON number"),
        (b'{"a":-Infinity}', "-Infinity is no JSON number"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 9_000, "nested too deeply|not JSON"),
        (b'{"a":' * 1500 + b"1" + b"}" * 1500, "nested too deeply"),
        (b" " * 10_001, "10001 bytes, at most 10000 are allowed"),
    ],
)
def test_what_is_refused_and_why(payload: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        load_object(payload, max_bytes=10_000)


def test_what_is_allowed() -> None:
    assert load_object(b' {"a": 1.5, "b": {}} ', max_bytes=21) == {"a": 1.5, "b": {}}


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": float("inf")}, {"a": b""}, {"a": "\ud800"}])
def test_what_is_no_json_is_not_written(value: dict[str, object]) -> None:
    with pytest.raises(WireError, match="cannot be JSON"):
        dump_object(value, max_bytes=100)


def test_depth_is_limited_the_same_way_in_both_directions() -> None:
    def nested(depth: int) -> dict[str, object]:
        value: dict[str, object] = {}
        for _ in range(depth - 1):
            value = {"a": value}
        return value

    assert load_object(dump_object(nested(8), max_bytes=100), max_bytes=100) == nested(8)
    with pytest.raises(WireError, match="nested too deeply"):
        dump_object(nested(9), max_bytes=100)
    with pytest.raises(WireError, match="nested too deeply"):
        load_object(b'{"a":' * 8 + b"[]" + b"}" * 8, max_bytes=100)
    with pytest.raises(WireError, match="nested too deeply"):
        dump_object(nested(100_000), max_bytes=100)


def test_what_is_too_large_is_not_written() -> None:
    assert dump_object({"a": "xx"}, max_bytes=10) == b'{"a":"xx"}'
    with pytest.raises(WireError, match="11 bytes, at most 10"):
        dump_object({"a": "xxx"}, max_bytes=10)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(WireError, match="a is missing"):
        take_text({}, "a", longest=5)

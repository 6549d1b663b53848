import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.wire import (
    Ack,
    Alarm,
    Command,
    Health,
    Response,
    ResponseStatus,
    Result,
    State,
    StateWord,
    WireError,
)

SEQ = st.integers(1, 2**64 - 1)
UNIX = st.integers(0, 2**40)
LINE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=60)
NAMES = st.dictionaries(st.text("abc-1", min_size=1, max_size=8), LINE, max_size=4)
WORD = st.from_regex(r"[a-z][a-z0-9_-]{0,15}", fullmatch=True)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("abc", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def acks(draw: st.DrawFn) -> Ack:
    ends = sorted(draw(st.sets(SEQ, max_size=128)))
    pairs = tuple(zip(ends[::2], ends[1::2], strict=False))
    through = draw(st.integers(pairs[-1][1] if pairs else 0, 2**64 - 1))
    return Ack(draw(st.binary(min_size=8, max_size=8)), through, pairs, draw(st.none() | UNIX))


@given(acks())
def test_ack_comes_back(ack: Ack) -> None:
    assert Ack.decode(ack.encode()) == ack


def test_ack_is_what_the_contract_shows() -> None:
    ack = Ack(bytes.fromhex("0123456789abcdef"), 9, ((2, 3), (5, 5)))
    assert ack.encode() == b'{"chain":"0123456789abcdef","through":9,"missing":[[2,3],[5,5]]}'


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chain": "0123456789ABCDEF"}, "chain is not 8 bytes in lowercase hex"),
        ({"chain": "0123456789abcde"}, "chain is not 8 bytes"),
        ({"chain": "0123456789abcdeg"}, "chain is not 8 bytes"),
        ({"chain": 5}, "chain is not of type str"),
        ({"through": -1}, "through is out of range"),
        ({"through": 2**64}, "through is out of range"),
        ({"through": True}, "through is not of type int"),
        ({"through": 9.0}, "through is not of type int"),
        ({"through": None}, "through is not of type int"),
        ({"missing": {}}, "missing is not of type list"),
        ({"missing": [[1]]}, "no pair"),
        ({"missing": [[1, 2, 3]]}, "no pair"),
        ({"missing": [[1, "2"]]}, "no pair"),
        ({"missing": [[True, 2]]}, "no pair"),
        ({"missing": [[0, 1]]}, "not ascending"),
        ({"missing": [[3, 2]]}, "not ascending"),
        ({"missing": [[2, 3], [3, 4]]}, "not ascending"),
        ({"missing": [[4, 5], [1, 2]]}, "not ascending"),
        ({"missing": [[9, 10]]}, "not ascending"),
        ({"missing": [[n, n] for n in range(1, 66)]}, "65 items"),
    ],
)
def test_a_wrong_ack_is_refused_with_its_reason(changes: dict[str, Any], why: str) -> None:
    right = {"chain": "0123456789abcdef", "through": 9, "missing": []}
    Ack.decode(json.dumps(right).encode())
    with pytest.raises(WireError, match=why):
        Ack.decode(json.dumps(right | changes).encode())


def test_an_ack_that_nobody_could_decode_is_not_encoded() -> None:
    with pytest.raises(WireError, match="not ascending"):
        Ack(bytes(8), 5, ((4, 6),)).encode()
    with pytest.raises(WireError, match="65 items"):
        Ack(bytes(8), 999, tuple((n, n) for n in range(1, 66))).encode()


def test_64_holes_of_the_longest_numbers_fit() -> None:
    top = 2**64 - 1
    ack = Ack(bytes(8), top, tuple((top - 200 + 2 * n, top - 200 + 2 * n) for n in range(64)))
    assert Ack.decode(ack.encode()) == ack


@given(
    st.builds(
        Result,
        cti=st.binary(min_size=16, max_size=16),
        outcome=WORD,
        text=st.none() | LINE,
        amount=st.none() | st.integers(0, 10**9),
    )
)
def test_result_comes_back(result: Result) -> None:
    assert Result.decode(result.encode()) == result


@given(
    st.builds(
        State,
        state=st.sampled_from(StateWord),
        session=st.binary(min_size=8, max_size=8).map(bytes.hex),
        version=LINE,
        kid=st.binary(min_size=8, max_size=8),
        chain=st.binary(min_size=8, max_size=8),
        next_seq=SEQ,
        config=st.just("") | LINE,
        screens=NAMES,
        readers=NAMES,
        at=UNIX,
    )
)
def test_state_comes_back(state: State) -> None:
    assert State.decode(state.encode()) == state


@given(
    st.builds(
        Health,
        at=UNIX,
        up=UNIX,
        components=NAMES,
        figures=st.dictionaries(WORD, st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=5),
    )
)
def test_health_comes_back_or_is_too_large(health: Health) -> None:
    with suppress(WireError):
        payload = health.encode()
        assert len(payload) <= 1024
        assert Health.decode(payload) == health


def test_health_beyond_a_kibibyte_is_not_sent() -> None:
    Health(1, 2, {"r": "ok"}).encode()
    with pytest.raises(WireError, match="at most 1024"):
        Health(1, 2, {str(number): "x" * 60 for number in range(16)}).encode()


@given(st.builds(Alarm, code=WORD, text=LINE, at=UNIX, data=st.dictionaries(WORD, JSON_VALUE, max_size=3)))
def test_alarm_comes_back(alarm: Alarm) -> None:
    assert Alarm.decode(alarm.encode()) == alarm


@given(st.builds(Command, name=WORD, id=LINE, exp=UNIX, args=st.dictionaries(WORD, JSON_VALUE, max_size=3)))
def test_command_comes_back(command: Command) -> None:
    assert Command.decode(f"cmd/{command.name}", command.encode()) == command


@given(st.builds(Response, id=LINE, status=st.sampled_from(ResponseStatus), code=WORD, detail=st.just("") | LINE))
def test_response_comes_back(response: Response) -> None:
    assert Response.decode(response.encode()) == response


@pytest.mark.parametrize("suffix", ["cmd", "cmd/", "cmd/UP", "cmd/a/b", "res/a", "cmd/" + "a" * 33, ""])
def test_a_command_has_a_proper_name(suffix: str) -> None:
    with pytest.raises(WireError, match="not a command topic"):
        Command.decode(suffix, b'{"id":"1","exp":1,"args":{}}')


FIELDS = [
    "chain",
    "through",
    "missing",
    "cti",
    "outcome",
    "text",
    "amount",
    "state",
    "at",
    "up",
    "figures",
    "id",
    "code",
]
DECODERS = [Ack.decode, Result.decode, State.decode, Health.decode, Alarm.decode, Response.decode]


@given(st.sampled_from(DECODERS), st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_bytes_give_a_value_or_a_reason(decode: Any, payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(payload)
    assert caught.value.text


@given(
    st.sampled_from(DECODERS),
    st.dictionaries(
        st.sampled_from(FIELDS),
        JSON_VALUE,
    ),
)
def test_any_object_gives_a_value_or_a_reason(decode: Any, value: dict[str, Any]) -> None:
    with suppress(WireError):  # and no other error
        assert decode(json.dumps(value).encode()) is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\nb", "control characters"),
        ("a\x1b[2J", "control characters"),
        ("a\u2028b", "control characters"),
        ("a" * 161, "161 characters"),
        ("", "0 characters"),
    ],
)
def test_text_for_the_screen_is_one_line(text: str, why: str) -> None:
    with pytest.raises(WireError, match=why):
        Result.decode(json.dumps({"cti": "00" * 16, "outcome": "reward", "text": text}).encode())


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(WireError, match="control characters"):
        Result.decode(b'{"cti":"' + b"00" * 16 + b'","outcome":"x","text":"\\ud800"}')


def test_persian_text_may_use_its_joiner() -> None:
    result = Result(bytes(16), "reward", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645")
    assert Result.decode(result.encode()) == result

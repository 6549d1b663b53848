import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox.base import Resent
from edge_agent.strict_json import WireError
from edge_agent.uplink.resend import ResendArgs, told
from edge_agent.uplink.wire import MAX_SEQ, Command

SEQ = st.integers(1, MAX_SEQ)


@given(st.binary(min_size=8, max_size=8), SEQ, SEQ)
def test_arguments_survive_the_way_in_a_command(chain: bytes, one: int, other: int) -> None:
    args = ResendArgs(chain, min(one, other), max(one, other))
    command = Command("resend", "1", 1, args.encode())
    assert ResendArgs.decode(Command.decode("cmd/resend", command.encode()).args) == args


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain": "00"}, "chain"),
        ({"chain": "C0FFEE0123456789"}, "chain"),
        ({"chain": 1}, "chain"),
        ({"from": 0}, "from"),
        ({"from": True}, "from"),
        ({"from": 5, "to": 4}, "to"),
        ({"to": 2**64}, "to"),
        ({"to": "9"}, "to"),
        ({"from": None}, "from"),
    ],
)
def test_anything_else_is_refused_by_name(change: dict[str, object], words: str) -> None:
    args = {"chain": "c0ffee0123456789", "from": 4, "to": 7} | change
    with pytest.raises(WireError, match=words):
        ResendArgs.decode(args)
    with pytest.raises(WireError, match="missing"):
        ResendArgs.decode({key: value for key, value in args.items() if key not in change})


def test_the_answer_counts_all_rows() -> None:
    assert told(Resent(120, 3, 0)) == "120 again, 3 pending, 0 gone"

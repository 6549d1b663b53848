from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.base import Received
from edge_agent.uplink.inbox import Inbox
from edge_agent.uplink.topics import Topics
from edge_agent.uplink.wire import Ack, Command, Result

TOPICS = Topics("sh", "t-1")


def inbox_into(got: list[object]) -> Inbox:
    return Inbox(
        TOPICS, on_ack=got.append, on_result=got.append, on_command=got.append, on_state=lambda *said: got.append(said)
    )


def test_each_kind_finds_its_way() -> None:
    got: list[object] = []
    inbox = inbox_into(got)
    sent = [Ack(bytes(8), 1), Result(bytes(16), "ok"), Command("rebirth", "1", 1)]
    for topic, message in zip((TOPICS.ack, TOPICS.result, TOPICS.cmd("rebirth")), sent, strict=True):
        inbox.take(Received(topic, message.encode(), qos=1))
    assert got == sent
    assert inbox.dropped == 0


TOPIC = st.sampled_from([TOPICS.ack, TOPICS.result, TOPICS.cmd("x"), TOPICS.cmd("X"), TOPICS.state, ""]) | st.text(
    max_size=30
)


@given(TOPIC, st.binary(max_size=100))
def test_anything_else_is_dropped_and_counted(topic: str, payload: bytes) -> None:
    got: list[object] = []
    inbox = inbox_into(got)
    inbox.take(Received(topic, payload, qos=1))
    assert (got, inbox.dropped) == ([], 1)


def test_a_message_for_another_terminal_is_not_ours() -> None:
    got: list[object] = []
    inbox = inbox_into(got)
    inbox.take(Received(Topics("sh", "t-2").ack, Ack(bytes(8), 1).encode(), qos=1))
    assert (got, inbox.dropped) == ([], 1)

import json

from edge_agent.cloud.base import Stream
from edge_agent.cloud.holes import AskAgain
from edge_agent.cloud.resending import EXPIRY_S, Orders
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import Command

STREAM = Stream("sh", "sh-1-a", b"chain--1")
UNIX = 1_790_000_000.75


def test_an_order_is_a_command_of_the_contract_that_ends_by_itself() -> None:
    orders, sent = Orders(), list[Message]()
    orders.add(AskAgain(STREAM, 4, 6), 10.0, UNIX)
    assert orders.send(lambda message: not sent.append(message), 11.0)
    (message,) = sent
    assert (message.topic, message.qos, message.expiry_s) == ("tap/v1/sh/sh-1-a/cmd/resend", 1, EXPIRY_S)
    command = Command.decode("cmd/resend", message.payload)
    assert command.exp == int(UNIX) + EXPIRY_S
    assert command.args == {"chain": STREAM.chain.hex(), "from": 4, "to": 6}


def test_no_two_orders_share_an_id() -> None:
    orders, sent = Orders(), list[Message]()
    for _ in range(200):
        orders.add(AskAgain(STREAM, 4, 6), 10.0, UNIX)
    orders.send(lambda message: not sent.append(message), 11.0)
    assert len({json.loads(message.payload)["id"] for message in sent}) == 200


def test_what_finds_no_room_waits_for_it_and_in_order() -> None:
    orders, sent = Orders(), list[int]()
    for seq in (1, 2, 3):
        orders.add(AskAgain(STREAM, seq, seq), 10.0, UNIX)
    assert not orders.send(lambda _message: False, 11.0)
    assert orders.send(lambda message: not sent.append(json.loads(message.payload)["args"]["from"]), 12.0)
    assert sent == [1, 2, 3]
    assert orders.dropped == 0


def test_what_waited_too_long_or_is_too_much_is_dropped_and_counted() -> None:
    orders, sent = Orders(), list[Message]()
    orders.add(AskAgain(STREAM, 1, 1), 10.0, UNIX)
    assert orders.send(lambda message: not sent.append(message), 10.0 + EXPIRY_S)
    assert (sent, orders.dropped) == ([], 1)
    for seq in range(1, 1202):
        orders.add(AskAgain(STREAM, seq, seq), 100.0, UNIX)
    orders.send(lambda message: not sent.append(message), 101.0)
    assert (len(sent), orders.dropped) == (1000, 202)

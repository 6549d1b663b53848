"""What a person must hear of waits for an uplink and is said once."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from edge_agent.alarms import WAITING, Alarms
from edge_agent.outbox.base import Notice
from edge_agent.uplink.base import Message
from edge_agent.uplink.publisher import Publisher
from edge_agent.uplink.wire import Alarm


class Uplink:
    """Takes alarms as the publisher does, once it is there."""

    def __init__(self) -> None:
        self.there = False
        self.said: list[str] = []

        self.heard: list[Alarm] = []
        self.unheard: list[Message] = []

    def alarm(self, code: str, text: str, data: dict[str, Any]) -> None:
        self.heard.append(Alarm.decode(Alarm(code, text, 0, data).encode()))
        self.said.append(code)

    def unheard_alarms(self) -> list[Message]:
        return self.unheard

    def alarm_again(self, message: Message) -> None:
        self.said.append(message.payload.decode())

    def publisher(self) -> Publisher | None:
        return cast("Publisher", self) if self.there else None


def notice(code: str = "outbox_full") -> Notice:
    return Notice(code, "taps cannot be kept", {"fault": "full"})


def test_before_the_uplink_is_there_alarms_wait_in_order_and_then_each_is_said_once() -> None:
    uplink = Uplink()
    alarms = Alarms(uplink.publisher)
    with capture_logs() as logs:
        alarms.tell(notice("one"))
        alarms.tell(notice("two"))
    assert [entry["code"] for entry in logs] == ["one", "two"], "the log has them at once"
    uplink.there = True
    alarms.deliver()
    alarms.tell(notice("three"))
    alarms.deliver()
    assert uplink.said == ["one", "two", "three"]


def test_those_that_wait_are_bounded_and_the_oldest_go() -> None:
    uplink = Uplink()
    alarms = Alarms(uplink.publisher)
    with capture_logs():
        for number in range(WAITING + 5):
            alarms.tell(notice(f"n{number}"))
    uplink.there = True
    alarms.deliver()
    assert uplink.said == [f"n{number}" for number in range(5, WAITING + 5)]


def test_one_that_is_not_of_the_contract_is_logged_and_stops_no_other() -> None:
    uplink = Uplink()
    uplink.there = True
    alarms = Alarms(uplink.publisher)
    with capture_logs() as logs:
        alarms.tell(notice("No Code"))
        alarms.tell(notice())
    assert "alarm_not_valid" in [entry["event"] for entry in logs]
    assert uplink.said == ["outbox_full"]


@pytest.mark.parametrize("char", ["x", "电", "\n", "\\", "\u202e"])
@pytest.mark.parametrize("data", [{"path": "y" * 4000}, {"fault": "full"}])
def test_none_is_lost_for_being_too_long_or_not_of_one_line(char: str, data: dict[str, int | str]) -> None:
    uplink = Uplink()
    uplink.there = True
    Alarms(uplink.publisher).tell(Notice("outbox_full", "taps cannot be kept: " + char * 2000, data))
    (heard,) = uplink.heard
    assert heard.text.startswith("taps cannot be kept: ")
    assert heard.text.endswith("...")
    assert heard.data == ({"fault": "full"} if "fault" in data else {})


def test_one_without_a_text_says_its_code() -> None:
    uplink = Uplink()
    uplink.there = True
    Alarms(uplink.publisher).tell(Notice("outbox_full", "", {}))
    assert uplink.heard[0].text == "outbox_full"


def test_what_an_uplink_had_not_delivered_when_it_ended_is_said_by_the_next_one_first() -> None:
    first, second = Uplink(), Uplink()
    of_the_moment = [first]

    def uplink() -> Publisher | None:
        return of_the_moment[-1].publisher()

    alarms = Alarms(uplink)
    first.there = True
    alarms.tell(notice("one"))
    first.unheard = [Message("alarm", b"one")]
    alarms.take_back(first.unheard_alarms())
    of_the_moment.append(second)
    alarms.tell(notice("two"))
    second.there = True
    alarms.deliver()
    alarms.deliver()
    assert second.said == ["one", "two"]

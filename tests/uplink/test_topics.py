import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.topics import ParsedTopic, Topics, parse_topic, receiver_filter
from edge_agent.uplink.wire import WireError

IDS = st.from_regex(r"[a-z0-9-]{1,24}", fullmatch=True)


def test_the_names_of_the_contract() -> None:
    topics = Topics("sh", "sh-000123-a")
    prefix = "tap/v1/sh/sh-000123-a"
    assert topics.evt_tap == f"{prefix}/evt/tap"
    assert topics.evt_batch == f"{prefix}/evt/batch"
    assert topics.evt_alarm == f"{prefix}/evt/alarm"
    assert topics.state == f"{prefix}/state"
    assert topics.tele_health == f"{prefix}/tele/health"
    assert topics.cmd("show") == f"{prefix}/cmd/show"
    assert topics.res("show") == f"{prefix}/res/show"
    assert topics.subscriptions == (f"{prefix}/ack", f"{prefix}/result", f"{prefix}/cmd/+", f"{prefix}/state")
    assert receiver_filter("g") == "$share/g/tap/v1/+/+/evt/#"


@given(IDS, IDS)
def test_a_topic_comes_apart_as_it_was_built(fleet: str, terminal: str) -> None:
    topics = Topics(fleet, terminal)
    assert parse_topic(topics.evt_tap) == ParsedTopic(fleet, terminal, "evt/tap")
    assert parse_topic(topics.ack) == ParsedTopic(fleet, terminal, "ack")
    assert topics.evt_batch.count("/") <= 7


@pytest.mark.parametrize("wrong", ["", "UP", "a" * 25, "a/b", "+", "#", "a_b", "ä", "a\n"])
def test_an_id_that_could_break_a_topic_is_refused(wrong: str) -> None:
    with pytest.raises(WireError, match="terminal"):
        Topics("sh", wrong)
    with pytest.raises(WireError, match="fleet"):
        Topics(wrong, "t")


@pytest.mark.parametrize(
    "wrong",
    ["", "tap", "tap/v1/sh/t", "tap/v2/sh/t/ack", "x/v1/sh/t/ack", "tap/v1//t/ack", "tap/v1/sh/t/", "tap/v1/S/t/ack"],
)
def test_a_topic_of_others_is_refused(wrong: str) -> None:
    with pytest.raises(WireError):
        parse_topic(wrong)


@given(st.text(max_size=80))
def test_any_text_gives_a_topic_or_a_reason(text: str) -> None:
    with pytest.raises(WireError):
        parse_topic(text)

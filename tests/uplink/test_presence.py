from edge_agent.uplink.presence import Presence
from edge_agent.uplink.topics import Topics
from edge_agent.uplink.wire import State, StateWord


def state(word: StateWord, session: str) -> State:
    return State(word, session, "0.1.0", bytes(8), bytes(8), 1, "", {}, {}, 0)


def test_will_and_birth_and_end_share_a_session_and_each_attempt_has_its_own() -> None:
    presence = Presence(Topics("sh", "t-1"), state)
    messages = [presence.will(), presence.online(), presence.stopped(), presence.will(), presence.online()]
    assert all((message.retain, message.qos, message.topic) == (True, 1, "tap/v1/sh/t-1/state") for message in messages)
    said = [State.decode(message.payload) for message in messages]
    assert [one.state.value for one in said] == ["lost", "online", "stopped", "lost", "online"]
    first, second = {one.session for one in said[:3]}, {one.session for one in said[3:]}
    assert len(first) == len(second) == 1
    assert first != second
    assert presence.session in second


def test_it_knows_every_session_that_it_ever_had_and_no_other() -> None:
    presence, other = (Presence(Topics("sh", "t-1"), state) for _ in range(2))
    for _ in range(3000):
        presence.will()
        assert presence.is_ours(presence.session)
    other.will()
    assert not presence.is_ours(other.session)
    first = Presence(Topics("sh", "t-1"), state)
    session = State.decode(first.will().payload).session
    for _ in range(3000):
        first.will()
    assert first.is_ours(session)

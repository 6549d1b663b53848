from edge_agent.clock import FakeClock
from edge_agent.models import StoredTap, Tap, TapFacts, TapMode
from edge_agent.trace import LIMIT, TapTimes, Trace

CHAIN = b"chain-id"


def commit(trace: Trace, seq: int, seen: float, committed: float, chain: bytes = CHAIN) -> None:
    facts = TapFacts(mode=TapMode.PHONE_APP, reader="r0", nonce=b"nonce-01", seen_at=seen)
    tap = Tap(facts=facts, at=FakeClock().read(), ttl=90)
    trace.committed(tap, StoredTap(chain=chain, seq=seq, token=b"t", exp=0, committed_at=committed))


def test_a_tap_collects_all_its_steps() -> None:
    told: list[dict[str, float]] = []
    trace = Trace(lambda times: told.append(times.latency_ms()))
    trace.reading_shown(10.005)
    commit(trace, 1, seen=10.0, committed=10.050)
    trace.on_sent(CHAIN, 1, 1, 10.060)
    trace.on_stored(CHAIN, 1, 10.070)
    assert told[-1] == {
        "seen_to_reading_cue": 5.0,
        "seen_to_committed": 50.0,
        "seen_to_puback": 60.0,
        "seen_to_stored": 70.0,
    }
    assert len(told) == 3


def test_a_reading_cue_without_a_tap_is_not_given_to_the_next_phone() -> None:
    trace = Trace()
    trace.reading_shown(5.0)
    commit(trace, 1, seen=10.0, committed=10.050)
    trace.reading_shown(20.001)
    commit(trace, 2, seen=20.0, committed=20.050)
    assert [t.reading for t in trace.recent()] == [None, 20.001]


def test_a_cue_that_leaves_after_the_commit_is_still_the_taps() -> None:
    trace = Trace()
    commit(trace, 1, seen=10.0, committed=10.050)
    trace.reading_shown(10.060)
    commit(trace, 2, seen=11.0, committed=11.050)
    trace.reading_shown(12.0)
    assert [t.reading for t in trace.recent()] == [10.060, None]


def test_confirmations_of_other_chains_and_repeats_change_nothing() -> None:
    told: list[TapTimes] = []
    trace = Trace(told.append)
    commit(trace, 1, seen=1.0, committed=2.0)
    trace.on_sent(b"other-id", 1, 9, 3.0)
    assert len(told) == 1
    trace.on_sent(CHAIN, 1, 9, 3.0)
    trace.on_sent(CHAIN, 1, 9, 4.0)
    assert [t.sent for t in trace.recent()] == [3.0]
    assert len(told) == 2


def test_only_the_last_taps_are_kept() -> None:
    trace = Trace()
    for seq in range(1, LIMIT + 11):
        commit(trace, seq, seen=1.0, committed=2.0)
    assert len(trace.recent(10_000)) == LIMIT
    assert [t.seq for t in trace.recent(2)] == [LIMIT + 9, LIMIT + 10]

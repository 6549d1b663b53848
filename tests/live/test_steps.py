import json

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.live.steps import CUE_WITHIN_S, EARLY_LIMIT, MAX_BYTES, StepName, StepRing

CHAIN = b"chain-id"


def names(ring: StepRing, after: int = 0) -> list[str]:
    return [step.name.value for step in ring.after(after)]


def test_the_steps_of_a_visit_are_told_in_order_with_the_time_since_it_began() -> None:
    ring = StepRing()
    visit = ring.begin("nfc0", 10.0, technology="iso_dep", sak=0x20, uid_bytes=4)
    ring.tell(visit, StepName.ATS, 10.004, ats=bytes.fromhex("0578807002"))
    ring.token(visit, 10.040, CHAIN, 7)
    assert [step.as_json(12.0) for step in ring.after(0)] == [
        {"n": 1, "visit": 1, "where": "nfc0", "step": "seen", "at_ms": 0.0, "age_s": 2.0}
        | {"technology": "iso_dep", "sak": 32, "uid_bytes": 4},
        {"n": 2, "visit": 1, "where": "nfc0", "step": "ats", "at_ms": 4.0, "age_s": 2.0, "ats": "0578807002"},
        {"n": 3, "visit": 1, "where": "nfc0", "step": "token", "at_ms": 40.0, "age_s": 1.96}
        | {"chain": CHAIN.hex(), "seq": 7},
    ]


def test_what_a_phone_sent_is_told_as_hex_of_bounded_length() -> None:
    ring = StepRing()
    ring.tell(ring.begin("nfc0", 1.0), StepName.ATS, 1.0, ats=bytes(range(256)))
    told = ring.after(1)[0].as_json(1.0)
    assert told["ats"] == bytes(range(MAX_BYTES)).hex()


def test_sent_and_stored_find_their_visit_and_are_told_once() -> None:
    ring = StepRing()
    first, second = ring.begin("nfc0", 1.0), ring.begin("nfc1", 1.5)
    ring.token(first, 2.0, CHAIN, 1)
    ring.token(second, 2.0, CHAIN, 2)
    for _ in range(2):
        ring.went_on(CHAIN, 1, StepName.SENT, 3.0)
        ring.went_on(CHAIN, 1, StepName.STORED, 4.0)
    told = [(step.visit, step.where, step.name) for step in ring.after(4)]
    assert told == [(first, "nfc0", StepName.SENT), (first, "nfc0", StepName.STORED)]


def test_a_phone_that_comes_back_for_its_token_hears_what_became_of_it_meanwhile() -> None:
    ring = StepRing()
    ring.token(ring.begin("nfc0", 1.0), 2.0, CHAIN, 1)
    ring.went_on(CHAIN, 1, StepName.SENT, 3.0)
    ring.went_on(CHAIN, 1, StepName.STORED, 4.0)
    back, known = ring.begin("nfc0", 5.0), ring.newest
    ring.token(back, 5.1, CHAIN, 1, again=True)
    ring.went_on(CHAIN, 1, StepName.STORED, 4.0)
    assert [(step.visit, step.name.value) for step in ring.after(known)] == [
        (back, "token"),
        (back, "sent"),
        (back, "stored"),
    ]


def test_a_broker_that_is_quicker_than_the_reader_tells_is_told_after_the_token() -> None:
    ring = StepRing()
    visit = ring.begin("nfc0", 1.0)
    ring.went_on(CHAIN, 1, StepName.SENT, 2.0)
    assert names(ring) == ["seen"]
    ring.token(visit, 1.9, CHAIN, 1)
    assert names(ring) == ["seen", "token", "sent"]


def test_a_backlog_that_nobody_here_brought_is_not_told_and_not_kept() -> None:
    ring = StepRing()
    for seq in range(1000):
        ring.went_on(CHAIN, seq, StepName.STORED, 1.0)
    assert ring.newest == 0
    assert len(ring._early) == EARLY_LIMIT


def test_a_cue_belongs_to_the_phone_that_came_just_before_and_to_nobody_later() -> None:
    ring = StepRing()
    ring.cue("serial0", "invite", 0.5)
    visit = ring.begin("nfc0", 1.0)
    ring.cue("serial0", "reading", 1.1)
    ring.cue("serial0", "reading", 1.2)  # the same again is no news
    ring.cue("web0", "reading", 1.3)
    ring.cue("serial0", "invite", 1.1 + CUE_WITHIN_S)
    cues = [(step.visit, step.facts["screen"], step.facts["cue"]) for step in ring.after(0) if step.name == "cue"]
    assert cues == [
        (0, "serial0", "invite"),
        (visit, "serial0", "reading"),
        (visit, "web0", "reading"),
        (0, "serial0", "invite"),
    ]


def test_whoever_follows_is_woken_by_each_step() -> None:
    woken: list[int] = []
    ring = StepRing(on_new=lambda: woken.append(ring.newest))
    ring.tell(ring.begin("nfc0", 1.0), StepName.ENDED, 1.1, outcome="lost")
    assert woken == [1, 2]


_OPS = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.sampled_from(["nfc0", "nfc1"])),
        st.tuples(st.just("tell"), st.integers(0, 40)),
        st.tuples(st.just("token"), st.integers(0, 40)),
        st.tuples(st.just("sent"), st.integers(0, 40)),
        st.tuples(st.just("cue"), st.sampled_from(["invite", "reading"])),
    ),
    max_size=120,
)


@given(_OPS, st.integers(1, 20), st.integers(0, 130))
def test_the_ring_keeps_the_newest_steps_without_a_hole_whatever_is_told(
    ops: list[tuple[str, object]], limit: int, after: int
) -> None:
    ring = StepRing(limit=limit)
    all_steps = []
    ring._on_new = lambda: all_steps.append(ring._steps[-1])
    for index, (what, value) in enumerate(ops):
        now = float(index)
        match what:
            case "begin":
                ring.begin(str(value), now)
            case "tell":
                ring.tell(int(str(value)), StepName.NONCE, now, nonce_bytes=8)
            case "token":
                ring.token(int(str(value)), now, CHAIN, int(str(value)))
            case "sent":
                ring.went_on(CHAIN, int(str(value)), StepName.SENT, now)
            case "cue":
                ring.cue("s", str(value), now)
    assert [step.number for step in all_steps] == list(range(1, ring.newest + 1))
    assert ring.after(after) == [step for step in all_steps if step.number > after][-limit:]
    assert max(len(ring._steps), len(ring._visits), len(ring._tokens)) <= limit
    json.dumps([step.as_json(1e9) for step in ring.after(0)])

"""The state machine: the walks that matter, and any walk at all."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.backoff import Backoff
from edge_agent.uplink.base import DownReason, LinkDown, LinkUp, Subscribed
from edge_agent.uplink.session import (
    ALONE_AFTER_S,
    FLOORS_S,
    SHARED_FLOOR_S,
    SPREADS_S,
    WITHOUT_OPTIONAL_AFTER,
    CancelTimer,
    CloseLink,
    Connect,
    Effect,
    GiveUpLink,
    Poke,
    Retry,
    Session,
    SessionEvent,
    SessionState,
    SetTimer,
    SlowDown,
    Start,
    Stop,
    Stopped,
    Subscribe,
    TellDown,
    TellUnheard,
    TellUp,
    TimerFired,
)

UP = LinkUp(session_present=False, receive_maximum=20)
LOST = LinkDown(DownReason.NETWORK, "lost")
STOPPED = LinkDown(DownReason.STOPPED, "stopped")
GRANTED = Subscribed(("a", "b"), (1, 1))


def machine(*events: SessionEvent, filters: tuple[str, ...] = ("a", "b")) -> Session:
    session = Session(filters=filters, backoff=Backoff(base=1, cap=300, rng=random.Random(1)))
    for event in events:
        session.step(event, 0.0)
    return session


def test_up_means_subscribed() -> None:
    session = machine()
    assert session.step(Start(), 0) == [Connect()]
    assert session.step(UP, 1) == [Subscribe(("a", "b"))]
    assert session.state is SessionState.SUBSCRIBING
    assert session.step(GRANTED, 2) == [CancelTimer(), TellUp(UP)]
    assert session.state is SessionState.UP


def test_without_filters_connack_is_enough() -> None:
    assert machine(Start(), filters=()).step(UP, 0) == [CancelTimer(), TellUp(UP)]


def test_a_lost_connection_is_told_and_tried_again() -> None:
    session = machine(Start(), UP, GRANTED)
    told, retry, timer = session.step(LOST, 5)
    assert told == TellDown(LOST)
    assert isinstance(retry, Retry)
    assert timer == SetTimer(retry.delay)
    assert session.step(TimerFired(), 6) == [Connect()]


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (Subscribed(("a", "b"), (1, 135)), DownReason.AUTH, "refused to subscribe b"),
        (Subscribed(("a", "b"), (128, 1)), DownReason.BROKER, "refused to subscribe a"),
        (Subscribed(("a", "b"), (1,)), DownReason.BROKER, "does not answer all"),
        (Subscribed((), ()), DownReason.BROKER, "does not answer all"),
    ],
)
def test_a_refused_subscription_is_a_failure_with_its_reason(
    answer: Subscribed, reason: DownReason, words: str
) -> None:
    session = machine(Start(), UP)
    assert session.step(answer, 0) == [CancelTimer(), CloseLink(clean=False)]
    retry = session.step(STOPPED, 0)[0]
    assert isinstance(retry, Retry)
    assert retry.down.reason is reason
    assert words in retry.down.text


@pytest.mark.parametrize(("events", "what"), [((Start(),), "CONNACK"), ((Start(), UP), "SUBACK")])
def test_what_is_late_is_closed(events: tuple[SessionEvent, ...], what: str) -> None:
    session = machine(*events)
    assert CloseLink(clean=False) in session.step(TimerFired(), 10)
    retry = session.step(STOPPED, 10)[0]
    assert isinstance(retry, Retry)
    assert (retry.down.reason, what in retry.down.text) == (DownReason.TIMEOUT, True)


@pytest.mark.parametrize(("reason", "floor"), FLOORS_S.items())
def test_what_does_not_heal_in_seconds_waits_longer_but_not_in_step(reason: DownReason, floor: float) -> None:
    delays = set()
    for seed in range(20):
        session = Session(filters=(), backoff=Backoff(base=1.0, rng=random.Random(seed)))
        session.step(Start(), 0)
        retry = session.step(LinkDown(reason, ""), 0)[0]
        assert isinstance(retry, Retry)
        assert floor <= retry.delay <= floor + 1 + SPREADS_S.get(reason, 0.0)
        delays.add(retry.delay)
    assert len(delays) == 20


def test_a_busy_broker_gets_its_thousand_terminals_back_one_after_another() -> None:
    delays = []
    for seed in range(1000):
        session = Session(filters=(), backoff=Backoff(base=1.0, rng=random.Random(seed)))
        session.step(Start(), 0)
        retry = session.step(LinkDown(DownReason.BUSY, ""), 0)[0]
        assert isinstance(retry, Retry)
        delays.append(retry.delay)
    in_one_second = Counter(int(delay) for delay in delays)
    assert max(in_one_second.values()) < 80


def test_a_broker_that_takes_nothing_at_a_time_is_refused_in_so_many_words() -> None:
    session = machine(Start())
    up = LinkUp(session_present=False, receive_maximum=0)
    assert session.step(up, 0) == [CancelTimer(), CloseLink(clean=False)]
    retry = session.step(STOPPED, 0)[0]
    assert isinstance(retry, Retry)
    assert retry.down.reason is DownReason.LIMIT
    assert "Receive Maximum of 0" in retry.down.text


def with_optional(*events: SessionEvent) -> Session:
    backoff = Backoff(base=1, cap=300, rng=random.Random(1))
    session = Session(filters=("a", "b"), backoff=backoff, optional=("b",))
    for event in events:
        session.step(event, 0.0)
    return session


def test_a_refused_optional_filter_is_told_once_and_ends_nothing() -> None:
    session = with_optional(Start(), UP)
    refused = Subscribed(("a", "b"), (1, 135))
    assert session.step(refused, 1) == [CancelTimer(), TellUp(UP), TellUnheard("b", 135)]
    for event in (LOST, TimerFired()):
        session.step(event, 2)
    assert session.step(UP, 3) == [Subscribe(("a", "b"))], "the rules may have been repaired"
    assert session.step(refused, 4) == [CancelTimer(), TellUp(UP)]


def test_a_refused_filter_that_is_needed_ends_the_connection_whatever_the_others() -> None:
    session = with_optional(Start(), UP)
    assert CloseLink(clean=False) in session.step(Subscribed(("a", "b"), (135, 135)), 1)


def test_a_broker_that_hangs_up_on_the_subscriptions_is_asked_without_the_optional_ones() -> None:
    session = with_optional(Start())
    for attempt in range(WITHOUT_OPTIONAL_AFTER):
        assert session.step(UP, 1) == [Subscribe(("a", "b"))]
        told = [effect for effect in session.step(LOST, 1) if isinstance(effect, TellUnheard)]
        assert told == ([TellUnheard("b", None)] if attempt + 1 == WITHOUT_OPTIONAL_AFTER else [])
        session.step(TimerFired(), 1)
    assert session.step(UP, 2) == [Subscribe(("a",))]
    assert session.step(Subscribed(("a",), (1,)), 2) == [CancelTimer(), TellUp(UP)]


@pytest.mark.parametrize(("lasted", "slow"), [(ALONE_AFTER_S - 1, True), (ALONE_AFTER_S, False)])
def test_who_shares_an_identity_comes_back_slowly_until_a_connection_lasts(lasted: float, slow: bool) -> None:
    session = machine(Start(), UP, GRANTED, SlowDown())
    first = session.step(LOST, 1)[1]
    assert isinstance(first, Retry)
    assert first.delay >= SHARED_FLOOR_S
    for event in (TimerFired(), UP, GRANTED):
        session.step(event, 100)
    second = session.step(LOST, 100 + lasted)[1]
    assert isinstance(second, Retry)
    assert (second.delay >= SHARED_FLOOR_S) is slow


def test_giving_up_tells_the_owner_at_once_and_waits_for_the_end() -> None:
    session = machine(Start(), UP, GRANTED)
    cause = LinkDown(DownReason.TIMEOUT, "no PUBACK")
    assert session.step(GiveUpLink(cause.reason, cause.text), 0) == [
        CancelTimer(),
        TellDown(cause),
        CloseLink(clean=False),
    ]
    assert session.step(Poke(), 0) == []
    assert isinstance(session.step(STOPPED, 0)[0], Retry)


def test_stop_from_everywhere() -> None:
    assert machine().step(Stop(), 0) == [CancelTimer(), Stopped()]
    assert machine(Start()).step(Stop(), 0) == [CancelTimer(), CloseLink(clean=True)]
    waiting = machine(Start(), LOST)
    assert waiting.step(Stop(), 0) == [CancelTimer(), Stopped()]
    up = machine(Start(), UP, GRANTED)
    assert up.step(Stop(), 0) == [CancelTimer(), TellDown(STOPPED), CloseLink(clean=True)]
    assert up.step(STOPPED, 0) == [Stopped()]
    closing = machine(Start(), TimerFired())
    assert closing.step(Stop(), 0) == []
    assert closing.step(STOPPED, 0) == [Stopped()]


@pytest.mark.parametrize(("lasted", "failures"), [(59.0, 3), (60.0, 1)])
def test_only_a_session_that_lasted_a_minute_makes_the_back_off_start_over(lasted: float, failures: int) -> None:
    session = machine(Start(), LOST, TimerFired(), LOST, TimerFired(), UP, GRANTED)
    retry = session.step(LOST, lasted)[1]
    assert isinstance(retry, Retry)
    assert retry.failures == failures


EVENTS = st.sampled_from(
    [
        Start(),
        TimerFired(),
        Poke(),
        Stop(),
        UP,
        LOST,
        LinkDown(DownReason.AUTH, ""),
        LinkDown(DownReason.TAKEN_OVER, ""),
        LinkDown(DownReason.BUSY, ""),
        LinkUp(session_present=False, receive_maximum=0),
        SlowDown(),
        STOPPED,
        GRANTED,
        Subscribed(("a", "b"), (1, 135)),
        Subscribed((), ()),
        GiveUpLink(DownReason.TIMEOUT, ""),
    ]
)


class World:
    """Keeps the books that the machine's promises are about."""

    def __init__(self, seed: int) -> None:
        self.session = Session(filters=("a", "b"), backoff=Backoff(rng=random.Random(seed)), optional=("b",))
        self.link = False
        self.closing = False
        self.told_up = False
        self.timer = False
        self.stopped = False
        self.now = 0.0

    def send(self, event: SessionEvent) -> None:
        """Only what can happen happens: links speak while they live, timers fire while they are set."""
        if isinstance(event, LinkUp | LinkDown | Subscribed) and not self.link:
            return
        if isinstance(event, TimerFired) and not self.timer:
            return
        if isinstance(event, TimerFired):
            self.timer = False
        if isinstance(event, LinkDown):
            self.link = self.closing = False
        self.now += 1
        for effect in self.session.step(event, self.now):
            self.carry_out(effect)
        self.check()

    def carry_out(self, effect: Effect) -> None:
        assert not self.stopped, "nothing may follow the end"
        match effect:
            case Connect():
                assert not self.link, "two links"
                self.link = self.timer = True
            case CloseLink():
                assert self.link
                assert not self.closing, "closed twice"
                self.closing = True
            case Subscribe():
                assert self.link
            case SetTimer(delay=delay):
                assert 0 <= delay <= 300 + max(FLOORS_S.values()) + max(SPREADS_S.values())
                self.timer = True
            case CancelTimer():
                self.timer = False
            case TellUp():
                assert not self.told_up
                assert self.link
                self.told_up = True
            case TellDown():
                assert self.told_up
                self.told_up = False
            case Stopped():
                assert not self.link
                self.stopped = True

    def check(self) -> None:
        state = self.session.state
        assert self.told_up == (state is SessionState.UP)
        assert self.stopped == (state is SessionState.STOPPED)
        if state is SessionState.WAITING:
            assert self.timer, "nothing would wake it"
            assert not self.link
        if state in {SessionState.CONNECTING, SessionState.SUBSCRIBING}:
            assert self.timer, "a silent broker would hold it for ever"
        if state in {SessionState.CLOSING, SessionState.STOPPING}:
            assert self.closing


@given(st.integers(), st.lists(EVENTS, max_size=60))
def test_any_walk_keeps_the_promises_and_ends_where_it_shall(seed: int, events: list[SessionEvent]) -> None:
    world = World(seed)
    world.send(Start())
    for event in events:
        world.send(event)
    if world.stopped or world.session.state is SessionState.STOPPING:
        world.send(STOPPED)
        assert world.stopped
        return
    # From anywhere a network that works again leads to UP.
    for event in (STOPPED, TimerFired(), UP, GRANTED):
        if world.session.state is not SessionState.UP:
            world.send(event)
    assert world.session.state is SessionState.UP

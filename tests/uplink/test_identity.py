"""Who speaks in our name: ourselves of an hour ago, the agent before its restart, or somebody else."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.uplink.base import DownReason
from edge_agent.uplink.identity import (
    CONFLICT,
    NOTHING,
    QUIET_S,
    SHORT_IN_A_ROW,
    SUSPECTED,
    Advice,
    Identity,
)
from edge_agent.uplink.wire import StateWord

ONLINE, LOST, STOPPED = StateWord.ONLINE, StateWord.LOST, StateWord.STOPPED


class Terminal:
    """An identity watch and the sessions of its agent."""

    def __init__(self) -> None:
        self.identity = Identity()
        self.number = 0
        self.now = 0.0

    @property
    def session(self) -> str:
        return f"ours-{self.number}"

    def attempt(self) -> None:
        self.number += 1

    def connect(self, *retained: tuple[StateWord, str], heard: bool = True) -> list[Advice]:
        """A new attempt that succeeds; first comes what was retained; the broker takes our birth if ``heard``."""
        self.attempt()
        advice = [self.hears(word, session, retained=True) for word, session in retained]
        self.identity.up(self.session, self.now)
        if not heard:
            return advice
        self.identity.said()
        return [*advice, self.hears(ONLINE, self.session)]

    def hears(self, word: StateWord, session: str, *, retained: bool = False) -> Advice:
        ours = session.startswith("ours-")
        return self.identity.heard(word, session, ours=ours, current=self.session, retained=retained)

    def drops(self, after_s: float = 60.0, reason: DownReason = DownReason.NETWORK) -> Advice:
        self.now += after_s
        return self.identity.down(reason, self.now)


def is_conflict(advice: Advice) -> bool:
    return advice.slow and advice.finding is not None and advice.finding.code == CONFLICT


def test_the_echo_of_our_own_birth_means_nothing() -> None:
    assert Terminal().connect() == [NOTHING]


@pytest.mark.parametrize("word", list(StateWord))
def test_what_is_retained_of_the_agent_before_its_restart_means_nothing(word: StateWord) -> None:
    assert Terminal().connect((word, "before")) == [NOTHING, NOTHING]


@pytest.mark.parametrize("word", list(StateWord))
def test_what_is_retained_of_the_agent_before_means_nothing_until_the_broker_has_our_birth(word: StateWord) -> None:
    terminal = Terminal()
    for _ in range(5):
        assert terminal.connect((word, "before"), heard=False) == [NOTHING], "the line broke before our first state"
        assert not terminal.drops(30.0).slow
    assert terminal.connect((word, "before")) == [NOTHING, NOTHING]
    terminal.drops()
    assert is_conflict(terminal.connect((ONLINE, "before"))[0]), "our birth had replaced it"


@pytest.mark.parametrize("word", list(StateWord))
def test_what_is_retained_of_our_own_past_is_replaced_by_our_birth(word: StateWord) -> None:
    terminal = Terminal()
    terminal.connect()
    terminal.drops()
    terminal.attempt()
    assert terminal.connect((word, "ours-1")) == [NOTHING, NOTHING]
    assert terminal.drops() == NOTHING
    assert terminal.connect((LOST, "ours-2")) == [NOTHING, NOTHING], "a will of an attempt whose CONNACK never came"


@pytest.mark.parametrize("session", ["ours-1", "ours-2", "before"])
def test_a_late_will_is_contradicted(session: str) -> None:
    terminal = Terminal()
    if session != "before":
        terminal.connect()
        terminal.drops()
    terminal.connect()
    assert terminal.hears(LOST, session) == Advice(again=True)
    assert terminal.identity.finding is None


def test_a_stranger_that_says_online_convicts_at_once_and_is_not_shouted_down() -> None:
    terminal = Terminal()
    terminal.connect()
    advice = terminal.hears(ONLINE, "stranger")
    assert is_conflict(advice)
    assert not advice.again, "two that contradict each other would never end"
    again = terminal.hears(ONLINE, "stranger-2")
    assert (again.slow, again.finding) == (True, None), "it is told once, and goes on to be slow"
    assert terminal.identity.conflicts == 2


def test_a_strangers_birth_that_was_retained_while_we_were_away_convicts() -> None:
    terminal = Terminal()
    terminal.connect()
    terminal.drops()
    assert is_conflict(terminal.connect((ONLINE, "stranger"))[0])


def test_wills_of_two_strangers_convict_where_a_broker_says_them_at_each_take_over() -> None:
    terminal = Terminal()
    terminal.connect((LOST, "stranger-0"))
    terminal.drops()
    assert terminal.connect((LOST, "stranger-1"))[0] == NOTHING
    terminal.drops()
    assert terminal.connect((LOST, "stranger-1"))[0] == NOTHING, "the same one again is no news"
    terminal.drops()
    assert is_conflict(terminal.connect((LOST, "stranger-2"))[0])


def test_a_broker_that_says_so_is_believed() -> None:
    terminal = Terminal()
    terminal.connect()
    assert is_conflict(terminal.drops(1000.0, DownReason.TAKEN_OVER))


def test_connections_that_end_at_once_are_a_hint_and_slow_nobody_down() -> None:
    terminal = Terminal()
    told = []
    for _ in range(SHORT_IN_A_ROW + 2):
        terminal.connect()
        told.append(terminal.drops(1.0))
    hints = [advice.finding for advice in told if advice.finding is not None]
    assert [hint.code for hint in hints] == [SUSPECTED]
    assert told.index(next(advice for advice in told if advice.finding)) == SHORT_IN_A_ROW - 1
    assert not any(advice.slow for advice in told)


def test_with_a_strangers_will_beside_them_they_convict() -> None:
    terminal = Terminal()
    terminal.connect()
    terminal.drops(1.0)
    terminal.connect((LOST, "stranger-1"))
    terminal.drops(1.0)
    terminal.connect()
    assert is_conflict(terminal.drops(1.0))


def test_with_our_own_will_at_every_connect_they_convict() -> None:
    terminal = Terminal()
    advice = []
    for _ in range(SHORT_IN_A_ROW):
        terminal.connect((LOST, f"ours-{terminal.number + 1}"))
        advice.append(terminal.drops(1.0))
    assert [is_conflict(one) for one in advice] == [False, False, True]


def test_our_own_half_open_connection_that_we_push_out_is_nobody_else() -> None:
    terminal = Terminal()
    for _ in range(10):
        terminal.connect((LOST, f"ours-{terminal.number + 1}"))
        assert terminal.drops(1.0, DownReason.TIMEOUT) == NOTHING
        terminal.connect()
        assert not terminal.drops(1.0).slow


def test_an_end_with_a_reason_or_after_a_while_breaks_the_row() -> None:
    terminal = Terminal()
    for after_s, reason in itertools.islice(
        itertools.cycle([(1.0, DownReason.NETWORK), (1.0, DownReason.TIMEOUT), (20.0, DownReason.NETWORK)]), 12
    ):
        terminal.connect()
        assert terminal.drops(after_s, reason) == NOTHING


def test_after_a_quiet_while_a_conflict_is_told_anew() -> None:
    terminal = Terminal()
    terminal.connect()
    terminal.hears(ONLINE, "stranger")
    terminal.drops(QUIET_S)
    assert terminal.identity.finding is None
    terminal.connect()
    assert is_conflict(terminal.hears(ONLINE, "stranger"))


SINGLE = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(StateWord), st.integers(0, 20)),
        st.tuples(st.just("attempt"), st.just(LOST), st.just(0)),
        st.tuples(st.just("live"), st.sampled_from(StateWord), st.integers(0, 20)),
        st.tuples(st.just("late"), st.just(LOST), st.just(0)),
        st.tuples(st.just("drops"), st.just(LOST), st.integers(0, 200)),
    ),
    max_size=60,
)


@given(SINGLE)
def test_a_lone_terminal_is_never_convicted_whatever_its_network_and_broker_do(
    steps: list[tuple[str, StateWord, int]],
) -> None:
    """Its own states come late, twice, or again; the will of the agent before its restart comes while it first runs."""
    terminal = Terminal()
    first = True
    for what, word, number in steps:
        own = f"ours-{min(number, terminal.number)}"  # of the past, or of now
        if what == "connect":
            advice = terminal.connect((word, "before" if first and terminal.number == 0 else own))
        elif what == "attempt":
            terminal.attempt()
            advice = []
        elif what == "live":
            advice = [terminal.hears(word, own)]
        elif what == "late":
            advice = [terminal.hears(LOST, "before")] if first and terminal.identity._first_heard else []
        else:
            advice = [terminal.drops(float(number))]
            first = first and terminal.identity._first_heard is None
        assert not any(one.slow for one in advice)
    assert terminal.identity.conflicts == 0


@given(st.lists(st.tuples(st.sampled_from(StateWord), st.integers(0, 3), st.booleans()), max_size=40))
def test_whatever_comes_the_last_word_is_ours_or_somebody_is_named(
    steps: list[tuple[StateWord, int, bool]],
) -> None:
    """The retained state as the broker has it: live messages replace it, and what we say again does, too."""
    terminal = Terminal()
    terminal.connect()
    retained = (ONLINE, terminal.session)
    for word, number, stranger in steps:
        session = f"stranger-{number}" if stranger else f"ours-{min(number, terminal.number)}"
        if (word, session) == (STOPPED, terminal.session):
            continue  # only we say that, and then it is true
        retained = (word, session)
        if terminal.hears(word, session).again:
            retained = (ONLINE, terminal.session)
    named = terminal.identity.finding is not None
    assert retained == (ONLINE, terminal.session) or named

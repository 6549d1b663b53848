"""What is on the screen, now and when a phone was seen: by hand at the borders, then against a naive model."""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.showing.base import Showing, Source, Told
from edge_agent.showing.campaigns import Campaign
from edge_agent.showing.now_playing import KEPT, NowPlaying, OnScreen
from edge_agent.windows import LocalTime, Tick, parse

MORNING = Campaign("morning", windows=(parse("07:00-09:30"),), text_zh="早上好", text_en="Good morning")
PLAIN = Campaign("plain", windows=(parse("20:00-22:00"),), reward=False)
OFF = Campaign("off", enabled=False)
TABLES = (MORNING, PLAIN, OFF)
AT_8, AT_NOON, AT_21 = (Tick(LocalTime(0, hour * 3600)) for hour in (8, 12, 21))


def told(name: str | None, life_s: float = 30.0, source: Source = Source.HTTP) -> Told:
    return Told(name, life_s, source)


def test_with_nothing_configured_nothing_is_known_and_people_are_invited() -> None:
    playing = NowPlaying((), None)
    assert playing.current == OnScreen(None, None)
    assert playing.current.invites
    assert playing.campaign_at(5.0) is None
    assert playing.current.showing(5.0) == Showing(None, None, None)


def test_the_campaign_of_the_terminal_shows_where_the_schedule_is_silent() -> None:
    playing = NowPlaying(TABLES, "c-1")
    assert playing.current == OnScreen("c-1", Source.TERMINAL)
    assert playing.handle(AT_8, 0.0) == OnScreen("morning", Source.SCHEDULE, MORNING)
    assert playing.handle(AT_NOON, 60.0) == OnScreen("c-1", Source.TERMINAL)


def test_the_campaign_of_the_terminal_has_its_texts_at_any_time_if_it_has_a_table() -> None:
    assert NowPlaying(TABLES, "morning").handle(AT_21, 0.0).campaign is PLAIN
    assert NowPlaying(TABLES, "morning").handle(AT_NOON, 0.0) == OnScreen("morning", Source.TERMINAL, MORNING)


def test_the_word_of_the_player_stands_over_the_schedule_until_its_end() -> None:
    playing = NowPlaying(TABLES, "c-1")
    playing.handle(AT_8, 0.0)
    assert playing.handle(told("advert"), 1.0) == OnScreen("advert", Source.HTTP, None, 31.0)
    assert playing.current.showing(11.0) == Showing("advert", Source.HTTP, 20.0)
    assert playing.due == 31.0
    assert playing.handle(AT_8, 30.999).name == "advert"
    assert playing.handle(AT_8, 31.0) == OnScreen("morning", Source.SCHEDULE, MORNING)


def test_the_newest_word_counts_whoever_says_it() -> None:
    playing = NowPlaying((), None)
    playing.handle(told("one", 1000), 0.0)
    assert playing.handle(told("two", 10, Source.FILE), 1.0).name == "two"
    assert playing.handle(Tick(None), 11.0).name is None
    playing.handle(told("three", 1000, Source.SOCKET), 12.0)
    assert playing.handle(told(None), 13.0) == OnScreen(None, None)


def test_a_file_that_goes_takes_its_own_word_back_and_not_a_newer_one_of_somebody_else() -> None:
    playing = NowPlaying((), "c-1")
    playing.handle(told("of the file", source=Source.FILE), 0.0)
    playing.handle(told("newer", source=Source.HTTP), 1.0)
    assert playing.handle(told(None, source=Source.FILE), 2.0).name == "newer"
    playing.handle(told("of the file", source=Source.FILE), 3.0)
    assert playing.handle(told(None, source=Source.FILE), 4.0).name == "c-1"


def test_a_player_that_changes_its_mind_all_the_time_takes_no_campaign_from_a_tap_under_way() -> None:
    playing = NowPlaying((), None)
    for number in range(200):  # a file replaced a hundred times a second, for two seconds
        playing.handle(told("even" if number % 2 == 0 else "odd", source=Source.FILE), 10 + number / 100)
    assert [playing.campaign_at(10.501 + ahead / 100) for ahead in range(3)] == ["even", "odd", "even"]


def test_a_told_campaign_has_the_texts_of_its_table_outside_of_its_windows_too() -> None:
    playing = NowPlaying(TABLES, None)
    playing.handle(AT_NOON, 0.0)
    assert playing.handle(told("morning"), 1.0).campaign is MORNING


def test_what_has_no_table_is_taken_to_be_rewarded_and_what_is_off_or_plain_is_not() -> None:
    playing = NowPlaying(TABLES, None)
    assert playing.handle(told("unheard-of"), 0.0).invites
    assert not playing.handle(told("plain"), 1.0).invites
    assert not playing.handle(told("off"), 2.0).invites
    assert playing.campaign_at(2.0) == "off", "it was on the screen: that is what the token says"


def test_a_tap_belongs_to_the_advert_that_its_phone_saw() -> None:
    playing = NowPlaying((), "c-1")
    playing.handle(told("one"), 10.0)
    playing.handle(told("two"), 20.0)
    moments = (9.999, 10.0, 19.999, 20.0, 25.0)
    assert [playing.campaign_at(at) for at in moments] == ["c-1", "one", "one", "two", "two"]


def test_a_word_ends_in_time_though_its_tick_is_late() -> None:
    playing = NowPlaying((), "c-1")
    playing.handle(told("one", 5), 10.0)
    assert [playing.campaign_at(at) for at in (14.999, 15.0, 16.0)] == ["one", "c-1", "c-1"]
    playing.handle(Tick(None), 17.0)
    assert [playing.campaign_at(at) for at in (14.999, 15.0, 16.0)] == ["one", "c-1", "c-1"]
    playing.handle(told("two", 5), 20.0)
    playing.handle(told("three", 5), 30.0)
    assert [playing.campaign_at(at) for at in (24.0, 26.0, 30.0)] == ["two", "c-1", "three"]


def test_what_is_told_again_is_no_change_and_pushes_nothing_out_of_memory() -> None:
    playing = NowPlaying((), None)
    playing.handle(told("one"), 1.0)
    playing.handle(told("two"), 2.0)
    for again in range(5 * KEPT):
        playing.handle(told("two"), 3.0 + again / 100)
    assert playing.campaign_at(1.5) == "one"


def test_of_many_changes_the_oldest_is_forgotten() -> None:
    playing = NowPlaying((), None)
    for number in range(3 * KEPT):
        playing.handle(told(f"c{number}"), float(number))
    last = 3 * KEPT - 1
    assert playing.campaign_at(float(last - KEPT + 1)) == f"c{last - KEPT + 1}"
    assert playing.campaign_at(0.0) == f"c{last - KEPT + 1}"


def test_the_clock_is_looked_at_first_at_once_and_then_at_each_full_minute() -> None:
    playing = NowPlaying(TABLES, None)
    assert playing.due == 0.0
    playing.handle(Tick(LocalTime(0, 8 * 3600 + 45)), 100.0)
    assert playing.due == 115.0
    playing.handle(Tick(None), 115.0)
    assert playing.due == 125.0


@dataclass(frozen=True)
class Moment:
    at: float
    event: Told | Tick


class Model:
    """Keeps every event for ever and reads the answer off them."""

    def __init__(self, tables: tuple[Campaign, ...], terminal: str | None) -> None:
        self.tables, self.terminal = tables, terminal
        self.events: list[Moment] = []

    def name_at(self, at: float) -> str | None:
        past = [moment for moment in self.events if moment.at <= at]
        since, word = 0.0, Told(None, 1.0, Source.HTTP)
        for moment in past:
            if isinstance(moment.event, Told):
                holds = word.campaign is not None and moment.at < since + word.life_s
                if moment.event != told(None, source=Source.FILE) or not holds or word.source is Source.FILE:
                    since, word = moment.at, moment.event
        if word.campaign is not None and at < since + word.life_s:
            return word.campaign
        looks = [moment.event.local for moment in past if isinstance(moment.event, Tick)]
        local = looks[-1] if looks else None
        for table in self.tables:
            in_time = local is not None and any(window.contains(local) for window in table.windows)
            if table.enabled and (in_time or not table.windows):
                return table.name
        return self.terminal


NAMES = ["morning", "plain", "off", "other", "c-1"]


class Against(RuleBasedStateMachine):
    """NowPlaying beside the model, at times that are whole tenths of a second."""

    @initialize(
        tables=st.lists(st.sampled_from([*TABLES, Campaign("always")]), unique=True, max_size=4),
        terminal=st.sampled_from([None, "c-1", "morning"]),
    )
    def configured(self, tables: list[Campaign], terminal: str | None) -> None:
        self.tenths = 1000
        self.model = Model(tuple(tables), terminal)
        self.playing = NowPlaying(tables, terminal)

    @property
    def now(self) -> float:
        return self.tenths / 10

    @rule(gap=st.integers(0, 300))
    def time_passes(self, gap: int) -> None:
        self.tenths += gap

    def take(self, event: Told | Tick) -> None:
        self.model.events.append(Moment(self.now, event))
        shown = self.playing.handle(event, self.now)
        assert shown == self.playing.current
        assert shown.name == self.model.name_at(self.now)
        assert shown.until is None or shown.until > self.now
        assert shown.showing(self.now).campaign == shown.name

    @rule(name=st.sampled_from(NAMES), life=st.integers(1, 200), source=st.sampled_from(list(Source)[:3]))
    def player_tells(self, name: str, life: int, source: Source) -> None:
        self.take(Told(name, life / 10, source))

    @rule(source=st.sampled_from(list(Source)[:3]))
    def player_takes_back(self, source: Source) -> None:
        self.take(told(None, source=source))

    @rule(local=st.none() | st.builds(LocalTime, st.integers(0, 6), st.integers(0, 86_399)))
    def clock_is_looked_at(self, local: LocalTime | None) -> None:
        self.take(Tick(local))
        assert self.now < self.playing.due <= self.now + 60

    @precondition(lambda self: self.model.events)
    @rule(back=st.integers(0, 100))
    def phone_was_seen(self, back: int) -> None:
        at = (self.tenths - back) / 10
        # Each event since then is two changes at most: the end of a word, and its own.
        if 2 * sum(moment.at > at for moment in self.model.events) < KEPT - 1:
            assert self.playing.campaign_at(at) == self.model.name_at(at)

    @invariant()
    def memory_is_bounded(self) -> None:
        if hasattr(self, "playing"):
            assert len(vars(self.playing)["_names"]) <= KEPT


TestAgainstTheModel = Against.TestCase
TestAgainstTheModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

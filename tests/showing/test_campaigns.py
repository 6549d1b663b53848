"""Which of the configured campaigns the schedule shows."""

import pytest

from edge_agent.showing.campaigns import Campaign, scheduled
from edge_agent.windows import LocalTime, parse

MORNING = Campaign("morning", windows=(parse("mon-fri 07:00-09:30"),))
MEALS = Campaign("meals", windows=(parse("11:30-13:30"), parse("17:30-19:30")))
ALWAYS = Campaign("always")
MONDAY_8, MONDAY_12, MONDAY_18, SATURDAY_8 = (
    LocalTime(day, hour * 3600) for day, hour in [(0, 8), (0, 12), (0, 18), (5, 8)]
)


@pytest.mark.parametrize(
    ("local", "campaign"),
    [(MONDAY_8, MORNING), (MONDAY_12, MEALS), (MONDAY_18, MEALS), (SATURDAY_8, ALWAYS), (None, ALWAYS)],
)
def test_the_first_campaign_whose_time_it_is_counts(local: LocalTime | None, campaign: Campaign) -> None:
    assert scheduled((MORNING, MEALS, ALWAYS), local) is campaign
    assert scheduled((ALWAYS, MORNING, MEALS), local) is ALWAYS


def test_nothing_is_scheduled_outside_of_all_windows() -> None:
    assert scheduled((MORNING, MEALS), SATURDAY_8) is None
    assert scheduled((), MONDAY_8) is None


def test_a_clock_that_is_not_trusted_is_in_no_window() -> None:
    assert scheduled((MORNING, Campaign("whole", windows=(parse("mon-sun"),))), None) is None


def test_a_campaign_that_is_off_is_never_scheduled() -> None:
    assert scheduled((Campaign("off", enabled=False), ALWAYS), MONDAY_8) is ALWAYS


@pytest.mark.parametrize(
    ("enabled", "reward", "invites"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_only_a_campaign_that_is_on_and_rewarded_invites(*, enabled: bool, reward: bool, invites: bool) -> None:
    assert Campaign("c", enabled=enabled, reward=reward).invites is invites


def test_an_advert_without_a_reward_is_scheduled_all_the_same() -> None:
    plain = Campaign("plain", reward=False)
    assert scheduled((plain, ALWAYS), MONDAY_8) is plain

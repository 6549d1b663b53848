from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.cloud.ingest import Lane, TapEvent
from edge_agent.cloud.rewards import CampaignRewards, Reward, load_rewards
from edge_agent.cloud.verifier import Verdict
from edge_agent.errors import ConfigError
from edge_agent.models import TapMode
from edge_agent.uplink.wire import Result
from tests.fakes.tapping_terminal import TappingTerminal

CLAIMS = TappingTerminal().claims()
FRESH = TapEvent(
    verdict=Verdict.FRESH,
    reason="in time",
    lane=Lane.LIVE,
    fleet="sh",
    terminal="sh-1-a",
    chain=CLAIMS.chain,
    seq=CLAIMS.seq,
    redeemable=True,
    chain_break=False,
    received_at=1.0,
    latency_ms=1.0,
    claims=CLAIMS,
)
REWARDS = CampaignRewards({"c-1": Reward("Five points", 5)}, default=Reward("Thank you"))


def test_a_campaign_gives_its_own_reward() -> None:
    assert REWARDS.result_for(FRESH) == Result(CLAIMS.cti, "accepted", "Five points", 5)


@pytest.mark.parametrize("campaign", ["c-2", None])
def test_other_taps_get_the_default(campaign: str | None) -> None:
    event = replace(FRESH, claims=replace(CLAIMS, campaign=campaign))
    assert REWARDS.result_for(event) == Result(CLAIMS.cti, "accepted", "Thank you", None)


def test_without_a_default_other_campaigns_get_nothing() -> None:
    event = replace(FRESH, claims=replace(CLAIMS, campaign="c-2"))
    assert CampaignRewards(REWARDS.campaigns).result_for(event) is None


@pytest.mark.parametrize(
    "event", [replace(FRESH, redeemable=False), replace(FRESH, redeemable=False, claims=None, verdict=Verdict.LATE)]
)
def test_what_is_not_redeemable_gets_nothing(event: TapEvent) -> None:
    assert REWARDS.result_for(event) is None


def test_a_read_of_the_tag_is_promised_nothing_before_its_ticket_is_redeemed() -> None:
    read = replace(FRESH, claims=replace(CLAIMS, mode=TapMode.TAG_READ))
    assert REWARDS.result_for(read) is None


def test_a_file_of_rewards(tmp_path: Path) -> None:
    path = tmp_path / "rewards.toml"
    path.write_text('[default]\ntext = "Thank you"\n[campaigns.c-1]\ntext = "Five points"\namount = 5\n')
    assert load_rewards(path) == REWARDS


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[defaults]\n", "defaults: expected default or campaigns"),
        ("campaigns = 3\n", "campaigns: expected a table for each campaign"),
        ("[default]\nprice = 3\n", "default: expected a table of text and amount"),
        ("[campaigns.c-1]\namount = -1\n", "campaigns.c-1: amount"),
        ('[campaigns.c-1]\namount = "5"\n', "campaigns.c-1: amount"),
        ("[default]\ntext = 5\n", "default: text"),
        ("[default]\ntext = 2026-01-01\n", "default: "),
        ("[default\n", "rewards.toml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rewards.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_rewards(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_rewards(tmp_path / "none.toml")

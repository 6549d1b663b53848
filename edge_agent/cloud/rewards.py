"""What the screen says for a tap that was accepted: a fixed text and amount for each campaign.

A stand-in for a shop's own rules behind the same port. It must never promise what is not redeemable, nor for a read of
the terminal's tag what only its ticket buys.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge_agent.cloud.ingest import TapEvent
from edge_agent.errors import ConfigError
from edge_agent.models import TapMode
from edge_agent.uplink.wire import Result, WireError

ACCEPTED = "accepted"


class RewardPolicy(Protocol):
    """Decides on the ``result`` of one tap. Called on the event loop after the commit; it must not wait."""

    def result_for(self, event: TapEvent) -> Result | None:
        """Return what to tell the terminal's screen, or None for nothing."""


@dataclass(frozen=True, slots=True)
class Reward:
    """What one campaign gives; ``amount`` in the smallest unit of whatever is rewarded."""

    text: str | None = None
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class CampaignRewards:
    """The same for every redeemable tap of a campaign; ``default`` is for campaigns without an entry and for none."""

    campaigns: Mapping[str, Reward] = field(default_factory=dict)
    default: Reward | None = None

    def result_for(self, event: TapEvent) -> Result | None:
        """Return the campaign's reward for a redeemable tap; None for mode 2, which the page on the phone answers.

        The tap is there before its ticket is redeemed, if anybody redeems it; the terminal has said thanks by itself.
        """
        if not event.redeemable or event.claims is None or event.claims.mode is TapMode.TAG_READ:
            return None
        campaign = event.claims.campaign
        reward = self.default if campaign is None else self.campaigns.get(campaign, self.default)
        if reward is None:
            return None
        return Result(event.claims.cti, ACCEPTED, reward.text, reward.amount)


def load_rewards(path: Path) -> CampaignRewards:
    """Read ``[default]`` and ``[campaigns.NAME]``, each with ``text`` and ``amount``; raises ConfigError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"{path}: {error}"]) from error
    problems = [
        f"{path}: {key}: expected default or campaigns" for key in tables if key not in {"default", "campaigns"}
    ]
    campaigns = tables.get("campaigns", {})
    named = campaigns if isinstance(campaigns, dict) else {}
    if named is not campaigns:
        problems.append(f"{path}: campaigns: expected a table for each campaign")
    rewards = {name: _reward(path, f"campaigns.{name}", table, problems) for name, table in named.items()}
    default = _reward(path, "default", tables["default"], problems) if "default" in tables else None
    if problems:
        raise ConfigError(problems)
    return CampaignRewards(rewards, default)


def _reward(path: Path, where: str, table: Any, problems: list[str]) -> Reward:
    if not isinstance(table, dict) or not table.keys() <= {"text", "amount"}:
        problems.append(f"{path}: {where}: expected a table of text and amount")
        return Reward()
    reward = Reward(table.get("text"), table.get("amount"))
    try:
        # What the terminal would refuse is refused here, by the terminal's own decoder.
        Result.decode(Result(bytes(16), ACCEPTED, reward.text, reward.amount).encode())
    except (WireError, TypeError) as error:
        problems.append(f"{path}: {where}: {error}")
    return reward

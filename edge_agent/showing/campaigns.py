"""The configured campaigns, and which of them the schedule shows at a local time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.windows import LocalTime, Window


@dataclass(frozen=True, slots=True)
class Campaign:
    """One [[campaigns]] table.

    Without ``windows`` it is always scheduled, with ``enabled`` off never. ``text_*`` stand in the place of the
    screen's own words for the invitation, ``thanks_*`` for a `thanks`; where they are empty the screen uses its own.
    ``colours`` are two of ``#rrggbb``.
    """

    name: str
    windows: tuple[Window, ...] = ()
    enabled: bool = True
    reward: bool = True
    text_zh: str = ""
    text_en: str = ""
    thanks_zh: str = ""
    thanks_en: str = ""
    colours: tuple[str, str] | None = None

    @property
    def invites(self) -> bool:
        """Whether a tap is rewarded while it is showing: no reward, no invitation."""
        return self.enabled and self.reward

    def scheduled_at(self, local: LocalTime | None) -> bool:
        """Whether the schedule may show it; None is a clock that is not trusted, which is in no window."""
        if not self.enabled:
            return False
        return not self.windows or (local is not None and any(window.contains(local) for window in self.windows))


def scheduled(campaigns: Iterable[Campaign], local: LocalTime | None) -> Campaign | None:
    """Return the first campaign whose time it is, if there is one."""
    return next((campaign for campaign in campaigns if campaign.scheduled_at(local)), None)

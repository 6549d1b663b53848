"""Which advert is on the screen: the player's newest word until its end, else the schedule, else [terminal]. Pure.

Takes ``(event, now)``. What was on the screen a moment ago is remembered, too: a tap belongs to the advert that its
phone saw. A campaign that a player names is showing, whatever the tables say of it; they say what it is worth.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from edge_agent.showing.base import Showing, Source, Told
from edge_agent.showing.campaigns import Campaign, scheduled
from edge_agent.windows import LocalTime, Tick, until_next_look

KEPT = 256
"""So many changes are remembered: 2.5 s of a player that says another name a hundred times a second, longer than a tap
takes, and minutes of any other, for the read of a ticket that is told late."""


@dataclass(frozen=True, slots=True)
class OnScreen:
    """What is on the screen: its name (None: nobody told), who told it, and the table of that name, if there is one.

    ``until`` is the end of a player's word in CLOCK_MONOTONIC seconds.
    """

    name: str | None
    source: Source | None
    campaign: Campaign | None = None
    until: float | None = None

    @property
    def invites(self) -> bool:
        """Whether a tap is rewarded now; so it is assumed of an advert that has no table."""
        return self.campaign is None or self.campaign.invites

    def showing(self, now: float) -> Showing:
        """The same for whoever asks at ``now``, before the end."""
        return Showing(self.name, self.source, None if self.until is None else self.until - now)


class NowPlaying:
    """Holds the player's word over the schedule; every ``now`` is in CLOCK_MONOTONIC seconds and never goes back."""

    def __init__(self, campaigns: Sequence[Campaign], terminal: str | None) -> None:
        self._campaigns = tuple(campaigns)
        self._tables = {campaign.name: campaign for campaign in campaigns}
        self._terminal = terminal
        self._word: OnScreen | None = None
        self._word_ends = inf
        self._local: LocalTime | None = None
        self._look_at = 0.0
        self.current = self._unless_told()
        """What is on the screen since the last event."""
        self._names: deque[tuple[float, str | None]] = deque([(0.0, self.current.name)], maxlen=KEPT)

    @property
    def due(self) -> float:
        """When the next Tick is wanted at the latest: the end of the word, or the next minute of the schedule."""
        return min(self._look_at, self._word_ends)

    def handle(self, event: Told | Tick, now: float) -> OnScreen:
        """Take one event and return what is on the screen; the same again where nothing changed."""
        if now >= self._word_ends:
            ended = self._word_ends
            self._keep_word(None)
            self._settle(ended)
        match event:
            case Told(campaign=None, source=Source.FILE) if self._word and self._word.source is not Source.FILE:
                pass  # its own word it takes back, not the one that somebody said after it
            case Told(campaign=None):
                self._keep_word(None)
            case Told(campaign=str(name)):
                self._keep_word(OnScreen(name, event.source, self._tables.get(name), now + event.life_s))
            case Tick(local=local):
                self._local = local
                self._look_at = now + until_next_look(local)
        self._settle(now)
        return self.current

    def campaign_at(self, at: float) -> str | None:
        """Return the name that was on the screen at ``at``; of a moment before all that is remembered, the oldest."""
        if at >= self._word_ends:
            return self._unless_told().name  # its end has come, only the Tick has not
        return next((name for since, name in reversed(self._names) if since <= at), self._names[0][1])

    def _keep_word(self, word: OnScreen | None) -> None:
        self._word = word
        self._word_ends = inf if word is None or word.until is None else word.until

    def _settle(self, since: float) -> None:
        self.current = self._word or self._unless_told()
        if self.current.name != self._names[-1][1]:
            self._names.append((since, self.current.name))

    def _unless_told(self) -> OnScreen:
        campaign = scheduled(self._campaigns, self._local)
        if campaign is not None:
            return OnScreen(campaign.name, Source.SCHEDULE, campaign)
        if self._terminal is None:
            return OnScreen(None, None)
        return OnScreen(self._terminal, Source.TERMINAL, self._tables.get(self._terminal))

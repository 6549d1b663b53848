"""Whether somebody else uses this terminal's identity, read off what the broker says. Pure.

A broker may end the connection of whoever was first without a word, so that a cloned terminal looks like a bad network.
What a bad network never does is to say ``online`` in a session that was not ours: that alone convicts. Connections
that end at once, again and again, are a hint and no more.
"""

from dataclasses import dataclass

from edge_agent.uplink.base import DownReason
from edge_agent.uplink.wire import StateWord

CONFLICT = "identity_conflict"
SUSPECTED = "identity_suspected"
SHORT_S = 10.0
SHORT_IN_A_ROW = 3
# A connection that lasted so long ends the episode: the next conflict is told anew.
QUIET_S = 150.0
STRANGERS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to tell people: a stable code and one line."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: say ``online`` again, come back more slowly after the next ends, tell people."""

    again: bool = False
    slow: bool = False
    finding: Finding | None = None


NOTHING = Advice()


class Identity:
    """What was seen of others since this agent started; times are CLOCK_MONOTONIC seconds."""

    def __init__(self) -> None:
        self._first_heard: str | None = None
        """Our first session whose ``online`` the broker took: what it keeps of us since then replaces all before."""
        self._session = ""
        self._pushed_out = ""
        self._pushed_out_in_a_row = 0
        self._up_since: float | None = None
        self._short = 0
        self._strangers: dict[str, None] = {}
        self._finding: Finding | None = None
        self.conflicts = 0
        """How often a witness convicted."""

    @property
    def finding(self) -> Finding | None:
        """What is known at the moment."""
        return self._finding

    def up(self, session: str, now: float) -> None:
        """We are about to say ``online`` in this session."""
        self._session, self._up_since = session, now

    def said(self) -> None:
        """The broker has our ``online`` of this session (PUBACK)."""
        self._first_heard = self._first_heard or self._session

    def down(self, reason: DownReason, now: float) -> Advice:
        """The connection ended (or never came up) for this reason."""
        since, self._up_since = self._up_since, None
        if reason is DownReason.TAKEN_OVER:
            return self._convict("the broker says that another client took over our session")
        if since is None:
            return NOTHING
        self._pushed_out_in_a_row = self._pushed_out_in_a_row + 1 if self._pushed_out == self._session else 0
        if now - since >= QUIET_S:
            self._finding, self._strangers = None, {}
        self._short = self._short + 1 if reason is DownReason.NETWORK and now - since < SHORT_S else 0
        if self._short < SHORT_IN_A_ROW:
            return NOTHING
        ended = f"{self._short} connections in a row were ended within {SHORT_S:.0f} s without a reason"
        if self._pushed_out_in_a_row >= SHORT_IN_A_ROW:
            return self._convict(f"{ended}, and each time somebody else was connected when we came")
        if self._strangers:
            return self._convict(f"{ended}, and another session spoke in our name")
        # A network that flaps, or a broker that restarts: slowing down is the business of the back-off.
        finding = Finding(SUSPECTED, f"{ended}: a bad network, or another terminal with our identity")
        return Advice(finding=self._news(finding))

    def heard(self, word: StateWord, session: str, *, ours: bool, current: str, retained: bool) -> Advice:
        """Our own ``state`` topic said this; ``current`` is our session, ``ours``: one of this agent's sessions."""
        if ours:
            # What is retained is older than our birth, which replaces it. What comes live has just replaced it.
            echo = session == current and word is not StateWord.LOST
            if retained and session == current:
                self._pushed_out = session  # some brokers (rumqttd) say the newcomer's will when they end the other one
            return Advice(again=not retained and not echo)
        first = self._first_heard in {None, current}
        if first and retained:
            return NOTHING  # of the agent before its restart
        if word is StateWord.ONLINE:
            return self._convict(f"it said online in the session {session}, which is not ours")
        again = not retained
        if first:
            return Advice(again=again)  # the late will of the agent before its restart
        self._strangers[session] = None
        while len(self._strangers) > STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        if len(self._strangers) < 2:
            return Advice(again=again)
        told = self._convict(f"its session {session} said {word.value}, and that is not the first one")
        return Advice(again=again, slow=told.slow, finding=told.finding)

    def _convict(self, text: str) -> Advice:
        self.conflicts += 1
        news = self._news(Finding(CONFLICT, f"another terminal uses our identity: {text}"))
        return Advice(slow=True, finding=news)

    def _news(self, finding: Finding) -> Finding | None:
        known = self._finding
        if known is not None and known.code in {finding.code, CONFLICT}:
            return None
        self._finding = finding
        return finding

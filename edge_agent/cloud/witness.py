"""Two witnesses for one tap: the phone that redeems a ticket, and the terminal that reports the read. Pure.

(event, now) and what is kept go in, the answer and what to keep come out. One ticket buys once, for whoever asked
first; what was granted is never taken back. While the terminal's report is outstanding (it is offline; nobody sees
who reads a QR code) the phone alone gets a reward within the terminal's quota, beyond it the second witness is waited
for. It must never look at a clock or a database.
"""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge_agent.cloud.tickets import TicketVerdict
from edge_agent.cloud.verifier import INGEST_WINDOW_S

_WHO = re.compile(r"[!-~]{1,64}", re.ASCII)


class Outcome(StrEnum):
    """The answer to one attempt to redeem a ticket; how it was granted stays as it was told."""

    GRANTED = "granted"
    ON_QUOTA = "granted_on_quota"
    PENDING = "pending"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OfflineQuota:
    """Which rewards are given on the phone's witness alone: of each terminal at most ``per_terminal`` grants whose
    report is outstanding, of those that were asked for within ``window_s`` seconds. 0 gives none.
    """

    per_terminal: int = 3
    window_s: int = 3600

    def __post_init__(self) -> None:
        if self.per_terminal < 0 or self.window_s <= 0:
            raise ValueError("a quota is at least 0 grants in a window of at least a second")


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """The quota, and for how many seconds after the phone asked the terminal's report still counts."""

    quota: OfflineQuota = field(default_factory=OfflineQuota)
    match_s: int = INGEST_WINDOW_S

    def __post_init__(self) -> None:
        if self.match_s < 0:
            raise ValueError("a report cannot be waited for less than 0 seconds")


@dataclass(frozen=True, slots=True)
class RedemptionAsked:
    """``who`` asks for the reward of an authentic ticket, which has this verdict now."""

    who: str
    verdict: TicketVerdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TapReported:
    """A mode 2 tap with the ticket's nonce, of the ticket's terminal, came in at ``at`` (Unix seconds)."""

    at: float
    test: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """One redemption as it is kept, never REFUSED; ``matched_at`` is when the terminal's report came."""

    who: str
    asked_at: float
    outcome: Outcome
    matched_at: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept about one ticket: its redemption, the terminal's report of the read (one that is no test, if there
    is one), how many grants on the quota of its terminal wait for their report within the window, and whether a ticket
    with its nonce was redeemed that another key of the terminal signed: one report must not witness for two.
    """

    kept: Kept | None = None
    tap: TapReported | None = None
    unmatched: int = 0
    spent: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell who asked. ``verdict`` is why it was refused; FRESH for everything else."""

    outcome: Outcome
    verdict: TicketVerdict
    reason: str

    @property
    def granted(self) -> bool:
        """Whether the reward is theirs."""
        return self.outcome in (Outcome.GRANTED, Outcome.ON_QUOTA)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the redemption as it must be kept; None keeps nothing."""

    answer: Answer
    kept: Kept | None


def ask(event: RedemptionAsked, now: float, known: Known, policy: WitnessPolicy) -> Decision:
    """Decide on an authentic ticket that somebody asks the reward of; ``now`` in Unix seconds.

    ``kept`` of the decision must be written in the transaction that read ``known``, before anybody hears the answer.
    """
    tap = known.tap
    if known.kept is not None:
        if known.kept.who != event.who:
            return Decision(_refused(TicketVerdict.USED, "somebody else redeemed this ticket"), known.kept)
        return settle(known.kept, tap, now, policy)
    if known.spent:
        return Decision(_refused(TicketVerdict.USED, "its nonce was redeemed under another key of the terminal"), None)
    if event.verdict is not TicketVerdict.FRESH:
        return Decision(_refused(event.verdict, event.reason), None)
    if tap is not None and tap.test:
        return Decision(_refused(TicketVerdict.TEST_TAP, "a technician's tap buys nothing"), None)
    if tap is not None:
        outcome = Outcome.GRANTED
    else:
        outcome = Outcome.ON_QUOTA if known.unmatched < policy.quota.per_terminal else Outcome.PENDING
    kept = Kept(event.who, now, outcome, None if tap is None else tap.at)
    return Decision(_answer(kept), kept)


def settle(kept: Kept, tap: TapReported | None, now: float, policy: WitnessPolicy) -> Decision:
    """What became of a kept redemption when the terminal reports the read, or, without ``tap``, as time passes."""
    if kept.matched_at is None and tap is not None and not tap.test and tap.at <= kept.asked_at + policy.match_s:
        outcome = Outcome.GRANTED if kept.outcome is Outcome.PENDING else kept.outcome
        kept = replace(kept, outcome=outcome, matched_at=tap.at)
    if kept.outcome is Outcome.PENDING and tap is not None and tap.test:
        return Decision(_refused(TicketVerdict.TEST_TAP, "a technician's tap buys nothing"), kept)
    if kept.outcome is Outcome.PENDING and now > kept.asked_at + policy.match_s:
        return Decision(_refused(TicketVerdict.UNWITNESSED, "the terminal did not report this read in time"), kept)
    return Decision(_answer(kept), kept)


def check_who(who: str) -> str:
    """Return the name of an account; raises ValueError for what is none."""
    if not _WHO.fullmatch(who):
        raise ValueError("who is 1 to 64 visible ASCII characters without blanks")
    return who


def _answer(kept: Kept) -> Answer:
    if kept.outcome is Outcome.PENDING:
        reason = "waits for the terminal's report of the read"
    elif kept.outcome is Outcome.GRANTED:
        reason = "phone and terminal both report it"
    else:
        reason = "on the phone's word" + ("" if kept.matched_at is None else "; the terminal reports it, too")
    return Answer(kept.outcome, TicketVerdict.FRESH, reason)


def _refused(verdict: TicketVerdict, reason: str) -> Answer:
    return Answer(Outcome.REFUSED, verdict, reason)

"""Redemption vectors: what is asked and reported, in order of time, and the answer to each ask.

The book kept here is the smallest that the rules need: a dictionary of redemptions, one of reports.
"""

from dataclasses import dataclass, field
from typing import Any

from edge_agent.cloud.tickets import TicketVerdict
from edge_agent.cloud.witness import (
    Answer,
    Kept,
    Known,
    OfflineQuota,
    Outcome,
    RedemptionAsked,
    TapReported,
    WitnessPolicy,
    ask,
    settle,
)
from edge_agent.contract.samples import NOW

QUOTA, WINDOW_S, MATCH_S = 2, 600, 3600
POLICY = WitnessPolicy(OfflineQuota(QUOTA, WINDOW_S), MATCH_S)


@dataclass(frozen=True, slots=True)
class Ask:
    """``who`` asks for ticket ``ticket`` at NOW + ``at``; ``said`` is the outcome, or the verdict of a refusal.

    ``key``: which of the terminal's keys signed it.
    """

    at: int
    ticket: int
    who: str
    said: str
    verdict: str = "fresh"
    key: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """The mode 2 tap with the nonce of ``ticket`` comes in at NOW + ``at``."""

    at: int
    ticket: int
    test: bool = False


@dataclass(slots=True)
class Book:
    """What a cloud keeps of one terminal."""

    kept: dict[int, Kept] = field(default_factory=dict)
    keys: dict[int, int] = field(default_factory=dict)
    taps: dict[int, list[TapReported]] = field(default_factory=dict)

    def tap(self, ticket: int) -> TapReported | None:
        """Return the report of a ticket's read, one that is no test before one that is, the first of several."""
        return min(self.taps.get(ticket, []), key=lambda tap: (tap.test, tap.at), default=None)

    def ask(self, ticket: int, key: int, event: RedemptionAsked, now: float) -> Answer:
        """Answer, and keep what must be kept."""
        spent = self.keys.get(ticket, key) != key
        kept = None if spent else self.kept.get(ticket)
        decision = ask(event, now, Known(kept, self.tap(ticket), self._unmatched(now), spent), POLICY)
        if decision.kept is not None:
            self.kept[ticket], self.keys[ticket] = decision.kept, key
        return decision.answer

    def _unmatched(self, now: float) -> int:
        waiting = 0
        for ticket, kept in self.kept.items():
            if kept.outcome is Outcome.ON_QUOTA and kept.asked_at > now - POLICY.quota.window_s:
                settled = settle(kept, self.tap(ticket), now, POLICY).kept
                waiting += settled is not None and settled.matched_at is None
        return waiting


STORIES: dict[str, tuple[Ask | Report, ...]] = {
    "terminal-reports-first": (Report(0, 1), Ask(2, 1, "anna", "granted")),
    "phone-asks-first": (Ask(0, 1, "anna", "granted_on_quota"), Report(1, 1), Ask(2, 1, "anna", "granted_on_quota")),
    "two-people-one-ticket": (
        Ask(0, 1, "anna", "granted_on_quota"),
        Ask(1, 1, "bert", "used"),
        Report(2, 1),
        Ask(3, 1, "bert", "used"),
        Ask(4, 1, "anna", "granted_on_quota"),
    ),
    "who-waits-owns-the-ticket": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(0, 2, "x2", "granted_on_quota"),
        Ask(1, 3, "anna", "pending"),
        Ask(2, 3, "bert", "used"),
        Report(3, 3),
        Ask(4, 3, "anna", "granted"),
    ),
    "asked-again-after-the-ticket-ended": (
        Ask(0, 1, "anna", "granted_on_quota"),
        Ask(9000, 1, "anna", "granted_on_quota", verdict="expired"),
        Ask(9001, 1, "bert", "used", verdict="expired"),
    ),
    "one-nonce-under-two-keys": (
        Report(0, 1),
        Ask(1, 1, "anna", "granted"),
        Ask(2, 1, "bert", "used", key=2),
        Ask(3, 1, "anna", "used", key=2),
        Ask(4, 1, "anna", "granted"),
    ),
    "a-refused-ticket-is-nobodys": (
        Ask(0, 1, "anna", "clock_suspect", verdict="clock_suspect"),
        Ask(20, 1, "bert", "granted_on_quota"),
    ),
    "a-late-ticket-with-a-report": (Report(0, 1), Ask(200, 1, "anna", "expired", verdict="expired")),
    "quota-used-up": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(1, 2, "x2", "granted_on_quota"),
        Ask(2, 3, "x3", "pending"),
        Ask(599, 4, "x4", "pending"),
        Ask(600, 5, "x5", "granted_on_quota"),
        Ask(600, 6, "x6", "pending"),
        Ask(9000, 2, "x2", "granted_on_quota", verdict="expired"),
    ),
    "a-report-gives-a-place-back": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(1, 2, "x2", "granted_on_quota"),
        Report(2, 1),
        Ask(3, 3, "x3", "granted_on_quota"),
        Ask(4, 4, "x4", "pending"),
    ),
    "a-place-that-comes-free-is-not-for-who-waits": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(0, 2, "x2", "granted_on_quota"),
        Ask(1, 3, "x3", "pending"),
        Report(2, 1),
        Ask(3, 3, "x3", "pending"),
        Ask(700, 3, "x3", "pending", verdict="expired"),
    ),
    "a-report-in-the-last-second": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(0, 2, "x2", "granted_on_quota"),
        Ask(0, 3, "x3", "pending"),
        Ask(0, 4, "x4", "pending"),
        Report(3600, 3),
        Report(3601, 4),
        Ask(3602, 3, "x3", "granted", verdict="expired"),
        Ask(3602, 4, "x4", "unwitnessed", verdict="expired"),
    ),
    "nobody-reports-it": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(0, 2, "x2", "granted_on_quota"),
        Ask(0, 3, "x3", "pending"),
        Ask(3600, 3, "x3", "pending", verdict="expired"),
        Ask(3601, 3, "x3", "unwitnessed", verdict="expired"),
        Ask(3601, 1, "x1", "granted_on_quota", verdict="expired"),
    ),
    "a-technicians-read": (
        Report(0, 1, test=True),
        Ask(1, 1, "anna", "test_tap"),
        Report(2, 1),
        Ask(3, 1, "anna", "granted"),
    ),
    "a-technicians-read-gives-no-place-back": (
        Ask(0, 1, "x1", "granted_on_quota"),
        Ask(0, 2, "x2", "granted_on_quota"),
        Report(1, 1, test=True),
        Ask(2, 3, "x3", "pending"),
        Report(3, 3, test=True),
        Ask(4, 3, "x3", "test_tap"),
    ),
}


def document() -> dict[str, Any]:
    """Return the vector file. Each answer is written by hand above and must be the rules', or this raises."""
    return {
        "about": "Redemptions of tickets of one terminal, step by step. ask and report: a number for each nonce; key: "
        "one for each key of the terminal that signed. ask: who asks, the verdict that the ticket has then without "
        "regard to what is redeemed, and the answer; with the outcome refused, verdict says why. report: a mode 2 tap "
        "with that nonce came in.",
        "policy": {"per_terminal": QUOTA, "window_s": WINDOW_S, "match_s": MATCH_S},
        "stories": [{"name": name, "steps": _played(name, steps)} for name, steps in STORIES.items()],
    }


def _played(name: str, steps: tuple[Ask | Report, ...]) -> list[dict[str, Any]]:
    book = Book()
    listed: list[dict[str, Any]] = []
    for step in steps:
        now = NOW + step.at
        if isinstance(step, Report):
            book.taps.setdefault(step.ticket, []).append(TapReported(now, step.test))
            listed.append({"at": now, "report": step.ticket, "test": step.test})
            continue
        answer = book.ask(step.ticket, step.key, RedemptionAsked(step.who, TicketVerdict(step.verdict)), now)
        said = answer.verdict.value if answer.outcome is Outcome.REFUSED else answer.outcome.value
        if said != step.said:
            raise AssertionError(f"{name}, at {step.at}: {said}, not {step.said}")
        listed.append(
            {
                "at": now,
                "ask": step.ticket,
                "key": step.key,
                "who": step.who,
                "ticket_verdict": step.verdict,
                "outcome": answer.outcome.value,
                "verdict": answer.verdict.value,
            }
        )
    return listed

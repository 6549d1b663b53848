"""The two-witness rules alone, against a model that knows only what must be true."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.cloud.tickets import TicketVerdict
from edge_agent.cloud.witness import (
    Answer,
    Decision,
    Kept,
    Known,
    OfflineQuota,
    Outcome,
    RedemptionAsked,
    TapReported,
    WitnessPolicy,
    ask,
    check_who,
    settle,
)

NOW = 1_790_000_000.0
POLICY = WitnessPolicy(OfflineQuota(per_terminal=2, window_s=600), match_s=3600)
ASKED = RedemptionAsked("anna", TicketVerdict.FRESH, "in time")
TAP = TapReported(NOW)


def outcome(decision: Decision) -> tuple[Outcome, TicketVerdict]:
    return decision.answer.outcome, decision.answer.verdict


def test_both_witnesses_grant_without_touching_the_quota() -> None:
    decision = ask(ASKED, NOW + 1, Known(tap=TAP, unmatched=99), POLICY)
    assert outcome(decision) == (Outcome.GRANTED, TicketVerdict.FRESH)
    assert decision.kept == Kept("anna", NOW + 1, Outcome.GRANTED, matched_at=NOW)
    assert decision.answer.granted


@pytest.mark.parametrize(
    ("unmatched", "expected"),
    [(0, Outcome.ON_QUOTA), (1, Outcome.ON_QUOTA), (2, Outcome.PENDING), (9, Outcome.PENDING)],
)
def test_the_phone_alone_is_believed_within_the_quota(unmatched: int, expected: Outcome) -> None:
    decision = ask(ASKED, NOW, Known(unmatched=unmatched), POLICY)
    assert decision.kept == Kept("anna", NOW, expected)
    assert decision.answer.granted == (expected is Outcome.ON_QUOTA)


def test_a_quota_of_zero_always_waits_for_the_terminal() -> None:
    strict = WitnessPolicy(OfflineQuota(0))
    assert ask(ASKED, NOW, Known(), strict).answer.outcome is Outcome.PENDING
    assert ask(ASKED, NOW, Known(tap=TAP), strict).answer.outcome is Outcome.GRANTED


@pytest.mark.parametrize("verdict", [v for v in TicketVerdict if v is not TicketVerdict.FRESH])
def test_what_is_not_fresh_is_refused_by_its_verdict_and_not_kept(verdict: TicketVerdict) -> None:
    decision = ask(replace(ASKED, verdict=verdict), NOW, Known(tap=TAP), POLICY)
    assert outcome(decision) == (Outcome.REFUSED, verdict)
    assert decision.kept is None


@pytest.mark.parametrize("kept_as", [Outcome.GRANTED, Outcome.ON_QUOTA, Outcome.PENDING])
@pytest.mark.parametrize("verdict", TicketVerdict)
def test_the_same_person_gets_the_same_answer_and_another_one_used(kept_as: Outcome, verdict: TicketVerdict) -> None:
    kept = Kept("anna", NOW, kept_as)
    again = ask(replace(ASKED, verdict=verdict), NOW + 3000, Known(kept), POLICY)
    assert (again.answer.outcome, again.kept) == (kept_as, kept)
    other = ask(RedemptionAsked("bert", verdict), NOW + 3000, Known(kept, TAP), POLICY)
    assert outcome(other) == (Outcome.REFUSED, TicketVerdict.USED)
    assert other.kept == kept
    assert "anna" not in other.answer.reason


def test_a_pending_one_is_granted_by_a_report_that_comes_in_time_even_if_it_is_seen_later() -> None:
    kept = Kept("anna", NOW, Outcome.PENDING)
    decision = settle(kept, TapReported(NOW + 3600), NOW + 99_999, POLICY)
    assert outcome(decision) == (Outcome.GRANTED, TicketVerdict.FRESH)
    assert decision.kept == Kept("anna", NOW, Outcome.GRANTED, NOW + 3600)


def test_a_report_that_comes_too_late_grants_nothing() -> None:
    kept = Kept("anna", NOW, Outcome.PENDING)
    decision = settle(kept, TapReported(NOW + 3600.1), NOW + 3600.2, POLICY)
    assert outcome(decision) == (Outcome.REFUSED, TicketVerdict.UNWITNESSED)
    assert decision.kept == kept


def test_time_alone_ends_the_waiting_and_nothing_that_was_granted() -> None:
    for kept_as, expected in ((Outcome.PENDING, Outcome.REFUSED), (Outcome.ON_QUOTA, Outcome.ON_QUOTA)):
        kept = Kept("anna", NOW, kept_as)
        assert settle(kept, None, NOW + 3600, POLICY).answer.outcome is kept_as
        assert settle(kept, None, NOW + 3600.1, POLICY).answer.outcome is expected


def test_a_grant_on_quota_stays_one_and_remembers_its_second_witness() -> None:
    decision = settle(Kept("anna", NOW, Outcome.ON_QUOTA), TapReported(NOW + 5), NOW + 6, POLICY)
    assert decision.kept == Kept("anna", NOW, Outcome.ON_QUOTA, NOW + 5)
    assert decision.answer.outcome is Outcome.ON_QUOTA
    assert decision.answer.reason != settle(Kept("anna", NOW, Outcome.ON_QUOTA), None, NOW, POLICY).answer.reason


def test_a_test_tap_never_grants() -> None:
    test = TapReported(NOW, test=True)
    first = ask(ASKED, NOW, Known(tap=test), POLICY)
    assert (outcome(first), first.kept) == ((Outcome.REFUSED, TicketVerdict.TEST_TAP), None)
    kept = Kept("anna", NOW, Outcome.PENDING)
    later = settle(kept, test, NOW + 1, POLICY)
    assert (outcome(later), later.kept) == ((Outcome.REFUSED, TicketVerdict.TEST_TAP), kept)
    on_quota = Kept("anna", NOW, Outcome.ON_QUOTA)
    assert settle(on_quota, test, NOW + 1, POLICY).kept == on_quota, "it gives no place back"


@pytest.mark.parametrize("who", ["", "x" * 65, "a b", "a\n", "é", "\x00", "a\x7f"])
def test_a_name_that_could_hide_something_is_refused(who: str) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        check_who(who)


def test_a_name_is_opaque() -> None:
    for who in ("x", "user:42/é".encode().hex(), "~" * 64):
        assert check_who(who) == who


@pytest.mark.parametrize(("quota", "window"), [(-1, 60), (1, 0), (1, -5)])
def test_a_quota_that_means_nothing_is_refused(quota: int, window: int) -> None:
    with pytest.raises(ValueError, match="quota"):
        OfflineQuota(quota, window)
    with pytest.raises(ValueError, match="less than 0"):
        WitnessPolicy(match_s=-1)


class Witnesses(RuleBasedStateMachine):
    """Tickets of one terminal, asked for by three people while time goes and reports come early, late, twice or never.

    The book is kept as a ledger keeps it; what must be true is written down independently of how it is decided.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.book: dict[int, Kept] = {}
        self.taps: dict[int, list[TapReported]] = {}
        self.granted_to: dict[int, str] = {}
        self.granted_alone: list[tuple[float, int]] = []

    @initialize(
        per_terminal=st.integers(0, 3), window=st.sampled_from([50, 600]), match=st.sampled_from([0, 100, 5000])
    )
    def choose_a_policy(self, per_terminal: int, window: int, match: int) -> None:
        self.policy = WitnessPolicy(OfflineQuota(per_terminal, window), match)

    def tap(self, ticket: int) -> TapReported | None:
        taps = sorted(self.taps.get(ticket, []), key=lambda tap: (tap.test, tap.at))
        return taps[0] if taps else None

    def unmatched(self) -> int:
        count = 0
        for ticket, kept in self.book.items():
            if kept.outcome is Outcome.ON_QUOTA and kept.asked_at > self.now - self.policy.quota.window_s:
                settled = settle(kept, self.tap(ticket), self.now, self.policy).kept
                assert settled is not None
                self.book[ticket] = settled
                count += settled.matched_at is None
        return count

    @rule(seconds=st.sampled_from([0.5, 20, 49, 51, 99, 101, 601, 5001]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(ticket=st.integers(0, 7), test=st.booleans())
    def the_terminal_reports(self, ticket: int, test: bool) -> None:
        self.taps.setdefault(ticket, []).append(TapReported(self.now, test))

    @rule(
        ticket=st.integers(0, 7),
        who=st.sampled_from(["anna", "bert", "cleo"]),
        verdict=st.sampled_from([TicketVerdict.FRESH] * 4 + [TicketVerdict.EXPIRED, TicketVerdict.REVOKED_KEY]),
    )
    def somebody_asks(self, ticket: int, who: str, verdict: TicketVerdict) -> None:
        before = self.book.get(ticket)
        known = Known(before, self.tap(ticket), self.unmatched())
        decision = ask(RedemptionAsked(who, verdict), self.now, known, self.policy)
        if decision.kept is not None:
            self.book[ticket] = decision.kept
        if before is None and verdict is not TicketVerdict.FRESH:
            assert decision.answer.outcome is Outcome.REFUSED
        self.hand_over(ticket, who, decision.answer)

    def hand_over(self, ticket: int, who: str, answer: Answer) -> None:
        if not answer.granted:
            assert self.granted_to.get(ticket) != who, "a reward was taken back"
            return
        assert self.granted_to.setdefault(ticket, who) == who, "one ticket bought twice"
        if answer.outcome is Outcome.GRANTED:
            assert any(not tap.test for tap in self.taps.get(ticket, [])), "granted without the second witness"
        elif (self.book[ticket].asked_at, ticket) not in self.granted_alone:
            self.granted_alone.append((self.book[ticket].asked_at, ticket))

    @invariant()
    def the_quota_is_never_exceeded(self) -> None:
        """At the moment of each grant: those before it within the window whose report had not come by then."""
        if not self.granted_alone or self.granted_alone[-1][0] != self.now:
            return
        open_now = [
            ticket
            for at, ticket in self.granted_alone
            if at > self.now - self.policy.quota.window_s
            and not any(not tap.test and tap.at <= at + self.policy.match_s for tap in self.taps.get(ticket, []))
        ]
        assert len(open_now) <= self.policy.quota.per_terminal

    @precondition(lambda self: self.book)
    @rule()
    def everybody_who_waits_asks_again(self) -> None:
        for ticket, kept in list(self.book.items()):
            again = ask(
                RedemptionAsked(kept.who, TicketVerdict.EXPIRED), self.now, Known(kept, self.tap(ticket)), self.policy
            )
            assert again.kept is not None
            self.book[ticket] = again.kept
            in_time = any(
                not tap.test and tap.at <= kept.asked_at + self.policy.match_s for tap in self.taps.get(ticket, [])
            )
            if in_time:
                assert again.answer.granted, "its report came in time"
            self.hand_over(ticket, kept.who, again.answer)


Witnesses.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWitnesses = Witnesses.TestCase


@given(st.sampled_from([Outcome.GRANTED, Outcome.ON_QUOTA, Outcome.PENDING]), st.floats(0, 1e4), st.booleans())
def test_settling_twice_is_settling_once(kept_as: Outcome, after: float, test: bool) -> None:
    tap = TapReported(NOW + after, test)
    once = settle(Kept("anna", NOW, kept_as), tap, NOW + 2e4, POLICY)
    assert once.kept is not None
    assert settle(once.kept, tap, NOW + 3e4, POLICY) == once

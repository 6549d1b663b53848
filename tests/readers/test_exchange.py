from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.models import Cue, TapFacts, TapMode
from edge_agent.readers.base import TargetKind
from edge_agent.readers.exchange import (
    Answered,
    BudgetSpent,
    CardPolicy,
    CommitLate,
    Effect,
    Event,
    Exchange,
    ExchangeSettings,
    FieldDetected,
    FieldLost,
    Finish,
    Issue,
    Outcome,
    Send,
    Show,
    TokenReady,
    TokenRefused,
)

AID = bytes.fromhex("F05441504544474501")
OTHER = bytes.fromhex("F05441504544474502")
NONCE = b"nonce-of-16bytes"
SUB = b"pseudonym"
TOKEN = bytes(range(200))
SEEN = 1000.0

SELECT = bytes.fromhex("00A4040009") + AID + b"\x00"
SELECT_OTHER = bytes.fromhex("00A4040009") + OTHER + b"\x00"
DELIVER = bytes.fromhex("80540000C8") + TOKEN + b"\x00"
PHONE = FieldDetected(TargetKind.ISO_DEP, SEEN, card_sub=b"twelve-bytes")
CARD = FieldDetected(TargetKind.PLAIN, SEEN, card_sub=b"twelve-bytes")


def fci(aid: bytes = AID, version: int = 1) -> bytes:
    inner = bytes([0x80, 1, version, 0x81, len(NONCE), *NONCE, 0x85, len(SUB), *SUB])
    body = bytes([0x84, len(aid), *aid, 0xA5, len(inner), *inner])
    return bytes([0x6F, len(body)]) + body + b"\x90\x00"


def sw(word: str) -> Answered:
    return Answered(bytes.fromhex(word), 0.02)


def settings(cards: CardPolicy = CardPolicy.IGNORE, aids: tuple[bytes, ...] = (AID,)) -> ExchangeSettings:
    return ExchangeSettings(aids=aids, budget_s=1.5, cards=cards)


def drive(exchange: Exchange, *events: Event) -> list[list[Effect]]:
    """Feed the events 10 ms apart, the first one 10 ms after the field was detected."""
    return [list(exchange.handle(event, SEEN + 0.01 * (i + 1))) for i, event in enumerate(events)]


def ends(effects: Iterable[Effect], outcome: Outcome, cue: Cue | None) -> bool:
    expected: list[Effect] = [Finish(outcome)] if cue is None else [Show(cue), Finish(outcome)]
    return list(effects) == expected


def test_a_tap_from_field_to_thanks() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.0304, wtx=2), TokenReady(TOKEN), sw("8600 9000"))
    facts = TapFacts(mode=TapMode.PHONE_APP, reader="nfc0", nonce=NONCE, sub=SUB, rtt_ms=30, wtx=2, seen_at=SEEN)
    assert steps[0] == [Show(Cue.READING), Send(SELECT, pytest.approx(1.49))]
    assert steps[1] == [Issue(facts, 0.8)]
    assert steps[2] == [Send(DELIVER, pytest.approx(1.47))]
    assert ends(steps[3], Outcome.ACCEPTED, Cue.THANKS)
    assert exchange.facts == facts


def test_the_budget_counts_from_the_field_not_from_the_start_of_the_exchange() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    effects = exchange.handle(PHONE, SEEN + 1.0)
    assert effects[-1] == Send(SELECT, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("word", "outcome", "cue"),
    [
        ("6985", Outcome.LOCKED, Cue.UNLOCK),
        ("6982", Outcome.LOCKED, Cue.UNLOCK),
        ("6F00", Outcome.FOREIGN, Cue.INVITE),
        ("6D00", Outcome.FOREIGN, Cue.INVITE),
        ("6E00", Outcome.FOREIGN, Cue.INVITE),
        ("6283", Outcome.FOREIGN, Cue.INVITE),
        ("6A82", Outcome.NO_APP, Cue.INVITE),
        ("9000", Outcome.MALFORMED, Cue.INVITE),
        ("01", Outcome.MALFORMED, Cue.INVITE),
        ("6F026F029000", Outcome.MALFORMED, Cue.INVITE),
        (fci(version=2).hex(), Outcome.MALFORMED, Cue.INVITE),
        (fci(aid=OTHER).hex(), Outcome.MALFORMED, Cue.INVITE),
        ("00" * 300, Outcome.MALFORMED, Cue.INVITE),
    ],
)
def test_answers_to_select_are_actions(word: str, outcome: Outcome, cue: Cue) -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, sw(word))
    assert ends(steps[1], outcome, cue)
    assert exchange.facts is None


@pytest.mark.parametrize(
    ("word", "outcome", "cue"),
    [
        ("9000", Outcome.ACCEPTED, Cue.THANKS),
        ("8603010203" + "9000", Outcome.ACCEPTED, Cue.THANKS),
        ("6985", Outcome.LOCKED, Cue.UNLOCK),
        ("6982", Outcome.LOCKED, Cue.UNLOCK),
        ("6F00", Outcome.UNCONFIRMED, Cue.RETRY),
        ("6A82", Outcome.UNCONFIRMED, Cue.RETRY),
        ("6700", Outcome.UNCONFIRMED, Cue.RETRY),
        ("90", Outcome.UNCONFIRMED, Cue.RETRY),
    ],
)
def test_answers_to_the_token_are_actions(word: str, outcome: Outcome, cue: Cue) -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.02), TokenReady(TOKEN), sw(word))
    assert ends(steps[3], outcome, cue)


def test_aids_are_tried_in_order_while_not_found() -> None:
    exchange = Exchange(settings(aids=(AID, OTHER)), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(b"\x6a\x82", 0.010), Answered(fci(OTHER), 0.030))
    assert steps[0][1] == Send(SELECT, pytest.approx(1.49))
    assert steps[1] == [Send(SELECT_OTHER, pytest.approx(1.48))]
    assert isinstance(steps[2][0], Issue)
    assert steps[2][0].facts.rtt_ms == 20  # the median of both


def test_no_app_ends_only_after_the_last_aid() -> None:
    exchange = Exchange(settings(aids=(AID, OTHER)), reader="nfc0")
    steps = drive(exchange, PHONE, sw("6A82"), sw("6A82"))
    assert ends(steps[2], Outcome.NO_APP, Cue.INVITE)


def test_phone_without_our_app_is_a_card_where_the_policy_says_so() -> None:
    exchange = Exchange(settings(CardPolicy.PSEUDONYM), reader="nfc0")
    steps = drive(exchange, PHONE, sw("6A82"), TokenReady(TOKEN))
    issued = steps[1][0]
    assert isinstance(issued, Issue)
    assert (issued.facts.mode, issued.facts.nonce, issued.facts.sub) == (TapMode.CARD, None, b"twelve-bytes")
    assert ends(steps[2], Outcome.ACCEPTED, Cue.THANKS)


def test_plain_card_is_ignored_without_a_cue() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    assert ends(drive(exchange, CARD)[0], Outcome.IGNORED, None)


def test_plain_card_by_policy_is_a_mode_3_tap_without_any_apdu() -> None:
    exchange = Exchange(settings(CardPolicy.PSEUDONYM), reader="nfc0")
    steps = drive(exchange, CARD, FieldLost(), TokenReady(TOKEN))
    facts = TapFacts(mode=TapMode.CARD, reader="nfc0", sub=b"twelve-bytes", seen_at=SEEN)
    assert steps[0] == [Show(Cue.READING), Issue(facts, 0.8)]
    assert steps[1] == []
    assert ends(steps[2], Outcome.ACCEPTED, Cue.THANKS)


def test_loss_before_the_token_is_a_lost_tap() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    assert ends(drive(exchange, PHONE, FieldLost())[1], Outcome.LOST, Cue.RETRY)
    assert exchange.facts is None


def test_loss_during_the_commit_counts_once_the_commit_is_done() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.02), FieldLost(), TokenReady(TOKEN))
    assert steps[2] == []
    assert ends(steps[3], Outcome.UNCONFIRMED, Cue.RETRY)


def test_loss_after_the_commit_counts() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.02), TokenReady(TOKEN), FieldLost())
    assert ends(steps[3], Outcome.UNCONFIRMED, Cue.RETRY)


@pytest.mark.parametrize("cue", [Cue.RESTING, Cue.FAULT])
def test_refused_token_shows_why(cue: Cue) -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.02), TokenRefused(cue))
    assert ends(steps[2], Outcome.REFUSED, cue)


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ((PHONE,), Outcome.TIMEOUT),
        ((PHONE, Answered(fci(), 0.02), TokenReady(TOKEN)), Outcome.UNCONFIRMED),
    ],
)
def test_the_budget_ends_every_phase(events: tuple[Event, ...], outcome: Outcome) -> None:
    exchange = Exchange(settings(), reader="nfc0")
    drive(exchange, *events)
    assert exchange.handle(BudgetSpent(), SEEN + 1.499) == ()
    assert ends(exchange.handle(BudgetSpent(), SEEN + 1.5), outcome, Cue.RETRY)


def test_a_storage_that_hangs_keeps_no_phone_for_the_whole_budget() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 0.02))
    assert isinstance(steps[1][0], Issue)
    assert steps[1][0].timeout_s == ExchangeSettings().commit_s < 1.0
    assert ends(exchange.handle(CommitLate(), SEEN + 0.9), Outcome.LATE, Cue.RESTING)
    assert Outcome.LATE.may_retry, "its next attempt finds the token, if it was committed after all"
    assert exchange.handle(TokenReady(TOKEN), SEEN + 1.0) == ()


def test_a_phone_that_used_up_the_budget_itself_is_asked_to_hold_longer() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    exchange.handle(PHONE, SEEN)
    (issue,) = exchange.handle(Answered(fci(), 1.4), SEEN + 1.4)
    assert isinstance(issue, Issue)
    assert issue.timeout_s == pytest.approx(0.1)
    assert ends(exchange.handle(CommitLate(), SEEN + 1.49), Outcome.LATE, Cue.RETRY)


def test_a_card_whose_commit_is_late_is_not_asked_for_again() -> None:
    exchange = Exchange(settings(CardPolicy.PSEUDONYM), reader="nfc0")
    drive(exchange, CARD)
    assert ends(exchange.handle(CommitLate(), SEEN + 0.8), Outcome.CARD_LATE, Cue.RESTING)


def test_a_card_out_of_budget_is_not_asked_for_again() -> None:
    exchange = Exchange(settings(CardPolicy.PSEUDONYM), reader="nfc0")
    drive(exchange, CARD)
    assert ends(exchange.handle(BudgetSpent(), SEEN + 1.5), Outcome.CARD_LATE, Cue.RESTING)
    assert not Outcome.CARD_LATE.may_retry


def test_an_answer_to_select_after_the_budget_issues_nothing() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    drive(exchange, PHONE)
    assert ends(exchange.handle(Answered(fci(), 1.6), SEEN + 1.6), Outcome.TIMEOUT, Cue.RETRY)


def test_a_commit_after_the_budget_sends_nothing_and_counts() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    drive(exchange, PHONE, Answered(fci(), 0.02))
    assert ends(exchange.handle(TokenReady(TOKEN), SEEN + 1.6), Outcome.UNCONFIRMED, Cue.RETRY)


def test_figures_are_capped_to_their_claims() -> None:
    exchange = Exchange(settings(), reader="nfc0")
    steps = drive(exchange, PHONE, Answered(fci(), 100.0, wtx=1000))
    assert isinstance(steps[1][0], Issue)
    assert (steps[1][0].facts.rtt_ms, steps[1][0].facts.wtx) == (65535, 255)


events = st.one_of(
    st.sampled_from([PHONE, CARD, FieldLost(), TokenReady(TOKEN), TokenRefused(), CommitLate(), BudgetSpent()]),
    st.builds(
        Answered,
        response=st.sampled_from([fci(), b"\x90\x00", b"\x6a\x82", b"\x69\x85", b"\x6f\x00", b""])
        | st.binary(max_size=300),
        rtt_s=st.floats(0, 2),
        wtx=st.integers(0, 400),
    ),
)


@given(
    script=st.lists(st.tuples(events, st.floats(0, 0.4)), max_size=30),
    policy=st.sampled_from(CardPolicy),
    aids=st.sampled_from([(AID,), (OTHER, AID)]),
)
def test_any_events_keep_the_promises(
    script: list[tuple[Event, float]], policy: CardPolicy, aids: tuple[bytes, ...]
) -> None:
    exchange = Exchange(settings(policy, aids), reader="nfc0")
    now, begun, committed, issued, finished = SEEN, False, False, 0, 0
    for event, pause in [*script, (BudgetSpent(), 1.5)]:
        now += pause
        begun = begun or isinstance(event, FieldDetected)
        committed = committed or (issued > 0 and isinstance(event, TokenReady))
        effects = exchange.handle(event, now)
        assert not finished or not effects, "nothing happens after the finish"
        assert sum(isinstance(effect, Send | Issue) for effect in effects) <= 1, "one thing to wait for at a time"
        for effect in effects:
            match effect:
                case Issue(timeout_s=left):
                    issued += 1
                    assert 0 < left <= 1.5
                case Send(timeout_s=left):
                    assert now < exchange.deadline
                    assert 0 < left <= 1.5
                case Show(cue=Cue.THANKS):
                    assert committed, "thanks only for a tap that is on disk"
                case Finish(outcome=outcome):
                    finished += 1
                    assert effect is effects[-1]
                    assert exchange.outcome is outcome
    assert issued <= 1
    assert finished == int(begun), "the budget ends every exchange"
    assert (exchange.facts is not None) == (issued == 1)

"""Tickets in a real ledger: the rules of ``witness``, in one transaction, over restarts and against racing writers."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.cloud.base import LedgerError, Redemption, Row, Settled, Stream, TicketAsked
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.redeeming import redeem_ticket
from edge_agent.cloud.tickets import TicketVerdict
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.cloud.witness import Answer, OfflineQuota, Outcome, RedemptionAsked, WitnessPolicy
from edge_agent.tags.ticket import Ticket, seal
from edge_agent.tokens.keys import PrivateKey

NOW = 1_790_000_000.0
KEY = PrivateKey.from_ed25519_seed(bytes(range(32)))
STREAM = Stream("sh", "sh-1-a", b"chain--1")
POLICY = WitnessPolicy(OfflineQuota(per_terminal=2, window_s=600), match_s=3600)
STRICT = WitnessPolicy(OfflineQuota(0), match_s=3600)


def read_of(number: int, *, received_at: float = NOW, stream: Stream = STREAM, seq: int = 0, **changes: object) -> Row:
    """The terminal's report of the read of ticket ``number``, as the receiver stores it."""
    seq = seq or number + 1
    row = Row(
        stream=stream,
        seq=seq,
        token=b"read %d at %d of " % (number, seq) + stream.terminal.encode(),
        verdict="fresh",
        redeemable=True,
        received_at=received_at,
        kid=KEY.kid,
        iat=int(NOW),
        exp=int(NOW) + 90,
        clk=2,
        boot=b"bootbyte",
        up=100,
        prev=bytes(16),
        mode=2,
        nonce=b"nonce%03d" % number,
    )
    return replace(row, **changes)  # type: ignore[arg-type]  # names are checked by replace itself


def asked(number: int, who: str = "anna", verdict: TicketVerdict = TicketVerdict.FRESH) -> TicketAsked:
    return TicketAsked(KEY.kid, b"nonce%03d" % number, "sh", "sh-1-a", RedemptionAsked(who, verdict, "why"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = SqliteLedger(path)
    await opened.open()
    yield opened
    await opened.close()


async def outcome(
    ledger: SqliteLedger, number: int, who: str = "anna", *, at: float = 0, policy: WitnessPolicy = POLICY
) -> Outcome:
    return (await ledger.redeem_ticket(asked(number, who), now=NOW + at, policy=policy)).outcome


async def test_a_read_that_was_reported_first_is_granted_at_once(ledger: SqliteLedger) -> None:
    await ledger.store([read_of(1)])
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.GRANTED


async def test_what_waits_is_granted_once_the_report_is_stored(ledger: SqliteLedger) -> None:
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.PENDING
    await ledger.store([read_of(1, received_at=NOW + 5)])
    assert await outcome(ledger, 1, at=6, policy=STRICT) is Outcome.GRANTED
    assert await outcome(ledger, 1, "bert", at=7, policy=STRICT) is Outcome.REFUSED


async def test_a_late_report_out_of_the_backlog_counts_and_an_expired_one_does_not(ledger: SqliteLedger) -> None:
    for number in (1, 2):
        assert await outcome(ledger, number, policy=STRICT) is Outcome.PENDING
    await ledger.store([read_of(1, received_at=NOW + 3000, verdict="late", redeemable=False)])
    await ledger.store([read_of(2, received_at=NOW + 3000, verdict="expired", redeemable=False)])
    assert await outcome(ledger, 1, at=3001, policy=STRICT) is Outcome.GRANTED
    assert await outcome(ledger, 2, at=3001, policy=STRICT) is Outcome.PENDING


@pytest.mark.parametrize(
    "other",
    [
        {"mode": 1},
        {"nonce": b"nonce-xx"},
        {"stream": Stream("sh", "sh-2-a", b"chain--1")},
        {"stream": Stream("bj", "sh-1-a", b"chain--1")},
        {"withheld": True, "verdict": "revoked_key", "redeemable": False},
        {"received_at": NOW + 3601},
    ],
)
async def test_nothing_else_is_the_second_witness(ledger: SqliteLedger, other: dict[str, object]) -> None:
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.PENDING
    await ledger.store([replace(read_of(1), **other)])  # type: ignore[arg-type]  # names are checked by replace itself
    answer = await ledger.redeem_ticket(asked(1), now=NOW + 3000, policy=STRICT)
    assert answer.outcome is Outcome.PENDING


async def test_a_test_tap_grants_nothing_whenever_it_comes(ledger: SqliteLedger) -> None:
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.PENDING
    await ledger.store([read_of(1, test=True, redeemable=False), read_of(2, test=True, redeemable=False)])
    for number in (1, 2):
        answer = await ledger.redeem_ticket(asked(number), now=NOW, policy=POLICY)
        assert (answer.outcome, answer.verdict) == (Outcome.REFUSED, TicketVerdict.TEST_TAP)
    await ledger.store([read_of(1, seq=9)])
    assert await outcome(ledger, 1) is Outcome.GRANTED


async def test_the_quota_is_the_terminals_and_a_report_gives_a_place_back(ledger: SqliteLedger) -> None:
    assert [await outcome(ledger, n) for n in range(3)] == [Outcome.ON_QUOTA, Outcome.ON_QUOTA, Outcome.PENDING]
    other = replace(asked(9), terminal="sh-2-a")
    assert (await ledger.redeem_ticket(other, now=NOW, policy=POLICY)).outcome is Outcome.ON_QUOTA
    await ledger.store([read_of(0)])
    assert await outcome(ledger, 4) is Outcome.ON_QUOTA
    assert await outcome(ledger, 5) is Outcome.PENDING
    assert await outcome(ledger, 2) is Outcome.PENDING, "what waits, waits for its own report"


async def test_the_window_of_the_quota_moves_on(ledger: SqliteLedger) -> None:
    assert [await outcome(ledger, n, at=n) for n in range(3)] == [Outcome.ON_QUOTA, Outcome.ON_QUOTA, Outcome.PENDING]
    assert await outcome(ledger, 3, at=599) is Outcome.PENDING
    assert await outcome(ledger, 4, at=600) is Outcome.ON_QUOTA
    assert await outcome(ledger, 5, at=600.5) is Outcome.PENDING
    assert await outcome(ledger, 6, at=-9999) is Outcome.PENDING, "a clock that was set back frees nothing"


async def test_answers_stay_over_a_restart_and_over_another_policy(path: Path) -> None:
    generous = WitnessPolicy(OfflineQuota(9), match_s=3600)
    said: list[list[Outcome]] = []
    for policy in (POLICY, generous, STRICT, WitnessPolicy(OfflineQuota(0), match_s=0)):
        ledger = SqliteLedger(path)
        await ledger.open()
        said.append([await outcome(ledger, n, policy=policy) for n in range(3)])
        await ledger.close()
    assert said == [[Outcome.ON_QUOTA, Outcome.ON_QUOTA, Outcome.PENDING]] * 4


async def test_what_was_granted_is_not_taken_back_by_a_stricter_policy(ledger: SqliteLedger) -> None:
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.PENDING
    await ledger.store([read_of(1, received_at=NOW + 5)])
    assert await outcome(ledger, 1, at=6, policy=STRICT) is Outcome.GRANTED
    assert await outcome(ledger, 1, at=7, policy=WitnessPolicy(OfflineQuota(0), match_s=0)) is Outcome.GRANTED


async def test_settling_grants_what_waits_and_tells_each_once(ledger: SqliteLedger) -> None:
    for number in range(4):
        await outcome(ledger, number, f"who-{number}", at=number, policy=STRICT)
    await ledger.store([read_of(1), read_of(3), read_of(2, received_at=NOW + 9999)])
    done = await ledger.settle_tickets(now=NOW + 60, policy=STRICT)
    assert sorted(done, key=lambda one: one.nonce) == [
        Settled(KEY.kid, b"nonce%03d" % n, "sh", "sh-1-a", f"who-{n}", NOW + n) for n in (1, 3)
    ]
    assert await ledger.settle_tickets(now=NOW + 61, policy=STRICT) == []
    assert await outcome(ledger, 1, "who-1", at=62, policy=STRICT) is Outcome.GRANTED
    assert (await ledger.stats()).tickets == {"granted": 2, "pending": 2}


async def test_settling_finds_a_report_of_the_last_second_after_it(ledger: SqliteLedger) -> None:
    await outcome(ledger, 1, policy=STRICT)
    await ledger.store([read_of(1, received_at=NOW + 3600)])
    assert [one.who for one in await ledger.settle_tickets(now=NOW + 3605, policy=STRICT)] == ["anna"]


async def test_of_several_reports_the_earliest_decides_in_whatever_order_they_were_stored(ledger: SqliteLedger) -> None:
    """Two receivers write to one ledger, each with its own clock."""
    await outcome(ledger, 1, policy=STRICT)
    await ledger.store([read_of(1, received_at=NOW + 3601), read_of(1, seq=9, received_at=NOW + 3599)])
    assert await outcome(ledger, 1, at=3602, policy=STRICT) is Outcome.GRANTED


async def test_a_place_that_was_given_back_is_not_looked_at_again(ledger: SqliteLedger, path: Path) -> None:
    assert await outcome(ledger, 1) is Outcome.ON_QUOTA
    await ledger.store([read_of(1, received_at=NOW + 7)])
    await outcome(ledger, 2, at=8)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT matched_at FROM ticket ORDER BY nonce").fetchall() == [(NOW + 7,), (None,)]


async def test_one_report_is_no_witness_for_two_tickets_that_two_keys_of_the_terminal_signed(
    ledger: SqliteLedger,
) -> None:
    """A replaced key that somebody has kept signs the nonce of the new key's ticket: one tap, two tickets."""
    copied = replace(asked(1, "anna"), kid=b"old key.")
    await ledger.store([read_of(1)])
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.GRANTED
    answer = await ledger.redeem_ticket(copied, now=NOW, policy=POLICY)
    assert (answer.outcome, answer.verdict) == (Outcome.REFUSED, TicketVerdict.USED)
    assert await outcome(ledger, 1, policy=STRICT) is Outcome.GRANTED
    elsewhere = replace(copied, terminal="sh-2-a")
    assert (await ledger.redeem_ticket(elsewhere, now=NOW, policy=POLICY)).outcome is Outcome.ON_QUOTA


async def test_what_a_ticket_buys_no_nonce_buys_too(ledger: SqliteLedger) -> None:
    await ledger.store([read_of(1)])
    cti = STREAM.chain + (2).to_bytes(8, "big")
    assert await ledger.redeem(now=NOW, nonce=b"nonce001") is Redemption.BY_TICKET
    assert await ledger.redeem(now=NOW, cti=cti) is Redemption.BY_TICKET
    assert await outcome(ledger, 1) is Outcome.GRANTED


async def test_an_app_that_copies_a_tickets_nonce_spoils_neither(ledger: SqliteLedger) -> None:
    await ledger.store([read_of(1), read_of(1, seq=5, mode=1)])
    assert await ledger.redeem(now=NOW, nonce=b"nonce001") is Redemption.REDEEMED
    assert await ledger.redeem(now=NOW, nonce=b"nonce001") is Redemption.ALREADY
    assert await outcome(ledger, 1) is Outcome.GRANTED


async def test_a_refusal_leaves_no_row(ledger: SqliteLedger, path: Path) -> None:
    for verdict in (TicketVerdict.EXPIRED, TicketVerdict.REVOKED_KEY, TicketVerdict.CLOCK_SUSPECT):
        answer = await ledger.redeem_ticket(asked(1, verdict=verdict), now=NOW, policy=POLICY)
        assert (answer.outcome, answer.verdict) == (Outcome.REFUSED, verdict)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT COUNT(*) FROM ticket").fetchone() == (0,)


async def test_a_wrong_account_name_is_refused_before_anything(ledger: SqliteLedger) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        await outcome(ledger, 1, "a b")


async def test_the_lookups_use_their_indexes(ledger: SqliteLedger, path: Path) -> None:
    from edge_agent.cloud import ledger_tickets as module  # noqa: PLC0415 -- its statements, here alone

    expected = {
        module._KEPT: (("PRIMARY KEY",), (b"n",)),
        module._TAP: (("tap_tag_read",), (b"n", "t", "f")),
        module._ON_QUOTA: (("ticket_on_quota",), ("t", "f", 0)),
        module._PENDING: (("ticket_pending", "tap_tag_read"), (0,)),
    }
    with closing(sqlite3.connect(path)) as db:
        for sql, (indexes, parameters) in expected.items():
            plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
            assert all(index in plan for index in indexes), plan
            assert "SCAN" not in plan, plan


# Races.


async def test_of_connections_that_ask_at_once_one_gets_it(path: Path) -> None:
    ledgers = [SqliteLedger(path) for _ in range(4)]
    for ledger in ledgers:
        await ledger.open()
    for number in range(40):
        answers = await asyncio.gather(
            *(outcome(ledger, number, f"who-{n}", policy=WitnessPolicy()) for n, ledger in enumerate(ledgers))
        )
        granted = [answer for answer in answers if answer is not Outcome.REFUSED]
        assert len(granted) == 1, (number, answers)
    for ledger in ledgers:
        await ledger.close()


async def test_askers_that_race_do_not_exceed_the_quota(path: Path) -> None:
    ledgers = [SqliteLedger(path) for _ in range(4)]
    for ledger in ledgers:
        await ledger.open()
    answers = await asyncio.gather(*(outcome(ledgers[n % 4], n) for n in range(40)))
    assert sorted(answers).count(Outcome.ON_QUOTA) == 2
    assert sorted(answers).count(Outcome.PENDING) == 38
    for ledger in ledgers:
        await ledger.close()


async def test_an_ask_that_races_with_its_report_is_granted_at_the_latest_when_it_asks_again(path: Path) -> None:
    receiver, web = SqliteLedger(path), SqliteLedger(path)
    await receiver.open()
    await web.open()
    for number in range(1, 40):
        first, _ = await asyncio.gather(
            outcome(web, number, policy=STRICT), receiver.store([read_of(number, received_at=NOW)])
        )
        assert first in (Outcome.PENDING, Outcome.GRANTED)
        assert await outcome(web, number, at=1, policy=STRICT) is Outcome.GRANTED
    await web.close()
    await receiver.close()


async def test_while_somebody_writes_the_ask_waits_and_nothing_is_granted_on_old_news(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.open()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute(
            "INSERT INTO ticket VALUES (?, ?, 'sh', 'sh-1-a', 'bert', ?, 'pending', NULL)", (KEY.kid, b"nonce001", NOW)
        )
        asking = asyncio.create_task(outcome(ledger, 1))
        threading.Timer(0.2, other.execute, ("COMMIT",)).start()
        assert await asking is Outcome.REFUSED
    await ledger.close()


async def test_a_failed_commit_grants_nothing(ledger: SqliteLedger, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON ticket BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        db.commit()
    with pytest.raises(LedgerError, match="disk is full"):
        await outcome(ledger, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER full")
        db.commit()
    assert await outcome(ledger, 1, "bert") is Outcome.ON_QUOTA


# From the phone's text to the answer.


async def test_a_ticket_goes_from_text_to_answer(ledger: SqliteLedger) -> None:
    record = KeyRecord(KEY.public, "sh", "sh-1-a")
    keys = {KEY.kid: record}

    async def said(text: str, who: str, at: float = 0) -> tuple[str, str]:
        found = await redeem_ticket(text, who, now=NOW + at, keys=keys.get, ledger=ledger, policy=POLICY)
        return found.answer.outcome.value, found.answer.verdict.value

    text = seal(Ticket(KEY.kid, int(NOW), 120, b"nonce001"), KEY.sign)
    other = PrivateKey.from_ed25519_seed(bytes(32))
    forged = seal(Ticket(KEY.kid, int(NOW), 120, b"nonce001"), other.sign)
    assert await said(text, "anna", at=131) == ("refused", "expired")
    assert await said(text, "anna") == ("granted_on_quota", "fresh")
    assert await said(text, "anna", at=99_999) == ("granted_on_quota", "fresh"), "asked again by the same person"
    assert await said(text, "bert") == ("refused", "used")
    assert await said(forged, "anna") == ("refused", "bad_signature"), "a forgery learns nothing"
    assert await said("x", "anna") == ("refused", "malformed")
    keys[KEY.kid] = replace(record, revoked_at=int(NOW))
    assert await said(text, "anna") == ("granted_on_quota", "fresh")
    unused = seal(Ticket(KEY.kid, int(NOW), 120, b"nonce002"), KEY.sign)
    assert await said(unused, "anna") == ("refused", "revoked_key")
    for shown in (text, "x"):
        with pytest.raises(ValueError, match="1 to 64"):
            await said(shown, "")


# The whole ledger against a model that knows only what must be true.

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 5), st.sampled_from(["anna", "bert"])),
        st.tuples(st.just("tap"), st.integers(0, 5), st.sampled_from(["", "test"])),
        st.tuples(st.just("wait"), st.sampled_from([1, 300, 601, 3601]), st.just("")),
        st.tuples(st.just("settle"), st.just(0), st.just("")),
        st.tuples(st.just("restart"), st.just(0), st.just("")),
    ),
    max_size=40,
)


class Model:
    """Tickets 0 to 5 of one terminal, what was said about them, and the ledger that said it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = SqliteLedger(path)
        self.at = 0.0
        self.taps: list[tuple[int, float, str]] = []
        self.asked: dict[int, tuple[str, float]] = {}
        self.alone: dict[int, float] = {}
        self.granted: set[int] = set()

    def witnessed(self, number: int) -> bool:
        return any(
            n == number and not test and moment <= self.asked[number][1] + POLICY.match_s
            for n, moment, test in self.taps
        )

    async def wait(self, seconds: int, _: str) -> None:
        self.at += seconds

    async def restart(self, _number: int, _: str) -> None:
        await self.ledger.close()
        self.ledger = SqliteLedger(self.path)
        await self.ledger.open()

    async def tap(self, number: int, test: str) -> None:
        self.taps.append((number, self.at, test))
        await self.ledger.store([read_of(number, received_at=NOW + self.at, seq=len(self.taps), test=bool(test))])

    async def settle(self, _number: int, _: str) -> None:
        for one in await self.ledger.settle_tickets(now=NOW + self.at, policy=POLICY):
            number = int(one.nonce[5:])
            assert self.witnessed(number)
            assert number not in self.granted
            assert one.who == self.asked[number][0]
            self.granted.add(number)

    async def ask(self, number: int, who: str) -> None:
        answer = await self.ledger.redeem_ticket(asked(number, who), now=NOW + self.at, policy=POLICY)
        first = number not in self.asked
        if first and answer.outcome is not Outcome.REFUSED:
            self.asked[number] = (who, self.at)
        if first and answer.outcome is Outcome.REFUSED:
            assert answer.verdict is TicketVerdict.TEST_TAP
            assert any(n == number and test for n, _, test in self.taps)
        elif self.asked[number][0] != who:
            assert (answer.outcome, answer.verdict) == (Outcome.REFUSED, TicketVerdict.USED)
        else:
            self.check(number, answer, first=first)

    def check(self, number: int, answer: Answer, *, first: bool) -> None:
        if first and answer.outcome is Outcome.ON_QUOTA:
            self.alone[number] = self.at
            open_now = [n for n, since in self.alone.items() if since > self.at - 600 and not self.witnessed(n)]
            assert len(open_now) <= POLICY.quota.per_terminal
        if answer.granted:
            assert answer.outcome is Outcome.ON_QUOTA or self.witnessed(number)
            self.granted.add(number)
        else:
            assert number not in self.granted, "taken back"
            assert not self.witnessed(number), "its report came in time"


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
async def test_any_history_grants_each_nonce_once_and_keeps_the_quota(
    steps: list[tuple[str, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = Model(tmp_path_factory.mktemp("model") / "ledger.db")
    await model.ledger.open()
    for kind, number, detail in steps:
        await getattr(model, kind)(number, detail)
    await model.ledger.close()

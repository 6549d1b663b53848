"""What a technician is told of each phone at a reader, step by step, and which phone a late step belongs to."""

import asyncio
from collections.abc import Callable

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import EdgeAgentError, LostReason, OutboxError, SessionLost, TapRefused
from edge_agent.live.steps import Step, StepName, StepRing
from edge_agent.models import StoredTap, TapFacts
from edge_agent.readers.base import TargetKind
from edge_agent.readers.exchange import CardPolicy
from tests.fakes.fake_reader import FakeReader, FakeSession, Reply
from tests.readers.test_service import AID, FCI, OK, Bench, phone

NOT_FOUND = b"\x6a\x82"


def followed(**settings: object) -> tuple[Bench, StepRing]:
    bench, ring = Bench(FakeReader(), **settings), StepRing()  # type: ignore[arg-type] # the settings of the bench
    bench.service.follow(ring)
    return bench, ring


def told(ring: StepRing) -> list[tuple[StepName, dict[str, object]]]:
    return [(step.name, dict(step.facts)) for step in ring.after(0)]


async def end_of(bench: Bench, session: FakeSession) -> None:
    before = len(bench.ends)
    bench.reader.put(session)
    await bench.ended(before + 1)
    session.leave()


async def test_a_good_tap_tells_every_step() -> None:
    bench, ring = followed()
    async with bench.running():
        await end_of(bench, phone(b"\x86\x01\x00" + OK))
    names = [name.value for name, _ in told(ring)]
    assert names == ["seen", "answered", "nonce", "token", "delivered", "ended"]
    facts = dict(told(ring))
    assert facts[StepName.SEEN] == {"technology": "iso_dep", "sak": 0x20, "uid_bytes": 7}
    assert facts[StepName.ANSWERED] == {"aid": AID, "sw": OK, "ms": 0.0}
    assert facts[StepName.NONCE] == {"nonce_bytes": 16}
    assert facts[StepName.TOKEN] == {"chain": b"chain-id", "seq": 1}
    assert facts[StepName.DELIVERED] == {"sw": OK, "ms": 0.0, "receipt": 1}
    assert facts[StepName.ENDED] == {"outcome": "accepted", "why": ""}


@pytest.mark.parametrize(
    ("session", "names", "end"),
    [
        (lambda: FakeSession(NOT_FOUND), ["seen", "answered", "ended"], {"outcome": "no_app", "why": ""}),
        (lambda: FakeSession(b"\x69\x85"), ["seen", "answered", "ended"], {"outcome": "locked", "why": ""}),
        (lambda: FakeSession(b""), ["seen", "answered", "ended"], {"outcome": "malformed", "why": ""}),
        (lambda: FakeSession(kind=TargetKind.PLAIN), ["seen", "ended"], {"outcome": "ignored", "why": ""}),
        (
            lambda: FakeSession(Reply(error=SessionLost(LostReason.VANISHED, "gone\x1b[2J"))),
            ["seen", "ended"],
            {"outcome": "lost", "why": "gone\\x1b[2J"},
        ),
        (
            lambda: FakeSession(FCI, Reply(error=SessionLost(LostReason.VANISHED, "gone"))),
            ["seen", "answered", "nonce", "token", "ended"],
            {"outcome": "unconfirmed", "why": "gone"},
        ),
    ],
)
async def test_where_a_phone_ended_and_why_is_told(
    session: Callable[[], FakeSession], names: list[str], end: dict[str, str]
) -> None:
    bench, ring = followed()
    async with bench.running():
        await end_of(bench, session())
    assert [name.value for name, _ in told(ring)] == names
    assert told(ring)[-1] == (StepName.ENDED, end)


@pytest.mark.parametrize("error", [TapRefused("too soon"), OutboxError("no room")])
async def test_why_a_tap_was_refused_is_told(error: EdgeAgentError) -> None:
    bench, ring = followed()
    bench.issue_results.append(error)
    async with bench.running():
        await end_of(bench, phone(OK))
    assert told(ring)[-1] == (StepName.ENDED, {"outcome": "refused", "why": error.text})


async def test_the_ats_is_told_once_even_if_the_phone_says_nothing_more() -> None:
    bench, ring = followed()

    class Silent(FakeSession):
        async def transceive(self, apdu: bytes, timeout_s: float) -> bytes:
            self.ats = bytes.fromhex("0578807002")
            return await super().transceive(apdu, timeout_s)

    async with bench.running():
        await end_of(bench, Silent(Reply(error=SessionLost(LostReason.VANISHED, "gone"))))
        await end_of(bench, Silent(FCI, OK))
    assert [name.value for name, _ in told(ring)][:3] == ["seen", "ats", "ended"]
    assert [name for name, _ in told(ring)].count(StepName.ATS) == 2


async def test_a_commit_that_comes_late_is_told_of_the_phone_that_it_is_of() -> None:
    disk = asyncio.Event()
    bench, ring = followed(budget_s=0.1, clock=FakeClock())
    bench.issue_results.append(disk)
    async with bench.running():
        await end_of(bench, phone(OK))
        await end_of(bench, FakeSession(NOT_FOUND))
        disk.set()
        await bench.until(lambda: any(step.name is StepName.TOKEN for step in ring.after(0)))

    def step(name: StepName) -> Step:
        return next(step for step in ring.after(0) if step.name is name)

    assert step(StepName.ENDED).facts["outcome"] == "late"
    assert step(StepName.TOKEN).visit == step(StepName.SEEN).visit


class Repeating(Bench):
    """Gives its first token to everybody."""

    async def _issue(self, facts: TapFacts) -> StoredTap:
        self.committed = 0
        return await super()._issue(facts)


async def test_a_token_that_is_given_again_says_so() -> None:
    bench, ring = Repeating(FakeReader()), StepRing()
    bench.service.follow(ring)
    async with bench.running():
        await end_of(bench, phone(OK))
        await end_of(bench, phone(OK))
    assert [facts.get("again") for name, facts in told(ring) if name is StepName.TOKEN] == [None, 1]


async def test_a_card_that_makes_a_tap_has_no_nonce() -> None:
    bench, ring = followed(cards=CardPolicy.PSEUDONYM)
    async with bench.running():
        await end_of(bench, FakeSession(kind=TargetKind.PLAIN))
    assert [name.value for name, _ in told(ring)] == ["seen", "token", "ended"]

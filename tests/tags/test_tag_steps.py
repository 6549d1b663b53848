"""What a technician is told of each phone that reads a tag, step by step."""

import pytest

from edge_agent.errors import TapRefused
from edge_agent.live.steps import StepRing
from edge_agent.tags.base import FieldGone, FieldSeen, TicketRead
from tests.fakes.waiting import eventually
from tests.tags.test_service import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def ring(bench: Bench) -> StepRing:
    ring = StepRing()
    bench.service.follow(ring)
    return ring


def told(ring: StepRing) -> list[tuple[int, str, object]]:
    return [(step.visit, step.name.value, step.facts.get("outcome")) for step in ring.after(0)]


async def test_a_read_is_told_from_the_field_to_the_token(bench: Bench, ring: StepRing) -> None:
    async with bench.running():
        url = await bench.has_shown(1)
        now = bench.clock.monotonic()
        bench.surface.tell(FieldSeen(now))
        bench.surface.tell(TicketRead(url, now, now))
        await eventually(lambda: len(told(ring)) == 4)
        await bench.look_again()  # it leaves, and that is the end of no second phone
    assert told(ring) == [(1, "seen", None), (1, "read", None), (1, "token", None), (1, "ended", "accepted")]


async def test_a_phone_that_leaves_without_a_read_is_told(bench: Bench, ring: StepRing) -> None:
    async with bench.running():
        await bench.has_shown(1)
        bench.surface.tell(FieldSeen(bench.clock.monotonic()))
        bench.surface.tell(FieldGone(bench.clock.monotonic()))
        await eventually(lambda: len(told(ring)) == 2)
    assert told(ring)[-1] == (1, "ended", "not_read")


async def test_a_read_without_a_field_before_it_is_a_phone_too_and_its_refusal_is_told(
    bench: Bench, ring: StepRing
) -> None:
    bench.issue_results.append(TapRefused("too many"))
    async with bench.running():
        url = await bench.has_shown(1)
        now = bench.clock.monotonic()
        bench.surface.tell(TicketRead(url, now, now))
        await eventually(lambda: len(told(ring)) == 3)
    assert told(ring) == [(1, "seen", None), (1, "read", None), (1, "ended", "refused")]
    assert ring.after(2)[0].facts["why"] == "too many"

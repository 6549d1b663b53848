"""Any phone at all: cut off in time, no reader fault, and whoever comes next is served.

`make test` draws some thousands of cases, `make proof` a hundred thousand. A failing case names its seed:
``one_case(QuickReader(), 17)``.
"""

import random
import time

import pytest

from edge_agent.readers.exchange import Outcome
from edge_agent.simulation.odd_phones import ODD_PHONES
from edge_agent.simulation.phones import SimulatedPhone
from tests.fakes.hostile_phone import HostilePhone
from tests.fakes.proof_report import LINES
from tests.fakes.quick_reader import BUDGET_S, QuickReader

SHORT, LONG = 2_000, 100_000
SPREAD = 1_000_000
LATE_S = 0.03
"""A frame that is on the air when the budget ends is waited for."""


def one_case(reader: QuickReader, seed: int) -> Outcome | None:
    """A hostile phone, then a good one; returns how the hostile one's tap ended."""
    rng = random.Random(seed)
    tap = reader.tap(HostilePhone(rng))
    assert tap.took_s <= BUDGET_S + LATE_S, f"seed {seed}: {tap.outcome} took {tap.took_s:.3f} s"
    assert reader.is_idle(), f"seed {seed}: something is still there"
    good = SimulatedPhone(rng=rng)
    assert reader.tap(good).outcome is Outcome.ACCEPTED, f"seed {seed}: the next phone was not served"
    assert len(good.tokens) == 1, f"seed {seed}"
    return tap.outcome


def many(first: int, count: int) -> dict[str, int]:
    reader = QuickReader()
    ends: dict[str, int] = {}
    for seed in range(first, first + count):
        end = one_case(reader, seed)
        name = end.value if end else "unseen"
        ends[name] = ends.get(name, 0) + 1
    return ends


def test_any_phone_is_cut_off_and_the_next_one_is_served() -> None:
    ends = many(SPREAD, SHORT)
    # The draw reaches every end that a phone can bring about.
    expected = {"accepted", "unconfirmed", "lost", "timeout", "foreign", "malformed", "locked", "unseen"}
    assert expected <= ends.keys(), ends


@pytest.mark.parametrize("name", sorted(ODD_PHONES))
def test_the_whole_collection_ends_in_time(name: str) -> None:
    reader = QuickReader()
    assert reader.tap(ODD_PHONES[name](random.Random(1))).took_s <= BUDGET_S + LATE_S
    assert reader.tap(SimulatedPhone()).outcome is Outcome.ACCEPTED


@pytest.mark.proof
@pytest.mark.timeout(1500)
def test_a_hundred_thousand_phones() -> None:
    began = time.perf_counter()
    ends = many(0, LONG)
    assert sum(ends.values()) == LONG
    LINES.append(f"PROOF fault=hostile_phone times={LONG} ends={ends} took_s={time.perf_counter() - began:.0f}")

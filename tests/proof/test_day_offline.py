"""24 hours without a network, by an injected clock that is unset at first, set by NTP, and stepped meanwhile."""

import asyncio
import random
from itertools import count
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.models import ClockTrust, Tap, TapFacts, TapMode
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import parse
from tests.fakes.audit import audit
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.proof_report import report
from tests.fakes.table_cloud import FLEET, STREAM, TERMINAL, table_cloud

DAY_S = 86_400
HOUR_S = 3_600


def disturb(clock: FakeClock, hour: int) -> None:
    """What happens to a clock in a day: set after two hours, two weeks back once and set again, distrusted at last."""
    if hour == 2:
        clock.step_wall(1_790_000_000 - clock.unix)
        clock.trust = ClockTrust.SYNCED
    elif hour == 9:
        clock.step_wall(-14 * DAY_S)
    elif hour == 10:
        clock.step_wall(14 * DAY_S)
    elif hour == 20:
        clock.trust = ClockTrust.HOLDOVER


async def kept(outbox: OutboxStore, tap: Tap) -> bytes:
    """One tap; a clock that jumps a minute while the thread works makes the storage look as if it hung."""
    while True:
        try:
            return (await outbox.append(tap)).token
        except OutboxError as error:
            if error.fault is not OutboxFault.BUSY:
                raise
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(max_rows=150)], ids=["room enough", "small bounds"])
@pytest.mark.parametrize("taps", [400, pytest.param(10_000, marks=[pytest.mark.proof, pytest.mark.timeout(300)])])
async def test_a_day_offline_arrives_whole_or_is_accounted_for(tmp_path: Path, taps: int, bounds: Bounds) -> None:
    key, rnd = PrivateKey.generate(), random.Random(24)
    clock = FakeClock(unix=0, trust=ClockTrust.UNSET)
    codec = outbox_codec(key, FLEET, TERMINAL, clock)
    outbox = OutboxStore(
        tmp_path / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S, bounds=bounds)
    )
    await outbox.open()
    promised: list[bytes] = []
    begun, hours, largest = clock.mono, count(), 0
    hour = next(hours)
    while len(promised) < taps:
        clock.advance(rnd.expovariate(taps / DAY_S))
        while clock.mono - begun > hour * HOUR_S:
            disturb(clock, hour)
            hour = next(hours)
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=rnd.randbytes(8))
        promised.append(await kept(outbox, Tap(facts=facts, at=clock.read(), ttl=90)))
        if len(promised) % 100 == 0:
            stats = await outbox.stats()
            largest = max(largest, stats.pending)
    claims = [parse(token).claims for token in promised]
    assert [claim.seq for claim in claims] == list(range(1, taps + 1))
    assert [claim.up for claim in claims] == sorted(claim.up for claim in claims), "time since boot only grows"
    assert {claim.clk for claim in claims} == set(ClockTrust)
    assert all((claim.exp == claim.iat) == (claim.clk is ClockTrust.UNSET) for claim in claims)
    assert largest <= bounds.max_rows
    async with table_cloud(tmp_path, key.public, clock) as cloud:
        waiting = await cloud.deliver_all(outbox)
        evicted = (await outbox.stats()).evicted
        await outbox.close()
        small = bounds.max_rows < taps
        audited = audit(cloud.path, promised, key=key.public, stream=STREAM, waiting=waiting, may_give_up=small)
    assert audited.given_up == evicted
    assert bool(evicted) is small
    how = "injected clock, unset at first, set, two weeks back and again" + (
        f"; at most {bounds.max_rows} rows" * small
    )
    report("24 h offline", how, audited, times=1)

"""Story 19: flash worn out by the database. What a tap gives to write(2), as the kernel counts it, is bounded."""

import os
from pathlib import Path

from edge_agent.clock import FakeClock
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keys import PrivateKey
from tests.conftest import skip_or_fail
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.table_cloud import FLEET, TERMINAL

TAPS = 600
BOUND = 10_000
"""Generous: the benchmarks print what it is, commit, confirmation and the way back from the WAL together."""


def written() -> int:
    """What this process gave to write(2) and its kin so far, ``wchar`` of proc(5)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


async def test_a_tap_from_its_commit_to_its_deletion_writes_less_than_its_bound(tmp_path: Path) -> None:
    if not os.access("/proc/self/io", os.R_OK):
        skip_or_fail("the kernel does not count the bytes of a process; to have it: CONFIG_TASK_IO_ACCOUNTING")
    key, clock = PrivateKey.generate(), FakeClock()
    store = OutboxStore(
        tmp_path / "outbox.db",
        outbox_codec(key, FLEET, TERMINAL, clock),
        clock=clock,
        settings=StoreSettings(close_s=CLOSE_S),
    )
    await store.open()
    before = written()
    for number in range(TAPS):
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=number.to_bytes(8, "big"))
        tap = await store.append(Tap(facts=facts, at=clock.read(), ttl=90))
        lease = store.lease_live(1, tap)
        assert lease is not None
        store.confirm_sent(lease)
        store.confirm_stored(tap.chain, tap.seq, [])
    await store.flush()
    await store.close()
    per_tap = (written() - before) / TAPS
    assert 500 < per_tap < BOUND, f"{per_tap:.0f} bytes for each tap"

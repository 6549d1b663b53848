"""A file system without space: the tap is refused, nothing is torn, and it heals by itself (failure story 6)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError
from edge_agent.models import StoredTap
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.conftest import skip_or_fail
from tests.fakes.outbox_taps import CLOSE_S, PLAIN, a_tap, place_in, plain_link


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        skip_or_fail("needs the right to mount a tmpfs: run it as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def append(store: OutboxStore, taps: int) -> list[StoredTap | OutboxError]:
    results: list[StoredTap | OutboxError] = []
    for _ in range(taps):
        try:
            results.append(await store.append(a_tap()))
        except OutboxError as error:
            results.append(error)
    return results


async def test_a_full_file_system_refuses_taps_until_there_is_room(small_disk: Path) -> None:
    settings = StoreSettings(close_s=CLOSE_S, keep_newest=0, bounds=Bounds(min_free_bytes=0))
    store = OutboxStore(small_disk / "outbox.db", PLAIN, clock=FakeClock(), settings=settings)
    await store.open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(100_000))
    results = await append(store, 400)
    kept = [result for result in results if isinstance(result, StoredTap)]
    refused = [result for result in results if isinstance(result, OutboxError)]
    assert len(kept) > 10
    assert refused
    assert all("no space left" in error.text for error in refused)
    assert (await store.stats()).pending == len(kept), "what was kept can still be read and sent"
    lease = await store.lease_backlog(1, max_rows=10, max_bytes=9999)
    assert lease is not None
    assert lease.tokens == tuple(tap.token for tap in kept[:10])

    ballast.unlink()
    (after,) = await append(store, 1)
    assert isinstance(after, StoredTap)
    assert (after.seq, place_in(after.token).prev) == (kept[-1].seq + 1, plain_link(kept[-1].token))
    assert store.confirm_stored(after.chain, after.seq, []) == len(kept) + 1
    await store.flush()
    assert (await store.stats()).stored == 0
    await store.close()

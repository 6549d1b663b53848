"""The outbox: commit latency against a bare script, bytes written per tap, backlog reads, opening with 100,000 rows.

The script is what one would write in an afternoon: sign with Ed25519, INSERT into SQLite (WAL, FULL, defaults). Both
take turns in one run, so that their ratio holds on a noisy machine. Bytes are those that the kernel counts for this
process (/proc/self/io write_bytes: whole pages sent to the medium), with the deletion of the rows included.
"""

import asyncio
import gc
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure
from edge_agent.clock import SystemClock
from edge_agent.models import ChainPosition, StoredTap, Tap, TapFacts, TapMode
from edge_agent.outbox.base import Bounds, Codec
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keys import PrivateKey

BODY_BYTES = 160
ROUNDS = 1500
BACKLOG = 100_000
FULL_ROWS = 3000
_KEY = Ed25519PrivateKey.generate()
_CLOCK = SystemClock(assume_synced=True)


def _seal(_tap: Tap, place: ChainPosition) -> bytes:
    body = (place.cti + place.prev).ljust(BODY_BYTES, b"\x5a")
    return body + _KEY.sign(body)


def _link(token: bytes) -> bytes:
    return token[-16:]


_CODEC = Codec(
    _seal, lambda _: b"", _link, lambda _: None, lambda _: 0, lambda _: None
)  # nothing is evicted or salvaged here


def _tap() -> Tap:
    return Tap(facts=TapFacts(mode=TapMode.PHONE_APP, reader="r", nonce=b"nonce-01"), at=_CLOCK.read(), ttl=90)


def _store(folder: Path, **settings: float) -> OutboxStore:
    chosen = StoreSettings(**settings)  # type: ignore[arg-type]  # all of them are numbers
    return OutboxStore(folder / "outbox.db", _CODEC, clock=_CLOCK, settings=chosen)


def _bytes_written() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


async def _latency(folder: Path) -> dict[str, float]:
    """Seconds of one tap, alone on the machine, in turns with the bare script; medians."""
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode=WAL")
    bare.execute("PRAGMA synchronous=FULL")
    bare.execute("CREATE TABLE outbox (id INTEGER PRIMARY KEY, token BLOB NOT NULL)")
    store = _store(folder)
    await store.open()
    ours: list[float] = []
    theirs: list[float] = []
    body = bytes(BODY_BYTES)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        bare.execute("INSERT INTO outbox (token) VALUES (?)", (body + _KEY.sign(body),))
        theirs.append(time.perf_counter() - start)
        start = time.perf_counter()
        await store.append(_tap())
        ours.append(time.perf_counter() - start)
    await store.close()
    bare.close()
    return {"ours": median(ours), "p99": sorted(ours)[ROUNDS * 99 // 100], "bare": median(theirs)}


async def _group(folder: Path) -> float:
    """Taps per second when 64 come together, again and again."""
    store = _store(folder)
    await store.open()
    taps = 0
    start = time.perf_counter()
    while time.perf_counter() - start < 1.0:
        await asyncio.gather(*(store.append(_tap()) for _ in range(64)))
        taps += 64
    rate = taps / (time.perf_counter() - start)
    await store.close()
    return rate


async def _wear(folder: Path, taps_per_flush: int, taps: int) -> tuple[float, int]:
    """Bytes written per tap from its commit to its deletion, closing included; and those of the opening."""
    closed = _bytes_written()
    store = _store(folder, keep_newest=0)
    await store.open()
    before = _bytes_written()
    for number in range(1, taps + 1):
        stored = await store.append(_tap())
        lease = store.lease_live(1, stored)
        assert lease is not None
        store.confirm_sent(lease)
        assert store.confirm_stored(stored.chain, stored.seq, []) == 1
        if number % taps_per_flush == 0:
            await store.flush()
    await store.close()
    return (_bytes_written() - before) / taps, before - closed


async def _wear_evicting(folder: Path, taps: int) -> tuple[float, int]:
    """Bytes written per tap of an outbox that is full and takes nobody's word: each eviction signs its gap record.

    Returns them, and the rows that were evicted.
    """
    codec = outbox_codec(PrivateKey.generate(), "bench", "bench-000001-a", _CLOCK)
    settings = StoreSettings(bounds=Bounds(max_rows=FULL_ROWS))
    store = OutboxStore(folder / "outbox.db", codec, clock=_CLOCK, settings=settings)
    await store.open()
    for _ in range(0, FULL_ROWS, 100):
        await asyncio.gather(*(store.append(_tap()) for _ in range(100)))
    await store.flush()
    before = _bytes_written()
    for _ in range(taps):
        await store.append(_tap())
    evicted = (await store.stats()).evicted
    await store.close()
    return (_bytes_written() - before) / taps, evicted


async def _fill(folder: Path, rows: int) -> None:
    store = _store(folder)
    await store.open()
    stored: list[StoredTap] = []
    while len(stored) < rows:
        stored += await asyncio.gather(*(store.append(_tap()) for _ in range(500)))
    await store.close()


@contextmanager
def _busy_thread(*, busy: bool) -> Iterator[None]:
    """Another thread that never lets go of the GIL by itself, as an event loop amid a drain."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(100))

    thread = threading.Thread(target=spin)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()


async def _open_and_read(folder: Path, *, busy: bool) -> dict[str, float]:
    """Milliseconds to open and to accept a first tap with the backlog waiting; rows per second leased by 64."""
    gc.collect()
    start = time.perf_counter()
    store = _store(folder)
    stats = await store.open()
    opened = time.perf_counter() - start
    assert stats.pending >= BACKLOG
    await store.append(_tap())
    first_tap = time.perf_counter() - start
    rows = 0
    with _busy_thread(busy=busy):
        start = time.perf_counter()
        while rows < BACKLOG and time.perf_counter() - start < 3.0:
            lease = await store.lease_backlog(1, max_rows=64, max_bytes=16_384)
            assert lease is not None
            store.confirm_sent(lease)
            rows += len(lease.tokens)
        rate = rows / (time.perf_counter() - start)
    store.requeue_unconfirmed(0.0)  # the next round reads them again
    await store.close()
    return {"open_ms": opened * 1000, "first_tap_ms": first_tap * 1000, "rows_per_s": rate}


def run() -> list[Figure]:
    """Measure everything; about 15 s."""
    with tempfile.TemporaryDirectory(prefix="bench-outbox-") as name:
        folder = Path(name)

        def room(of: str) -> Path:
            (folder / of).mkdir()
            return folder / of

        tap = asyncio.run(_latency(room("latency")))
        grouped = asyncio.run(_group(room("group")))
        usual, _ = asyncio.run(_wear(room("wear"), taps_per_flush=20, taps=1000))
        worst, opening = asyncio.run(_wear(room("wear-worst"), taps_per_flush=1, taps=500))
        evicting, evicted = asyncio.run(_wear_evicting(room("wear-evicting"), taps=1000))
        backlog = room("backlog")
        asyncio.run(_fill(backlog, BACKLOG))
        idle = asyncio.run(_open_and_read(backlog, busy=False))
        busy = asyncio.run(_open_and_read(backlog, busy=True))
    ratio = tap["ours"] / tap["bare"]
    return [
        Figure("one tap, sealed and committed, p50", tap["ours"] * 1000, "ms"),
        Figure("one tap, sealed and committed, p99", tap["p99"] * 1000, "ms"),
        Figure("  ... against the bare script", ratio, "x", "<= 1.3", ratio <= 1.3),
        Figure("64 taps at once", grouped, "taps/s"),
        Figure("written per tap, 20 confirmed at a time", usual / 1000, "kB", "<= 10", usual <= 10_000),
        Figure("written per tap, each confirmed alone", worst / 1000, "kB", "<= 14", worst <= 14_000),
        Figure("written per tap, outbox full and evicting", evicting / 1000, "kB", "<= 10", evicting <= 10_000),
        Figure("  ... rows evicted meanwhile", evicted, "rows", ">= 1,000", evicted >= 1000),
        Figure("written at a start, to lengthen the WAL", opening / 1000, "kB"),
        Figure("open, 100,000 rows waiting", idle["open_ms"], "ms", "<= 300", idle["open_ms"] <= 300),
        Figure(
            "  ... and the first tap is committed", idle["first_tap_ms"], "ms", "<= 2000", idle["first_tap_ms"] <= 2000
        ),
        Figure("backlog leased by 64", idle["rows_per_s"], "rows/s", ">= 200000", idle["rows_per_s"] >= 200_000),
        Figure("  ... while another thread holds the GIL", busy["rows_per_s"], "rows/s"),
    ]


if __name__ == "__main__":
    for figure in run():
        sys.stdout.write(f"{figure}\n")

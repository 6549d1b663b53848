"""A terminal's configuration, key and outbox with real tokens, for the commands: with its agent stopped or running.

Running means the real store and the real ops behind a real control socket, in a thread of its own, as the agent is
another process; readers, screens and uplink are left out.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from edge_agent.clock import FakeClock
from edge_agent.control import ControlServer
from edge_agent.models import ClockReading, ClockTrust, Tap, TapFacts, TapMode
from edge_agent.ops.outbox import OutboxOps
from edge_agent.outbox.base import Bounds, Lease
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import checkpoint_sealer, outbox_codec
from edge_agent.tokens.keyring import create_key_file
from tests.fakes.outbox_taps import CLOSE_S

T = TypeVar("T")
Use = Callable[[OutboxStore], Awaitable[T]]

FLEET, TERMINAL = "sh", "sh-000123-a"
CONFIG = """\
[terminal]
id = "{terminal}"
fleet = "{fleet}"

[uplink]
host = "localhost"

[keys]
path = "{folder}/tap.key"

[outbox]
path = "{folder}/outbox.db"

[control]
socket = "{folder}/control.sock"
"""


class OutboxSite:
    """One terminal's files in ``folder``."""

    def __init__(self, folder: Path, *, now: int = 1_790_000_000) -> None:
        self.folder = folder
        self.config = folder / "edge-agent.toml"
        self.config.write_text(CONFIG.format(folder=folder, terminal=TERMINAL, fleet=FLEET))
        self.key = create_key_file(folder / "tap.key")
        self.clock = FakeClock(unix=now, trust=ClockTrust.SYNCED)
        self.pokes = 0

    @property
    def database(self) -> Path:
        """The outbox's file."""
        return self.folder / "outbox.db"

    def tap(self, number: int = 0, *, trust: ClockTrust = ClockTrust.SYNCED) -> Tap:
        """A tap of this moment."""
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="nfc0", nonce=number.to_bytes(8, "big"))
        return Tap(facts=facts, at=ClockReading(int(self.clock.unix), trust, b"bootbyte", 5), ttl=90)

    def store(self, settings: StoreSettings | None = None) -> OutboxStore:
        """An outbox as the agent would make it."""
        codec = outbox_codec(self.key, FLEET, TERMINAL, self.clock)
        return OutboxStore(
            self.database, codec, clock=self.clock, settings=settings or StoreSettings(close_s=CLOSE_S, keep_newest=0)
        )

    def stopped(self, use: "Use[T]", settings: StoreSettings | None = None) -> T:
        """Work on the outbox as an agent that ran and ended."""

        async def run() -> T:
            store = self.store(settings)
            await store.open()
            try:
                return await use(store)
            finally:
                await store.close()

        with asyncio.Runner() as runner:
            return runner.run(run())

    async def taps(self, store: OutboxStore, count: int) -> None:
        """Keep taps, and give up what is beyond the bounds, which an agent does a moment later."""
        for first in range(0, count, 500):
            for stored in [store.append(self.tap(number)) for number in range(first, min(first + 500, count))]:
                await stored
        for _ in range(2):  # a look that is under way may have measured before
            store._upkeep.look_soon()
            if (look := store._upkeep._look_task) is not None:
                await look

    @contextmanager
    def running(self) -> Iterator["Running"]:
        """The agent's outbox behind its control socket."""
        agent = Running(self)
        try:
            yield agent
        finally:
            agent.end()

    def poke(self) -> None:
        """The uplink was woken."""
        self.pokes += 1


class Running:
    """An event loop in a thread that serves the outbox."""

    def __init__(self, site: OutboxSite) -> None:
        self._site = site
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._ready: Future[OutboxStore] = Future()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._thread.start()
        self.store = self._ready.result(45)

    async def _serve(self) -> None:
        site = self._site
        store = site.store()
        try:
            await store.open()
            ops = OutboxOps(
                store,
                terminal=TERMINAL,
                fleet=FLEET,
                confirm="receiver",
                bounds=Bounds(),
                seal_checkpoint=checkpoint_sealer(site.key, FLEET, TERMINAL, site.clock),
                poke=site.poke,
            )
            server = ControlServer(site.folder / "control.sock", ops.ops(), read_timeout_s=45)
            await server.start()
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(store)
        await self._done.wait()
        await server.close()
        await store.close()

    def do(self, use: "Use[T]") -> T:
        """Run something on the agent's loop."""

        async def run() -> T:
            return await use(self.store)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def end(self) -> None:
        """Stop the agent."""
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(45)
        self._loop.close()


async def leased(store: OutboxStore, rows: int) -> Lease:
    """The oldest waiting rows in the hands of a connection."""
    lease = await store.lease_backlog(1, max_rows=rows, max_bytes=10**6)
    assert lease is not None
    return lease


async def sent(store: OutboxStore, rows: int) -> None:
    """PUBACK for the oldest waiting rows."""
    store.confirm_sent(await leased(store, rows))


async def parked(store: OutboxStore, rows: int, why: str) -> None:
    """The broker refuses the oldest waiting rows for good."""
    store.park(await leased(store, rows), why)

"""A terminal without a reader that delivers real tokens over a real uplink: for faults in the middle of a drain."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_agent.clock import SystemClock
from edge_agent.cloud.receiver import ReceiverSettings
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import checkpoint_sealer, outbox_codec
from edge_agent.tokens.keys import PrivateKey
from edge_agent.uplink.base import LinkSettings
from edge_agent.uplink.publisher import PublisherSettings
from tests.fakes.audit import Audited, audit
from tests.fakes.cloud_site import CloudSite
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.uplink_terminal import TOPICS, Terminal

STREAM = (TOPICS.fleet, TOPICS.terminal)


class DrainingTerminal:
    """Its outbox, its uplink, its site; ``promised`` are all tokens that it ever committed."""

    def __init__(self, folder: Path, key: PrivateKey, terminal: Terminal, site: CloudSite) -> None:
        self.folder = folder
        self.key = key
        self.terminal = terminal
        self.site = site
        self.promised: list[bytes] = []

    @property
    def outbox(self) -> OutboxStore:
        """The real one."""
        return self.terminal.outbox

    async def taps(self, number: int) -> None:
        """So many taps at once, live: each is offered to the uplink as the issuer does."""

        async def tap() -> None:
            facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=os.urandom(8))
            stored = await self.outbox.append(Tap(facts=facts, at=self.terminal.clock.read(), ttl=90))
            self.promised.append(stored.token)
            self.terminal.publisher.offer(stored)

        for begun in range(0, number, 500):
            await asyncio.gather(*(tap() for _ in range(min(500, number - begun))))

    async def waiting(self) -> int:
        """Rows that are not known to be stored."""
        stats = await self.outbox.stats()
        return stats.pending + stats.leased + stats.sent + stats.parked + stats.gaps

    async def drained(self, *, below: int = 1, deadline_s: float = 60.0) -> None:
        """Wait until fewer rows than this wait."""
        async with asyncio.timeout(deadline_s):
            # The answer comes from the writer thread; there is no event to wait for.
            while await self.waiting() >= below:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.01)

    async def audit(self) -> Audited:
        """Compare the ledger with what was promised; everything must have arrived."""
        waiting = await self.waiting()
        path = self.folder / "ledger.db"
        return await asyncio.to_thread(audit, path, self.promised, key=self.key.public, stream=STREAM, waiting=waiting)


@asynccontextmanager
async def draining_terminal(
    folder: Path, uplink: LinkSettings, cloud: LinkSettings, **publishing: Any
) -> AsyncIterator[DrainingTerminal]:
    """A terminal that runs, and a receiver behind ``cloud``, which is usually the broker without the faults."""
    key, clock = PrivateKey.generate(), SystemClock(assume_synced=True)
    site = CloudSite(cloud.host, cloud.port, folder, ReceiverSettings(group="proof", session_expiry_s=300), clock=clock)
    site.keys[key.kid] = KeyRecord(key.public, *STREAM)
    outbox = OutboxStore(
        folder / "outbox.db",
        outbox_codec(key, *STREAM, clock),
        clock=clock,
        settings=StoreSettings(close_s=CLOSE_S, flush_s=0.5),
    )
    await outbox.open()
    await site.ledger.open()
    settings = replace(PublisherSettings(confirm_timeout_s=3.0), **publishing)
    terminal = Terminal(outbox, uplink, settings, checkpoint=checkpoint_sealer(key, *STREAM, clock))
    terminal.running = asyncio.create_task(terminal.publisher.run())
    try:
        async with site.receiving():
            yield DrainingTerminal(folder, key, terminal, site)
    finally:
        await terminal.publisher.stop()
        await asyncio.wait([terminal.running])
        await outbox.close()
        await site.ledger.close()
        if not terminal.running.cancelled():
            terminal.running.result()

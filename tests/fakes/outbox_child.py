"""A process that appends taps for ever and prints each one that it was promised: made to be killed.

``python -m tests.fakes.outbox_child DATABASE``. While it appends it also sends, confirms and deletes older rows.
"""

import asyncio
import sys
from pathlib import Path

import structlog

from edge_agent.clock import SystemClock
from edge_agent.errors import OutboxError, OutboxFault
from edge_agent.outbox.store import OutboxStore, StoreSettings
from tests.fakes.outbox_taps import PLAIN, a_tap


async def append_for_ever(store: OutboxStore) -> None:
    number = 0
    while True:
        asked = []
        for index in range(1 + number % 3):
            try:
                asked.append(store.append(a_tap(number + index)))
            except OutboxError as error:  # the machine stopped: to the outbox that is a storage that hangs
                if error.fault is not OutboxFault.BUSY:
                    raise
                await asyncio.sleep(0.01)
        for tap in await asyncio.gather(*asked):
            sys.stdout.buffer.write(b"%d %s\n" % (tap.seq, tap.token.hex().encode()))
        sys.stdout.buffer.flush()
        number += 1


async def confirm_for_ever(store: OutboxStore) -> None:
    while True:
        lease = await store.lease_backlog(1, max_rows=8, max_bytes=9999)
        if lease is not None:
            store.confirm_sent(lease)
            store.confirm_stored(lease.chain, lease.last, [(lease.first, lease.first)] if lease.last % 3 == 0 else [])
            await store.flush()
        await asyncio.sleep(0.002)


async def main(path: Path) -> None:
    settings = StoreSettings(keep_newest=0, idle_s=0.0)
    store = OutboxStore(path, PLAIN, clock=SystemClock(), settings=settings)
    await store.open()
    await asyncio.gather(append_for_ever(store), confirm_for_ever(store))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1])))

"""A terminal's outbox through many power cuts: real tokens, real store, real ledger; only the disk is not real.

Each life works until the power goes out in the middle of some operation; what survived is examined by the normal way
to open an outbox, and is where the next life begins.
"""

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_agent.clock import FakeClock
from edge_agent.errors import OutboxError
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.database import Database
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.chain import Gap, parse_gap
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import parse
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.power_cut_vfs import PowerCutDisk
from tests.fakes.table_cloud import FLEET, TERMINAL, TableCloud
from tests.fakes.watched_vfs import below

AMPLE = Bounds()


class CutLife:
    """One terminal; ``promised`` are all tokens that it ever handed out, on every file that it had."""

    def __init__(
        self,
        folder: Path,
        key: PrivateKey,
        clock: FakeClock,
        cloud: TableCloud,
        rnd: random.Random,
        *,
        bounds: Bounds = AMPLE,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.cloud = cloud
        self.rnd = rnd
        self.codec = outbox_codec(key, FLEET, TERMINAL, clock)
        self.settings = StoreSettings(
            close_s=CLOSE_S,
            keep_newest=rnd.choice([0, 4]),
            idle_s=0.05,
            flush_rows=1_000_000,
            probe_s=0.02,
            bounds=bounds,
        )
        self.promised: list[bytes] = []
        self.taken: set[bytes] = set()
        self.given_up: list[Gap] = []
        """What the cloud has gap records of."""
        self.cut_during: Counter[str] = Counter()
        self.recovery_s: list[float] = []
        self.store: OutboxStore
        self._session = 0
        self._file = 0
        self.stage = ""
        self.delivery = 0.2
        """Share of the steps in which something reaches the cloud."""
        self._here = folder / "0"
        self._here.mkdir()

    @property
    def path(self) -> Path:
        """The outbox of the moment."""
        return self._here / "outbox.db"

    def new_store(self) -> OutboxStore:
        """An outbox on the file of the moment, not open yet."""
        return OutboxStore(self.path, self.codec, clock=self.clock, settings=self.settings)

    # What happens in a life.

    async def tap(self, taps: int = 1) -> None:
        """So many taps at once; what is committed is promised."""
        self.clock.advance(1)
        facts = [TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=self.rnd.randbytes(8)) for _ in range(taps)]
        at = self.clock.read()
        results = await asyncio.gather(
            *(self.store.append(Tap(facts=fact, at=at, ttl=90)) for fact in facts), return_exceptions=True
        )
        self.promised += [result.token for result in results if not isinstance(result, BaseException)]
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def deliver(self, *, acked: bool = True) -> None:
        """One batch reaches the cloud; its ack comes back or does not."""
        for record in self.store.gaps_to_send():
            await self.cloud.take_gap(record.token)
            self.given_up.append(_gap(record.token))
            self.store.confirm_gap_sent(record.number)
        self._session += 1
        lease = await self.store.lease_backlog(self._session, max_rows=self.rnd.randrange(1, 30), max_bytes=16_000)
        if lease is None:
            return
        await self.cloud.take(lease.tokens)
        self.taken.update(lease.tokens)
        if self.rnd.random() < 0.8:
            self.store.confirm_sent(lease)
        self.store.release(self._session)
        if acked:
            ack = await self.cloud.ack(lease.chain)
            self.store.confirm_stored(lease.chain, ack.through, list(ack.missing))

    async def step(self, *, restarts: bool = True) -> None:
        """One thing that may happen."""
        kind = self.rnd.random()
        if kind < 0.8 - self.delivery:
            self.stage = "tap"
            await self.tap(self.rnd.choice([1, 1, 1, 2, 5]))
        elif kind < 0.8:
            self.stage = "deliver"
            await self.deliver(acked=self.rnd.random() < 0.7)
        elif kind < 0.9:
            self.stage = "confirm"
            await self.store.flush()
        elif restarts and kind < 0.93:
            self.stage = "restart"
            await self.store.close()
            self.store = self.new_store()
            await self.store.open()
        else:
            self.stage = "checkpoint"
            await self.store._call(lambda database: database.checkpoint())

    async def until_cut(self, patch: pytest.MonkeyPatch, cut_at: int, weaker: Mapping[str, str]) -> None:
        """One life: the power goes out during operation ``cut_at``, or in the pause at its end."""
        disk = PowerCutDisk(self._here, self.rnd, cut_at=cut_at)
        self.stage = "open" if self.path.exists() else "create"
        with patch.context() as lower:
            below(lower, disk, weaker)
            self.store = self.new_store()
            try:
                await self.store.open()
                for _ in range(200):
                    await self.step()
                if not disk.dead:
                    self.stage = "pause"
                    disk.cut()
            except OutboxError:
                if not disk.dead:
                    raise
            finally:
                # Whatever it still tries comes too late: the image is taken.
                await self.store.close()
        self.cut_during[self.stage] += 1
        self.survive(disk)

    def survive(self, disk: PowerCutDisk) -> None:
        """The power is back: what is left is the file of the moment."""
        before = self._here
        self._file += 1
        self._here = disk.restore(self.folder / str(self._file))
        shutil.rmtree(before)

    # What is examined after it.

    async def examine(self) -> None:
        """Open what survived by the normal way; nothing may be lost, changed or damaged. Half the time on a copy."""
        here = self._here
        on_a_copy = self.rnd.random() < 0.5
        if on_a_copy:
            self._here = self.folder / "copy"
            shutil.copytree(here, self._here)
        try:
            self._examine_rows()
            assert not list(self._here.glob("*broken*")), "a sound file was set aside"
            if not on_a_copy:
                begun = time.monotonic()
                self.store = self.new_store()
                await self.store.open()
                await self.tap()
                self.recovery_s.append(time.monotonic() - begun)
                await self.store.close()
        finally:
            if on_a_copy:
                shutil.rmtree(self._here)
                self._here = here

    def _examine_rows(self) -> None:
        database = Database(self.path, self.codec)
        try:
            check = database.connection.execute("PRAGMA integrity_check").fetchall()
            assert check == [("ok",)], check
            on_disk = {tap.cti: tap.token for tap in database.tail(1_000_000)}
            (chain,) = database.chains()
            found = database.connection.execute("SELECT token FROM records WHERE kind = 'gap'")
            gaps = [_gap(token) for (token,) in found.fetchall()]
        finally:
            database.close()
        promised = {parse(token).claims.cti: token for token in self.promised}
        missing = [cti for cti, token in promised.items() if cti not in on_disk and token not in self.taken]
        lost = [cti for cti in missing if not any(_covers(gap, cti) for gap in (*gaps, *self.given_up))]
        assert not lost, f"lost: {len(lost)} promised taps, cut during {self.stage}"
        assert all(on_disk.get(cti, token) == token for cti, token in promised.items()), "other bytes than promised"
        highest = max((int.from_bytes(cti[8:], "big") for cti in promised if cti[:8] == chain.id), default=0)
        assert chain.next_seq > highest, "a seq would be used twice"

    async def begin_anew(self) -> None:
        """Everything is delivered, the file is gone; the next life creates another, with a new chain."""
        self.store = self.new_store()
        await self.store.open()
        assert await self.cloud.deliver_all(self.store) == 0
        self.taken.update(self.promised)
        await self.store.close()
        shutil.rmtree(self._here)
        self._file += 1
        self._here = self.folder / str(self._file)
        self._here.mkdir()


def _gap(token: bytes) -> Gap:
    record = parse_gap(token).record
    assert isinstance(record, Gap)
    return record


def _covers(gap: Gap, cti: bytes) -> bool:
    return gap.chain == cti[:8] and gap.first <= int.from_bytes(cti[8:], "big") <= gap.last

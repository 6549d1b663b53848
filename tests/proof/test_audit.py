"""The audit of the proofs is no proof itself if it cannot fail: it finds what is lost, changed, broken or refused."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from edge_agent.clock import FakeClock
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.base import Hole
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.chain import parse_gap
from edge_agent.tokens.keys import PrivateKey
from edge_agent.tokens.tap_token import link_hash, parse
from tests.fakes.audit import Audited, audit
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.table_cloud import FLEET, STREAM, TERMINAL, TableCloud, table_cloud


@dataclass
class Delivered:
    """Nine taps, all in the ledger."""

    cloud: TableCloud
    key: PrivateKey
    promised: list[bytes]
    seal_gap: Callable[[Hole], bytes]

    def audit(self, *, waiting: int = 0, may_give_up: bool = False, promised: list[bytes] | None = None) -> Audited:
        tokens = self.promised if promised is None else promised
        return audit(
            self.cloud.path, tokens, key=self.key.public, stream=STREAM, waiting=waiting, may_give_up=may_give_up
        )

    def edit(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self.cloud.path)) as db, db:
            assert db.execute(sql, values).rowcount == 1

    def hole(self, first: int, last: int) -> Hole:
        ends = [parse(self.promised[seq - 1]).claims for seq in (first, last)]
        return Hole(ends[0].chain, first, last, ends[0].prev, link_hash(self.promised[last - 1]), "evicted")


@pytest_asyncio.fixture(name="delivered")
async def _delivered(tmp_path: Path) -> AsyncIterator[Delivered]:
    key, clock = PrivateKey.generate(), FakeClock()
    codec = outbox_codec(key, FLEET, TERMINAL, clock)
    outbox = OutboxStore(tmp_path / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    await outbox.open()
    promised = []
    for number in range(9):
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r1", nonce=number.to_bytes(8, "big"))
        promised.append((await outbox.append(Tap(facts=facts, at=clock.read(), ttl=90))).token)
    async with table_cloud(tmp_path, key.public, clock) as cloud:
        assert await cloud.deliver_all(outbox) == 0
        await outbox.close()
        yield Delivered(cloud, key, promised, codec.seal_gap)


async def test_a_whole_delivery_passes_and_is_counted(delivered: Delivered) -> None:
    assert delivered.audit(promised=delivered.promised[:7]) == Audited(7, 9, 2, 0, 0)


async def test_a_lost_tap_is_found(delivered: Delivered) -> None:
    delivered.edit("DELETE FROM tap WHERE seq = 4")
    with pytest.raises(AssertionError, match="1 promised taps are neither stored nor accounted for"):
        delivered.audit(may_give_up=True)


async def test_a_tap_that_nobody_was_promised_is_missed_in_the_chain(delivered: Delivered) -> None:
    delivered.edit("DELETE FROM tap WHERE seq = 4")
    others = [token for token in delivered.promised if parse(token).claims.seq != 4]
    with pytest.raises(AssertionError, match="is broken behind 3"):
        delivered.audit(promised=others)


async def test_other_bytes_than_promised_are_found(delivered: Delivered) -> None:
    forged = delivered.promised[3][:-1] + bytes([delivered.promised[3][-1] ^ 1])
    delivered.edit("UPDATE tap SET token = ? WHERE seq = 4", forged)
    with pytest.raises(AssertionError, match="other bytes"):
        delivered.audit()
    delivered.promised[3] = forged
    with pytest.raises(AssertionError, match="5 does not follow 4"):
        delivered.audit()


async def test_a_gap_record_accounts_for_a_tap_only_where_taps_may_be_given_up(delivered: Delivered) -> None:
    delivered.edit("DELETE FROM tap WHERE seq = 4")
    await delivered.cloud.take_gap(delivered.seal_gap(delivered.hole(4, 4)))
    assert delivered.audit(may_give_up=True).given_up == 1
    with pytest.raises(AssertionError, match="were given up"):
        delivered.audit()


async def test_a_gap_record_of_somebody_else_accounts_for_nothing(delivered: Delivered) -> None:
    record = delivered.seal_gap(delivered.hole(4, 4))
    await delivered.cloud.take_gap(record)
    forged = record[:-1] + bytes([record[-1] ^ 1])
    assert parse_gap(forged)
    delivered.edit("UPDATE gap SET record = ? WHERE first = 4", forged)
    with pytest.raises(AssertionError, match="did not sign"):
        delivered.audit(may_give_up=True)


async def test_what_still_waits_or_was_refused_is_found(delivered: Delivered) -> None:
    with pytest.raises(AssertionError, match="2 rows still wait"):
        delivered.audit(waiting=2)
    delivered.edit("INSERT INTO refusal (verdict, count) VALUES ('conflict', 1)")
    with pytest.raises(AssertionError, match="refused"):
        delivered.audit()

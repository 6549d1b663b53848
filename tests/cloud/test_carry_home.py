import asyncio
import errno
import io
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge_agent.cloud.carry_home import Imported, import_export
from edge_agent.cloud.keeping import Keeper
from edge_agent.cloud.ledger import SqliteLedger
from edge_agent.cloud.verifier import KeyRecord
from edge_agent.uplink.export_file import CHECKPOINT, GAP, TAP, ExportHeader, ExportItem, write_export
from tests.fakes.tapping_terminal import NOW, TappingTerminal


class Desk:
    """Where the stick is read: a ledger, the keys of one terminal, and what its outbox holds."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.ledger = SqliteLedger(self.path)
        self.terminal = TappingTerminal()
        self.record = KeyRecord(self.terminal.key.public, "sh", "sh-1-a")
        self.keeper = Keeper(self.ledger, lambda kid: self.record if kid == self.terminal.key.kid else None)

    def file(self, items: list[tuple[str, bytes]], *, terminal: str = "sh-1-a") -> io.BytesIO:
        stream = io.BytesIO()
        write_export(stream, ExportHeader("sh", terminal, NOW), [ExportItem(*item) for item in items])
        stream.seek(0)
        return stream

    async def take(self, items: list[tuple[str, bytes]], **where: str) -> Imported:
        return await import_export(self.file(items, **where), self.keeper, NOW)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    opened = Desk(tmp_path)
    await opened.ledger.open()
    yield opened
    opened.keeper.close()
    await opened.ledger.close()


def taps(tokens: list[bytes]) -> list[tuple[str, bytes]]:
    return [(TAP, token) for token in tokens]


async def test_a_whole_outbox_is_taken_in_once_however_often_it_is_imported(desk: Desk) -> None:
    tokens = desk.terminal.taps(600)
    items = [*taps(tokens[:300]), (GAP, desk.terminal.gap(301, 310)), *taps(tokens[310:])]
    items.append((CHECKPOINT, desk.terminal.checkpoint()))
    first = await desk.take(items)
    assert first.is_good
    assert (first.tokens, first.records, first.stored, first.duplicates) == (590, 2, 590, 0)
    again = await desk.take(items)
    assert again.is_good
    assert (again.stored, again.duplicates) == (0, 590)
    (audit,) = await desk.ledger.audit()
    assert (audit.count, audit.holes, audit.gaps, audit.breaks) == (590, (), ((301, 310),), ())


async def test_what_a_torn_file_holds_up_to_the_tear_is_kept(desk: Desk) -> None:
    torn = io.BytesIO(desk.file(taps(desk.terminal.taps(300))).getvalue()[:-500])
    done = await import_export(torn, desk.keeper, NOW)
    assert not done.is_good
    assert "cut short" in done.fault
    assert 290 < done.stored < 300
    assert (await desk.ledger.stats()).rows == done.stored


class BadMedium(io.BytesIO):
    """A stick that gives no more after some bytes."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data)
        self._good = good

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._good:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("good", [0, 20_000])
async def test_what_a_bad_medium_gave_is_kept_and_counted(desk: Desk, good: int) -> None:
    whole = desk.file(taps(desk.terminal.taps(300))).getvalue()
    done = await import_export(BadMedium(whole, good), desk.keeper, NOW)
    assert "Input/output error" in done.fault
    assert (done.stored > 50) is bool(good)
    assert (await desk.ledger.stats()).rows == done.stored


async def test_it_says_what_the_taps_of_an_old_stick_count_for(desk: Desk) -> None:
    file = desk.file(
        taps([*desk.terminal.taps(2, iat=NOW - 30 * 86_400, exp=NOW - 30 * 86_400 + 90), desk.terminal.tap()])
    )
    done = await import_export(file, desk.keeper, NOW)
    assert (done.stored, done.verdicts) == (3, {"expired": 2, "fresh": 1})


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"\xff" * 1000])
async def test_a_file_of_another_kind_is_told_and_changes_nothing(desk: Desk, data: bytes) -> None:
    done = await import_export(io.BytesIO(data), desk.keeper, NOW)
    assert done.fault
    assert (done.header, done.tokens, list(done.streams)) == (None, 0, [])


async def test_what_cannot_be_taken_is_counted_by_verdict_and_the_rest_is_stored(desk: Desk) -> None:
    good = desk.terminal.taps(3)
    clone = desk.terminal.twin()
    clone.seq, clone.prev = 2, clone.links[2]
    forged = bytearray(good[0])
    forged[-1] ^= 1
    items = [*taps([*good, clone.tap(up=5), bytes(forged), b"junk", TappingTerminal().tap()]), (GAP, b"junk")]
    done = await desk.take(items)
    assert done.stored == 3
    assert done.refused == {"conflict": 1, "bad_signature": 1, "malformed": 2, "unknown_key": 1}
    assert not done.is_good


async def test_a_header_cannot_move_taps_to_another_terminal(desk: Desk) -> None:
    done = await desk.take(taps(desk.terminal.taps(2)), terminal="sh-2-a")
    assert done.refused == {"wrong_stream": 2}
    assert (await desk.ledger.stats()).rows == 0


async def test_taps_of_a_revoked_key_are_kept_and_said(desk: Desk) -> None:
    desk.record = KeyRecord(desk.terminal.key.public, "sh", "sh-1-a", revoked_at=NOW)
    done = await desk.take(taps(desk.terminal.taps(2)))
    assert (done.stored, done.refused) == (0, {"revoked_key": 2})
    assert (await desk.ledger.stats()).withheld == 2


async def test_what_came_by_the_broker_meanwhile_is_a_duplicate_even_if_the_key_is_revoked_now(desk: Desk) -> None:
    tokens = desk.terminal.taps(2)
    await desk.take(taps(tokens))
    desk.record = KeyRecord(desk.terminal.key.public, "sh", "sh-1-a", revoked_at=NOW)
    done = await desk.take(taps(tokens))
    assert (done.duplicates, done.refused) == (2, {})


async def test_the_receiver_may_store_into_the_same_file_meanwhile(desk: Desk) -> None:
    tokens = desk.terminal.taps(2000)
    service = Desk(desk.path.parent)
    service.terminal, service.record = desk.terminal, desk.record
    await service.ledger.open()
    rest = random.Random(1).sample(tokens, len(tokens))

    async def serve() -> None:
        for start in range(0, len(rest), 40):
            await service.take(taps(rest[start : start + 40]))

    done, _ = await asyncio.gather(desk.take(taps(tokens)), serve())
    assert done.is_good
    assert done.stored + done.duplicates == 2000
    (audit,) = await desk.ledger.audit()
    assert (audit.count, audit.holes, audit.breaks, audit.index_agrees) == (2000, (), (), True)
    assert (await desk.ledger.stats()).rows == 2000
    service.keeper.close()
    await service.ledger.close()

"""Story 7: a corrupt store. Neither a crash loop nor a zombie: taps go on at once, and what waited is delivered."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.cloud.broker import EmbeddedBroker
from edge_agent.models import StoredTap
from edge_agent.outbox.connection import PAGE_SIZE
from edge_agent.outbox.quarantine import broken_files
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keyring import load_key_file
from edge_agent.tokens.tap_token import parse
from tests.fakes.mosquitto import free_port
from tests.fakes.outbox_taps import CLOSE_S, a_tap
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.whole_agent import FLEET, TERMINAL, WholePath, cloud_site, register, whole_agent

WAITING = 200


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def zero_the_header(path: Path) -> None:
    overwrite(path, 0, bytes(PAGE_SIZE))


def flip_the_tree(path: Path) -> None:
    """Every inner page of the tree of rows gets garbage; the leaves stay."""
    data = path.read_bytes()
    inner = [at for at in range(PAGE_SIZE, len(data), PAGE_SIZE) if data[at] in (0x05, 0x02)]
    assert inner
    for at in inner:
        overwrite(path, at, os.urandom(PAGE_SIZE))


def garbage_over_rows(path: Path) -> None:
    pages = path.stat().st_size // PAGE_SIZE
    for page in range(pages // 2, pages // 2 + 4):
        overwrite(path, page * PAGE_SIZE, os.urandom(PAGE_SIZE))


def cut_the_end_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8 * PAGE_SIZE)


async def fill(folder: Path) -> list[StoredTap]:
    """200 taps more, without a phone for each."""
    clock = SystemClock(assume_synced=True)
    codec = outbox_codec(load_key_file(folder / "tap.key"), FLEET, TERMINAL, clock)
    store = OutboxStore(folder / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    await store.open()
    taps = [await store.append(a_tap(number, unix=clock.read().unix)) for number in range(WAITING)]
    await store.close()
    return taps


@pytest.mark.parametrize(
    ("damage", "lost"),
    [(zero_the_header, 0), (flip_the_tree, 0), (garbage_over_rows, 20), (cut_the_end_off, 40)],
)
async def test_taps_go_on_and_what_waited_is_delivered(
    tmp_path: Path, damage: Callable[[Path], None], lost: int
) -> None:
    port = free_port()
    with EmbeddedBroker() as broker:
        site = cloud_site(tmp_path, broker.host, broker.port)
        await site.ledger.open()
        async with site.receiving(), whole_agent(tmp_path, port=port) as terminal:
            register(site, terminal.public)
            tokens = [await terminal.good_tap()]
            await terminal.stop()
            tokens += [tap.token for tap in await fill(tmp_path)]
            damage(tmp_path / "outbox.db")

            begun = time.process_time()  # of a processor: other programs and pauses of the machine do not count
            await terminal.start()
            new = await terminal.good_tap()
            took_s = time.process_time() - begun
            assert parse(new).claims.seq == 1, "a new chain"
            assert took_s < 10, "1 s on a quiet machine"
            assert len(broken_files(tmp_path / "outbox.db")) == 1

            async with TcpProxy(broker.port, port=port):
                path = WholePath(terminal, site)
                await terminal.until(lambda: {new} <= {row.token for row in path.rows})
                await path.all_stored()
                delivered = [row.token for row in path.rows]
                assert len(delivered) == len(set(delivered))
                assert set(delivered) <= {*tokens, new}
                assert len(delivered) >= len(tokens) + 1 - lost
                for audit in await site.ledger.audit():
                    assert audit.breaks == ()
                    assert audit.index_agrees
                    if not lost:
                        assert audit.holes == ()
                assert set((await site.ledger.stats()).verdicts) <= {"fresh", "late"}
                restarted = await terminal.status()
                assert restarted["health"]["components"]
                await terminal.restart()
                assert parse(await terminal.good_tap()).claims.seq == 2, "no second quarantine"
        await site.ledger.close()


async def test_damage_while_the_agent_runs_is_healed_without_a_restart(tmp_path: Path) -> None:
    async with whole_agent(tmp_path) as terminal:
        first = parse(await terminal.good_tap()).claims
        await terminal.stop()
        old = await fill(tmp_path)
        await terminal.start()
        outbox = terminal.agent.outbox.store
        await outbox._call(lambda db: db.connection.execute("PRAGMA shrink_memory").fetchall())
        flip_the_tree(tmp_path / "outbox.db")
        claims = first
        for _ in range(10):
            outcome = await terminal.tap(patience_s=3.0)
            tokens = getattr(outcome.card, "tokens", [])
            claims = parse(tokens[0]).claims if tokens else claims
            if claims.chain != first.chain:
                break
        assert claims.chain != first.chain
        assert len(broken_files(tmp_path / "outbox.db")) == 1

        async def waiting() -> int:
            return (await outbox.stats()).pending

        deadline = time.monotonic() + 60
        while await waiting() < len(old) and time.monotonic() < deadline:
            await terminal.field_clear()
        assert await waiting() > len(old), "all of them wait again, with the tap of the new chain"

"""What proves that nothing is lost, end to end: a whole agent, mosquitto, the receiver, its ledger and the commands.

The ledger forgets and the agent serves it again; a terminal without a network is emptied by hand; a full outbox
says by its signature what it gave up.
"""

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from edge_agent.clock import SystemClock
from edge_agent.cloud.holes import HolePolicy
from edge_agent.models import Tap, TapFacts, TapMode
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.sealing import outbox_codec
from edge_agent.tokens.keyring import create_key_file, load_key_file
from tests.fakes.audit import audit
from tests.fakes.mosquitto import Mosquitto, free_port
from tests.fakes.outbox_taps import CLOSE_S
from tests.fakes.tcp_proxy import TcpProxy
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import FLEET, TERMINAL, WholeAgent, WholePath, cloud_site, register, whole_agent

pytestmark = pytest.mark.system

HURRY = HolePolicy(grace_s=0.3, first_retry_s=0.3)


@pytest.fixture(name="mosquitto")
def _mosquitto(tmp_path: Path, require_system: Callable[[str], str]) -> Iterator[Mosquitto]:
    """Not started: its terminal may have been without a network for long."""
    broker = Mosquitto(require_system("mosquitto"), tmp_path, port=free_port())
    yield broker
    broker.stop()


@asynccontextmanager
async def served_by(broker: Mosquitto, terminal: WholeAgent, holes: HolePolicy = HURRY) -> AsyncIterator[WholePath]:
    """The cloud half."""
    site = cloud_site(terminal.folder, broker.host, broker.port, holes=holes)
    register(site, terminal.public)
    await site.ledger.open()
    async with site.receiving():
        yield WholePath(terminal, site)
    await site.ledger.close()


def forget(folder: Path, first: int, last: int) -> None:
    """Take taps out of the ledger as if they had never come, or their last commit had been lost."""
    with closing(sqlite3.connect(folder / "ledger.db")) as db, db:
        ((low, high),) = db.execute("SELECT first, last FROM island").fetchall()
        db.execute("DELETE FROM tap WHERE seq BETWEEN ? AND ?", (first, last))
        db.execute("DELETE FROM island")
        ranges = [(low, first - 1), (last + 1, high)]
        db.executemany("INSERT INTO island VALUES (1, ?, ?)", [range_ for range_ in ranges if range_[0] <= range_[1]])


async def command(*words: str, status: int = 0) -> str:
    """Run a command in a process of its own; what it said."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent", *words, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == status, out.decode()
    return out.decode()


async def test_what_the_ledger_lost_is_missed_asked_for_and_sent_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
    mosquitto.start()
    where = {"host": mosquitto.host, "port": mosquitto.port}
    async with (
        whole_agent(tmp_path, **where, uplink__confirm="broker") as terminal,
        served_by(mosquitto, terminal) as path,
    ):
        await terminal.connected()
        tokens = [await terminal.good_tap() for _ in range(5)]
        await eventually(lambda: len(path.rows) == 5)
        forget(tmp_path, 2, 3)
        tokens.append(await terminal.good_tap())
        await eventually(lambda: path.site.words("gap_closed"))
        assert ((2, 3),) in [event.seqs for event in path.site.words("gap")]
        assert [row.token for row in path.rows] == tokens

        forget(tmp_path, 5, 6)
        await terminal.restart()  # its checkpoints tell where the chain ends
        await eventually(lambda: len(path.site.words("gap_closed")) == 2)
        assert path.site.words("gap")[-1].seqs == ((5, 6),)
        assert [row.token for row in path.rows] == tokens
        await path.audit()
    assert audit(tmp_path / "ledger.db", tokens, key=terminal.public, stream=(FLEET, TERMINAL)).stored == 6


async def test_a_terminal_without_a_network_is_emptied_by_hand_and_sends_nothing_twice_into_the_ledger(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    port = free_port()
    async with whole_agent(tmp_path, port=port) as terminal:
        tokens = [await terminal.good_tap() for _ in range(4)]
        config, stick = str(tmp_path / "edge-agent.toml"), str(tmp_path / "stick.tap")
        said = json.loads(await command("outbox", "export", stick, "--config", config, "--json"))
        assert (said["taps"], said["checkpoints"], said["left_out"]) == (4, 1, 0)

        public = terminal.public
        shown = json.loads(await command("keys", "show", "--config", config, "--json"))
        names = ("kid", "alg", "public_cose_hex")
        entry = {**{name: shown[name] for name in names}, "fleet": FLEET, "terminal": TERMINAL}
        (tmp_path / "keys.json").write_text(json.dumps({"version": 1, "keys": [entry]}), encoding="utf-8")
        options = ("--ledger", str(tmp_path / "ledger.db"), "--keys", str(tmp_path / "keys.json"))
        told = await command("receive", *options, "--import", stick)
        assert "stored 4 (4 fresh), there already 0, refused none" in told
        assert "through 4, missing nothing" in told
        assert audit(tmp_path / "ledger.db", tokens, key=public, stream=(FLEET, TERMINAL)).stored == 4

        mosquitto.start()
        async with served_by(mosquitto, terminal) as path, TcpProxy(mosquitto.port, port=port):
            await path.all_stored()
            assert [row.token for row in path.rows] == tokens
            assert {event.verdict.value for event in path.site.events} <= {"duplicate"}
            tokens.append(await terminal.good_tap())
            await path.all_stored()
            await path.audit()
    assert audit(tmp_path / "ledger.db", tokens, key=public, stream=(FLEET, TERMINAL)).stored == 5


async def test_what_a_full_outbox_gave_up_is_accounted_for_by_its_signature(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    clock = SystemClock(assume_synced=True)
    create_key_file(tmp_path / "tap.key")
    codec = outbox_codec(load_key_file(tmp_path / "tap.key"), FLEET, TERMINAL, clock)
    store = OutboxStore(tmp_path / "outbox.db", codec, clock=clock, settings=StoreSettings(close_s=CLOSE_S))
    await store.open()
    facts = [TapFacts(mode=TapMode.PHONE_APP, reader="nfc0", nonce=number.to_bytes(8, "big")) for number in range(998)]
    kept = await asyncio.gather(*(store.append(Tap(facts=fact, at=clock.read(), ttl=90)) for fact in facts))
    await store.close()
    promised = [stored.token for stored in kept]

    port = free_port()
    async with whole_agent(tmp_path, port=port, outbox__max_rows=1000) as terminal:
        promised += [await terminal.good_tap() for _ in range(5)]
        assert (await terminal.agent.outbox.stats()).evicted >= 3
        mosquitto.start()
        # The gap record is not the first that comes: a slow machine must not call that a hole.
        served = served_by(mosquitto, terminal, HolePolicy())
        async with served as path, TcpProxy(mosquitto.port, port=port):
            await path.all_stored()
            given_up = (await terminal.agent.outbox.stats()).evicted
            await eventually(lambda: path.site.words("gap_record"))
            (found,) = await path.site.ledger.audit()
            assert (found.count, found.holes, found.breaks) == (1003 - given_up, (), ())
            assert found.gaps == ((1, given_up),)
            assert found.through == 1003
            while (await terminal.agent.outbox.stats()).gaps:  # noqa: ASYNC110 - the answer comes from a thread
                await asyncio.sleep(0.05)
            assert path.site.words("gap") == []
    stream = (FLEET, TERMINAL)
    audited = audit(tmp_path / "ledger.db", promised, key=terminal.public, stream=stream, may_give_up=True)
    assert (audited.given_up, audited.stored) == (given_up, 1003 - given_up)

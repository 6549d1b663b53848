"""A phone that reads us, through the whole path: emulated chip, real driver, agent, broker, receiver, ledger."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from edge_agent.app import Agent
from edge_agent.clock import SystemClock
from edge_agent.cloud.tickets import TicketVerdict, verify_ticket
from edge_agent.config import load
from edge_agent.config.plain import checked
from edge_agent.models import ClockReading, ClockTrust, TapMode
from edge_agent.simulation.nt3h_bus import Nt3hBus, ReadOutcome, TagReader
from edge_agent.tags.service import SurfaceSnapshot, SurfaceState
from edge_agent.tags.ticket import parse, parse_link
from edge_agent.tokens.tap_token import parse as parse_token
from edge_agent.uplink.wire import Health
from firmware_bridge.cues import CueName
from firmware_bridge.links.web import WebLink
from tests.fakes.mosquitto import free_port
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import (
    WEB_SCREEN,
    WholeAgent,
    WholePath,
    replace_reader,
    whole_agent,
    whole_path,
    write_config,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = """
[tickets]
host = "t.example.net"
ttl = 120
app = "com.example.tap"

[[tags]]
driver = "simulated"
read_every_s = 3600
"""


class ClockOfTrust(SystemClock):
    """The machine's clocks, trusted as the test says."""

    def __init__(self, trust: ClockTrust) -> None:
        super().__init__(assume_synced=True)
        self.trust = trust

    def read(self) -> ClockReading:
        return replace(super().read(), trust=self.trust)


def surface(terminal: WholeAgent) -> SurfaceSnapshot:
    (service,) = terminal.agent._surfaces
    return service.snapshot()


def people(terminal: WholeAgent) -> TagReader:
    """Somebody at the emulated chip, which the agent has made for itself."""
    (service,) = terminal.agent._surfaces
    bus = vars(service)["_surface"]._tag._open_bus.__self__
    assert isinstance(bus, Nt3hBus)
    return TagReader(bus, dwell_s=0.05)


async def read(terminal: WholeAgent) -> ReadOutcome:
    """A phone comes and reads once a ticket stands there that nobody has read."""
    tag = vars(terminal.agent._surfaces[0])["_surface"]._tag

    def ready() -> bool:
        snap = surface(terminal)
        return snap.state is SurfaceState.SHOWING and snap.rotations > snap.reads and not tag.field

    await terminal.until(ready)
    return await people(terminal).read()


def rotated_since(terminal: WholeAgent, rotations: int) -> bool:
    return surface(terminal).rotations > rotations


def has_rows(path: WholePath, count: int) -> bool:
    return len(path.rows) == count


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WholePath]:
    async with whole_path(tmp_path_factory.mktemp("path"), screens=(TAGS,)) as running:
        yield running


async def test_a_phone_and_the_terminal_witness_one_tap(path: WholePath) -> None:
    terminal = path.terminal
    before, shown = len(path.rows), len(terminal.cues)
    outcome = await read(terminal)
    assert outcome.seen is not None
    assert (outcome.seen.url is not None, outcome.seen.app) == (True, "com.example.tap")
    host, text = parse_link(str(outcome.seen.url))
    ticket = parse(text).ticket
    await eventually(lambda: len(path.rows) == before + 1)
    row = path.rows[-1]
    claims = parse_token(row.token).claims
    assert (row.verdict, row.mode) == ("fresh", TapMode.TAG_READ)
    assert (host, claims.nonce) == ("t.example.net", ticket.nonce)
    judged = verify_ticket(text, now=ticket.iat, keys=path.site.keys.get)
    assert judged.verdict is TicketVerdict.FRESH
    await eventually(lambda: terminal.showed_tap(shown, CueName.THANKS))
    await path.audit()


async def test_each_read_gets_a_ticket_of_its_own_and_readers_work_beside(path: WholePath) -> None:
    terminal = path.terminal
    rows = len(path.rows)
    nonces = set()
    for count in range(3):
        rotations = surface(terminal).rotations
        outcome = await read(terminal)
        assert outcome.seen is not None
        nonces.add(parse(parse_link(str(outcome.seen.url))[1]).ticket.nonce)
        await terminal.until(partial(rotated_since, terminal, rotations))
        await terminal.good_tap()
        await eventually(partial(has_rows, path, rows + 2 * (count + 1)))
    assert len(nonces) == 3
    modes = [row.mode for row in path.rows[rows:]]
    assert modes.count(TapMode.TAG_READ) == modes.count(TapMode.PHONE_APP) == 3


async def test_the_status_and_the_telemetry_know_the_tag(path: WholePath) -> None:
    terminal = path.terminal
    taps = surface(terminal).taps
    await read(terminal)
    await terminal.until(lambda: surface(terminal).taps == taps + 1)
    status = await terminal.status()
    (tag,) = status["tags"]
    assert (tag["name"], tag["state"], tag["taps"]) == ("tag0", "showing", taps + 1)
    assert tag["chip"].startswith("NT3H")
    assert [reader["name"] for reader in status["readers"]] == ["nfc0"]
    await terminal.has_component("tag0", "ok")
    health = await terminal.agent._reporter.telemetry()
    assert len(health.encode()) <= 1024
    assert Health.decode(health.encode()).figures["taps"] == terminal.reader.taps + taps + 1
    assert health.figures["tag_reads"] == surface(terminal).reads


async def test_no_ticket_is_on_the_tag_while_nobody_knows_the_time(tmp_path: Path) -> None:
    clock = ClockOfTrust(ClockTrust.UNSET)
    async with whole_agent(tmp_path, screens=(TAGS,), clock=clock) as terminal:
        await terminal.until(lambda: surface(terminal).state is SurfaceState.HIDDEN)
        outcome = await people(terminal).read()
        assert outcome.seen is None or outcome.seen.url is None
        assert surface(terminal).rotations == 0
        clock.trust = ClockTrust.SYNCED
        outcome = await read(terminal)
        assert outcome.seen is not None
        assert outcome.seen.url is not None
        await terminal.until(lambda: surface(terminal).taps == 1)
        clock.trust = ClockTrust.UNSET
        await terminal.until(lambda: surface(terminal).state is SurfaceState.HIDDEN)
        outcome = await people(terminal).read()
        assert outcome.seen is None or outcome.seen.url is None


async def test_a_terminal_of_tags_alone_invites_nobody_while_the_time_is_unknown(tmp_path: Path) -> None:
    clock = ClockOfTrust(ClockTrust.UNSET)
    path = write_config(tmp_path, reader="/dev/none", host="127.0.0.1", port=free_port())
    replace_reader(path, TAGS)
    agent = Agent(checked(load(path, {})), clock=clock)
    running = asyncio.create_task(agent.run())
    try:
        await eventually(lambda: agent.bridge.current is CueName.RESTING or running.done())
        clock.trust = ClockTrust.SYNCED
        await eventually(lambda: agent.bridge.current is CueName.INVITE or running.done())
    finally:
        agent.stop()
        await running


async def test_no_ticket_stays_behind_when_the_agent_stops(tmp_path: Path) -> None:
    async with whole_agent(tmp_path, screens=(TAGS,)) as terminal:
        await terminal.until(lambda: surface(terminal).state is SurfaceState.SHOWING)
        phone = people(terminal)
    outcome = await phone.read()
    assert outcome.seen is None or outcome.seen.url is None


async def test_a_code_stands_on_the_page_as_long_as_the_time_is_known(tmp_path: Path) -> None:
    clock = ClockOfTrust(ClockTrust.SYNCED)
    page = WEB_SCREEN.format(port=free_port()) + TAGS.replace('"simulated"\nread_every_s = 3600', '"qr"\nrotate_s = 5')
    async with whole_agent(tmp_path, screens=(page,), clock=clock) as terminal:
        await terminal.until(lambda: surface(terminal).state is SurfaceState.SHOWING)
        (web,) = (entry.link for entry in terminal.agent.bridge._links.values() if isinstance(entry.link, WebLink))
        assert vars(web)["_code"] is not None
        clock.trust = ClockTrust.UNSET
        await terminal.until(lambda: surface(terminal).state is SurfaceState.HIDDEN)
        assert vars(web)["_code"] is None

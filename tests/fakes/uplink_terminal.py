"""A terminal without a reader: real outbox, real connection, real publisher, quick stand-ins for tokens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.models import ChainPosition, StoredTap, Tap, TapFacts, TapMode
from edge_agent.outbox.base import Codec, Head
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.uplink.base import ConnectionHandler, LinkFactory, LinkSettings
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.publisher import Hooks, Publisher, PublisherSettings
from edge_agent.uplink.wire import Health, Result, State, StateWord, Topics
from tests.fakes.outbox_taps import CLOSE_S

TOPICS = Topics("sh", "t-1")
DEFAULTS = PublisherSettings()
STORING = StoreSettings(close_s=CLOSE_S)


def fake_token(position: ChainPosition) -> bytes:
    """A tagged array of four, as a COSE_Sign1 is, that names its place in the chain: 240 bytes."""
    return b"\xd2\x84\x40\xa0\x58\x18" + position.chain + position.seq.to_bytes(16, "big") + b"\x58\xd0" + bytes(208)


def fake_codec() -> Codec:
    """What the outbox knows of such tokens."""
    return Codec(
        seal=lambda _, position: fake_token(position),
        seal_gap=lambda hole: b"gap of " + hole.chain + b" from %d to %d" % (hole.first, hole.last),
        link_hash=lambda token: token[:16],
        place=lambda token: ChainPosition(token[6:14], seq_of(token)),
        exp=lambda _: 90,
        read_gap=lambda _: None,
    )


def fake_checkpoint(head: Head) -> bytes:
    """A checkpoint that names the end of the chain."""
    return b"chk" + head.chain + head.seq.to_bytes(8, "big") + head.hash


def seq_of(token: bytes) -> int:
    """The place in the chain that ``fake_token`` wrote into the token."""
    return int.from_bytes(token[14:30], "big")


class Terminal:
    """A real outbox, a real connection, and a publisher between them."""

    def __init__(
        self,
        outbox: OutboxStore,
        settings: LinkSettings,
        publishing: PublisherSettings,
        link_factory: LinkFactory = PahoLink,
        checkpoint: Callable[[Head], bytes] = fake_checkpoint,
    ) -> None:
        self.clock = SystemClock(assume_synced=True)
        self.outbox = outbox
        self.running: asyncio.Task[None]
        self.results: list[Result] = []
        self.identified: list[str] = []
        self.onlines: list[str] = []
        self.sent: list[tuple[int, int]] = []
        self.stored: list[int] = []
        self.committed_at: dict[int, float] = {}
        self.acked_at: dict[int, float] = {}
        self.heard = asyncio.Event()
        self.presence = Presence(TOPICS, self._state)
        self.settings = settings
        self.connection: Connection
        self._link_factory = link_factory
        self.publisher = Publisher(
            outbox,
            self._connect,
            topics=TOPICS,
            presence=self.presence,
            clock=self.clock,
            settings=publishing,
            hooks=Hooks(
                actions={"identify": lambda command: self.identified.append(command.id)},
                on_result=self.results.append,
                observer=self,
                checkpoint=checkpoint,
                on_online=lambda: self.onlines.append(self.presence.session),
                health=self._health,
            ),
        )

    def _connect(self, handler: ConnectionHandler) -> Connection:
        self.connection = Connection(
            lambda: replace(self.settings, will=self.presence.will()),
            subscriptions=TOPICS.subscriptions,
            optional=TOPICS.optional_subscriptions,
            handler=handler,
            clock=self.clock,
            backoff=Backoff(base=0.05, cap=0.2),
            link_factory=self._link_factory,
        )
        return self.connection

    def on_sent(self, chain: bytes, first: int, last: int, at: float) -> None:
        self.sent.append((first, last))
        self.acked_at.update(dict.fromkeys(range(first, last + 1), at))
        self.heard.set()

    def on_stored(self, chain: bytes, through: int, at: float) -> None:
        self.stored.append(through)

    async def _health(self) -> Health:
        return Health(at=self.clock.read().unix, up=1, components={"reader": "ok"}, figures={"pending": 0})

    def _state(self, word: StateWord, session: str) -> State:
        return State(
            state=word,
            session=session,
            version="0.1.0",
            kid=bytes(8),
            chain=bytes(8),
            next_seq=1,
            config="c",
            screens={"web": "ok"},
            readers={"pn532": "ok"},
            at=self.clock.read().unix,
        )

    async def tap(self) -> StoredTap:
        """One tap as the issuer does it: commit, then offer."""
        facts = TapFacts(mode=TapMode.PHONE_APP, reader="r", nonce=bytes(8))
        stored = await self.outbox.append(Tap(facts=facts, at=self.clock.read(), ttl=90))
        self.committed_at[stored.seq] = stored.committed_at
        self.publisher.offer(stored)
        return stored

    async def taps(self, number: int) -> None:
        """Many taps at once, as many transactions as the writer wants."""
        for start in range(0, number, 200):
            await asyncio.gather(*(self.tap() for _ in range(min(200, number - start))))


@asynccontextmanager
async def running_terminal(
    folder: Path,
    settings: LinkSettings,
    publishing: PublisherSettings = DEFAULTS,
    *,
    name: str = "outbox",
    backlog: int = 0,
    link_factory: LinkFactory = PahoLink,
    storing: StoreSettings = STORING,
) -> AsyncIterator[Terminal]:
    """A terminal that is running, with ``backlog`` taps waiting at its start; ends cleanly."""
    clock = SystemClock(assume_synced=True)
    outbox = OutboxStore(folder / f"{name}.db", fake_codec(), clock=clock, settings=storing)
    await outbox.open()
    terminal = Terminal(outbox, settings, publishing, link_factory)
    await terminal.taps(backlog)
    terminal.running = asyncio.create_task(terminal.publisher.run())
    try:
        yield terminal
    finally:
        await terminal.publisher.stop()
        await asyncio.wait([terminal.running])
        await outbox.close()
        if not terminal.running.cancelled():
            terminal.running.result()


def link_settings(port: int, **changes: object) -> LinkSettings:
    """Plain MQTT 5 to a loopback port as terminal t-1."""
    values: dict[str, object] = {"host": "localhost", "port": port, "client_id": "t-1"} | changes
    return LinkSettings(**values)  # type: ignore[arg-type] # a test's shorthand

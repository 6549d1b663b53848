"""The composition root: builds every part from the settings, starts and stops them in order. Knows everybody.

Start: key and outbox first, without them no tap can be kept; then uplink, screens, readers, control socket.
Stop: readers first, so that no tap begins; then "stopped" is published, the outbox flushed, the screens let go.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial

import structlog

from edge_agent import hardware, monitor
from edge_agent.backoff import Backoff
from edge_agent.broker import link_settings
from edge_agent.clock import Clock, SystemClock
from edge_agent.control import ControlServer
from edge_agent.errors import ExitCode, TokenError
from edge_agent.health import HealthBoard
from edge_agent.issuer import Issuer
from edge_agent.models import ClockTrust, ComponentState, StoredTap, Tap, TapMode
from edge_agent.outbox.base import Bounds
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.outbox_ops import OutboxOps
from edge_agent.readers.base import Reader
from edge_agent.readers.exchange import CardPolicy, ExchangeSettings
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.reports import Reporter, version
from edge_agent.screen import ScreenCues
from edge_agent.sealing import checkpoint_sealer, outbox_codec
from edge_agent.settings import Checked
from edge_agent.supervisor import Supervisor
from edge_agent.systemd import Notifier, feed_watchdog
from edge_agent.tokens.keyring import load_key_file
from edge_agent.tokens.tap_token import parse
from edge_agent.trace import TapTimes, Trace
from edge_agent.uplink.base import ConnectionHandler
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.publisher import Hooks, Publisher, PublisherSettings, UplinkSnapshot
from edge_agent.uplink.wire import Command, State, StateWord, Topics
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName

log = structlog.get_logger(__name__)

RECENT_TOKENS = 64
# Less than three seconds in all; each usually takes a small part of its bound.
READERS_STOP_S = 1.0
UPLINK_STOP_S = 0.8
REST_STOP_S = 0.8


class Agent:
    """One terminal. Build it on the event loop, ``run`` it once; ``stop`` may be called at any time.

    ``on_tap`` hears of every step of every tap. Raises KeyFileError or OutboxError for what no restart of a part heals.
    """

    def __init__(
        self, checked: Checked, *, clock: Clock | None = None, on_tap: Callable[[TapTimes], None] | None = None
    ) -> None:
        settings = self.settings = checked.settings
        self.clock = clock or SystemClock(assume_synced=settings.clock.trust == "assume-synced")
        self.trace = Trace(on_tap)
        self._board = HealthBoard()
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self._hardware_stack = ExitStack()
        terminal = settings.terminal
        self._topics = Topics(terminal.fleet, terminal.id)
        key = load_key_file(settings.keys.path)
        keep_s = float(settings.outbox.retention_s) if settings.uplink.confirm == "broker" else None
        mib = 1024 * 1024
        bounds = Bounds(settings.outbox.max_rows, settings.outbox.max_mb * mib, settings.outbox.min_free_mb * mib)
        self.outbox = OutboxStore(
            settings.outbox.path,
            outbox_codec(key, terminal.fleet, terminal.id, self.clock),
            clock=self.clock,
            settings=StoreSettings(keep_sent_s=keep_s, bounds=bounds),
        )
        self._issuer = Issuer(
            append=self.outbox.append,
            clock=self.clock,
            ttl=settings.token.ttl,
            campaign=lambda: terminal.campaign,
            on_new=self._committed,
        )
        self._publisher: Publisher | None = None
        self._chain, self._next_seq = b"", 1
        built = hardware.build(settings, clock=self.clock, until=self._hardware_stack)
        self._people = built.people
        self.bridge = Bridge(built.screens, terminal_id=terminal.id, clock=self.clock.monotonic, on_wire=self._on_wire)
        self._cues = ScreenCues(self.bridge, tuple(reader.name for reader in built.readers))
        pseudonyms = Pseudonyms()
        policies = {reader.name: CardPolicy(reader.cards) for reader in settings.readers}
        self._readers = tuple(self._service(reader, policies[reader.name], pseudonyms) for reader in built.readers)
        self._reporter = Reporter(
            settings=settings,
            digest=checked.digest,
            kid=key.kid,
            clock=self.clock,
            board=self._board,
            outbox=self.outbox,
            readers=self._readers,
            bridge=self.bridge,
            trace=self.trace,
            uplink=self._uplink_snapshot,
            started_at=self.clock.monotonic(),
        )
        self._monitor = monitor.Monitor(
            self._board, self.clock, self.outbox, self._readers, self.bridge, lambda: self._publisher
        )
        self._seal_checkpoint = checkpoint_sealer(key, terminal.fleet, terminal.id, self.clock)
        outbox_ops = OutboxOps(
            self.outbox,
            terminal=terminal.id,
            fleet=terminal.fleet,
            confirm=settings.uplink.confirm,
            bounds=bounds,
            seal_checkpoint=self._seal_checkpoint,
            poke=self._poke_publisher,
        )
        asked = {"status": self._status, "identify": self._identify, **outbox_ops.ops()}
        self._control = ControlServer(settings.control.socket, asked)

    @property
    def takes_taps(self) -> bool:
        """Whether every reader polls and the uplink is up: what the demo waits for, not what a tap needs."""
        uplink = self._uplink_snapshot()
        polling = all(reader.snapshot().state is ReaderState.POLLING for reader in self._readers)
        return polling and uplink is not None and uplink.up

    def stop(self) -> None:
        """Drain and end; takes less than three seconds."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until ``stop``."""
        async with AsyncExitStack() as stack:
            stack.callback(self._hardware_stack.close)
            opened = await self.outbox.open()
            self._chain, self._next_seq = opened.chain, opened.next_seq
            stack.push_async_callback(self.outbox.close)
            await self._remember_recent()
            # Two supervisors: the readers end before what keeps and delivers their taps.
            readers, rest = self._supervise()
            running = [asyncio.create_task(readers.run()), asyncio.create_task(rest.run())]
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                self._notifier.ready(f"{version()} serves {self.settings.terminal.id}")
                await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
                self._notifier.stopping()
                await readers.stop(READERS_STOP_S)
                await self._say_stopped()
                await rest.stop(REST_STOP_S)
                for task in running:
                    await task

    # Building.

    def _service(self, reader: Reader, cards: CardPolicy, pseudonyms: Pseudonyms) -> ReaderService:
        exchange = self.settings.exchange
        return ReaderService(
            reader,
            settings=ExchangeSettings(
                aids=tuple(bytes.fromhex(aid) for aid in exchange.aids), budget_s=exchange.budget_ms / 1000, cards=cards
            ),
            issue=self._issuer.issue,
            show=self._cues.for_reader(reader.name),
            clock=self.clock,
            pseudonyms=pseudonyms,
        )

    def _supervise(self) -> tuple[Supervisor, Supervisor]:
        backoff = partial(Backoff, base=0.2, cap=30.0, stable_after=30.0)
        readers, rest = (Supervisor(self.clock, self._board, backoff) for _ in range(2))
        for reader in self._readers:
            readers.add(reader.snapshot().name, reader.run, deadline_s=monitor.SILENT_S)
        for name, people in self._people:
            readers.add(name, self._told_ok(name, people), critical=False)
        self._board.register(monitor.CLOCK, self.clock.monotonic(), critical=False)
        rest.add(monitor.UPLINK, self._run_uplink)
        rest.add(monitor.SCREENS, self.bridge.run, critical=False)
        rest.add(monitor.CONTROL, self._told_ok(monitor.CONTROL, self._control.serve), critical=False)
        rest.add(monitor.OUTBOX, self._monitor.watch_outbox, deadline_s=monitor.SILENT_S)
        rest.add(monitor.MONITOR, self._monitor.watch_parts, deadline_s=monitor.SILENT_S)
        watchdog = partial(feed_watchdog, self._notifier, self._board.snapshot, self.clock)
        rest.add(monitor.WATCHDOG, self._told_ok(monitor.WATCHDOG, watchdog))
        return readers, rest

    def _told_ok(self, name: str, part: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """For a part that has nothing to say of itself: it is well as long as it runs."""

        async def run() -> None:
            self._board.report(name, ComponentState.OK, self.clock.monotonic())
            await part()

        return run

    async def _run_uplink(self) -> None:
        """One publisher for each start: what a crashed one leased is pending again."""
        wanted = self.settings.uplink
        presence = Presence(self._topics, self._state)

        def connect(handler: ConnectionHandler) -> Connection:
            return Connection(
                lambda: link_settings(
                    wanted, client_id=self.settings.terminal.id, env=os.environ, will=presence.will()
                ),
                subscriptions=self._topics.subscriptions,
                optional=self._topics.optional_subscriptions,
                handler=handler,
                clock=self.clock,
                backoff=Backoff(wanted.backoff_base_s, wanted.backoff_cap_s, wanted.stable_after_s),
            )

        publisher = self._publisher = Publisher(
            self.outbox,
            connect,
            topics=self._topics,
            presence=presence,
            clock=self.clock,
            settings=PublisherSettings(
                confirm=wanted.confirm,
                confirm_timeout_s=wanted.resend_after_s,
                health_interval_s=wanted.health_s,
                max_in_flight=wanted.window,
            ),
            hooks=Hooks(
                health=self._reporter.telemetry,
                actions={"identify": self._identify_by_command},
                on_result=self._cues.result,
                observer=self.trace,
                checkpoint=self._seal_checkpoint,
            ),
        )
        try:
            await publisher.run()
        finally:
            self._publisher = None  # a crashed one has nothing to say: its crash is to be read

    async def _remember_recent(self) -> None:
        """A phone that comes back after our restart gets the token that it was given before."""
        reading = self.clock.read()
        for stored in await self.outbox.tail(RECENT_TOKENS):
            try:
                claims = parse(stored.token).claims
            except TokenError as error:
                log.warning("stored_token_unreadable", seq=stored.seq, error=error.text)
                continue
            if claims.nonce is not None and claims.mode == TapMode.PHONE_APP and reading.trust is not ClockTrust.UNSET:
                life_s = float(claims.exp - reading.unix)
                self._issuer.remember((claims.nonce, claims.sub), stored, life_s=life_s)

    # What the parts call.

    def _committed(self, tap: Tap, stored: StoredTap) -> None:
        self._next_seq = stored.seq + 1
        self.trace.committed(tap, stored)
        self._cues.committed(tap.facts.reader, stored.cti)
        if self._publisher is not None:
            self._publisher.offer(stored)

    def _on_wire(self, _link: str, cue: CueName, at: float) -> None:
        if cue is CueName.READING:
            self.trace.reading_shown(at)

    def _poke_publisher(self) -> None:
        if self._publisher is not None:
            self._publisher.poke()

    def _uplink_snapshot(self) -> UplinkSnapshot | None:
        return self._publisher.snapshot() if self._publisher is not None else None

    def _state(self, word: StateWord, session: str) -> State:
        return self._reporter.state(word, session, self._chain, self._next_seq)

    async def _status(self, _request: Mapping[str, object]) -> dict[str, object]:
        return await self._reporter.status()

    async def _identify(self, _request: Mapping[str, object]) -> dict[str, object]:
        self._cues.identify()
        return {"terminal": self.settings.terminal.id}

    def _identify_by_command(self, _command: Command) -> None:
        self._cues.identify()

    async def _say_stopped(self) -> None:
        if self._publisher is not None:
            try:
                async with asyncio.timeout(UPLINK_STOP_S):
                    await self._publisher.stop()
            except TimeoutError:
                log.warning("uplink_stop_cut_off", after_s=UPLINK_STOP_S)  # the will says "lost" in its place


async def serve(checked: Checked) -> None:
    """Run an agent until SIGTERM or SIGINT."""
    agent = Agent(checked)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    log.info("agent_starts", version=version(), terminal=agent.settings.terminal.id, config=str(checked.path))
    await agent.run()
    log.info("agent_stopped")


def run(checked: Checked) -> int:
    """`edge-agent run`; returns the exit status. Raises EdgeAgentError for what stops it from starting."""
    asyncio.run(serve(checked))
    return ExitCode.OK

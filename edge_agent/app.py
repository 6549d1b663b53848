"""The composition root: builds every part from the settings, starts and stops them in order. Knows everybody.

Start: key and outbox first, without them no tap can be kept; then uplink, screens, readers, control socket. An outbox
on a full, read-only or failing disk keeps nobody waiting: the screens rest, and it is opened when that is over.
Stop: readers first, so that no tap begins; then "stopped" is published, the outbox flushed, the screens let go.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial

import structlog

from edge_agent import hardware, monitor, show_command, surfaces
from edge_agent.adverts import Adverts
from edge_agent.alarms import Alarms
from edge_agent.backoff import Backoff
from edge_agent.broker import link_settings
from edge_agent.clock import Clock, SystemClock
from edge_agent.control import ControlServer
from edge_agent.errors import ExitCode, OutboxError
from edge_agent.guardian import Guardian
from edge_agent.issuer import Issuer
from edge_agent.live.history_file import HistoryFile
from edge_agent.models import ComponentState, StoredTap, Tap
from edge_agent.ops import screen_test
from edge_agent.ops.identify import identify_ops
from edge_agent.ops.lending import Lending
from edge_agent.ops.outbox import OutboxOps
from edge_agent.ops.round_trip import RoundTripOps
from edge_agent.ops.technician import Parts, Technician
from edge_agent.outbox.base import Bounds, Notice
from edge_agent.outbox.patient import PatientOutbox
from edge_agent.outbox.store import OutboxStore, StoreSettings
from edge_agent.readers.base import Reader
from edge_agent.readers.exchange import CardPolicy, ExchangeSettings
from edge_agent.readers.pseudonym import Pseudonyms
from edge_agent.readers.service import ReaderService, ReaderState
from edge_agent.recall import keep_clock, recall_clock, recall_tokens
from edge_agent.reports import Reporter
from edge_agent.screen import ScreenCues
from edge_agent.screen_events import ScreenEvents
from edge_agent.sealing import checkpoint_sealer, outbox_codec
from edge_agent.settings import Checked
from edge_agent.showing.base import Report
from edge_agent.supervision.health import HealthBoard
from edge_agent.supervision.restart import FILE_NAME, RestartFile
from edge_agent.supervision.sentinel import Sentinel
from edge_agent.supervision.supervisor import Supervisor
from edge_agent.supervision.systemd import Notifier
from edge_agent.tap_gate import TapGate
from edge_agent.tokens.keyring import load_key_file
from edge_agent.trace import TapTimes, Trace
from edge_agent.uplink.base import ConnectionHandler
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.publisher import Hooks, Publisher, PublisherSettings, UplinkSnapshot
from edge_agent.uplink.wire import Command, Result, State, StateWord, Topics
from edge_agent.version import VERSION
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName

log = structlog.get_logger(__name__)

# Less than three seconds in all; each usually takes a small part of its bound. The outbox has its own, of two seconds.
READERS_STOP_S = 1.0
UPLINK_STOP_S = 0.8
REST_STOP_S = 0.8


class Agent:
    """One terminal. Build it on the event loop, ``run`` it once; ``stop`` may be called at any time.

    ``on_tap`` hears of every step of every tap; ``restarting`` says, after ``run``, that a new process is wanted.
    Raises KeyFileError or OutboxError for what neither patience nor the restart of a part heals.
    """

    def __init__(
        self, checked: Checked, *, clock: Clock | None = None, on_tap: Callable[[TapTimes], None] | None = None
    ) -> None:
        settings = self.settings = checked.settings
        self.clock = clock or SystemClock(assume_synced=settings.clock.trust == "assume-synced")
        self._technician = Technician(self.clock, HistoryFile.beside(settings.control.socket), on_tap)
        self.trace = Trace(self._technician.on_tap)
        self._board = HealthBoard()
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self.restarting = asyncio.Event()
        self.restarts = RestartFile(settings.outbox.path.parent / FILE_NAME, self.clock)
        self._publisher: Publisher | None = None
        self._alarms = Alarms(lambda: self._publisher)
        self._hardware_stack = ExitStack()
        terminal = settings.terminal
        self._topics = Topics(terminal.fleet, terminal.id)
        key = load_key_file(settings.keys.path)
        keep_s = float(settings.outbox.retention_s) if settings.uplink.confirm == "broker" else None
        mib = 1024 * 1024
        bounds = Bounds(settings.outbox.max_rows, settings.outbox.max_mb * mib, settings.outbox.min_free_mb * mib)
        store = OutboxStore(
            settings.outbox.path,
            outbox_codec(key, terminal.fleet, terminal.id, self.clock),
            clock=self.clock,
            settings=StoreSettings(keep_sent_s=keep_s, bounds=bounds),
            on_notice=self._alarms.tell,
        )
        self.outbox = PatientOutbox(store, on_notice=self._alarms.tell)
        built = hardware.build(
            settings,
            clock=self.clock,
            until=self._hardware_stack,
            show_code=lambda *code: self.bridge.show_ticket(*code),  # noqa: PLW0108 - the bridge is made of what is built
        )
        self._people = built.people
        self._screen_events = ScreenEvents(self._alarms.tell, self.clock)
        self.bridge = Bridge(
            built.screens,
            terminal_id=terminal.id,
            clock=self.clock.monotonic,
            on_wire=self._on_wire,
            on_event=self._screen_events.heard,
        )
        self._cues = ScreenCues(self.bridge, built.names)
        self._adverts = Adverts(settings, self.bridge, self._cues, self.clock)
        limits = settings.limits
        self._gate = TapGate(
            taps_per_minute=limits.taps_per_minute,
            burst=limits.burst,
            cooldown_s=limits.cooldown_s,
            clock=self.clock,
            rest=self._cues.flooded,
            tell=self._alarms.tell,
        )
        self._issuer = Issuer(
            append=self.outbox.append,
            clock=self.clock,
            ttl=settings.token.ttl,
            campaign=self._adverts.campaign_at,
            on_new=self._committed,
            gate=self._gate,
        )
        pseudonyms = Pseudonyms()
        policies = {reader.name: CardPolicy(reader.cards) for reader in settings.readers}
        self._readers = tuple(self._service(reader, policies[reader.name], pseudonyms) for reader in built.readers)
        self._surfaces = surfaces.services(
            built.surfaces, settings, key, issue=self._issuer.issue, cues=self._cues, clock=self.clock
        )
        self._technician.attend(
            Parts(
                readers=self._readers,
                surfaces=self._surfaces,
                bridge=self.bridge,
                cues=self._cues,
                gate=self._gate,
                screen_events=self._screen_events,
                issue=self._issuer.issue,
                uplink_up=lambda: (up := self._uplink_snapshot()) is not None and up.up,
            )
        )
        self._reporter = Reporter(
            settings=settings,
            digest=checked.digest,
            kid=key.kid,
            clock=self.clock,
            board=self._board,
            outbox=self.outbox,
            readers=self._readers,
            surfaces=self._surfaces,
            bridge=self.bridge,
            screen_events=self._screen_events,
            showing=self._adverts.showing,
            trace=self.trace,
            gate=self._gate,
            uplink=self._uplink_snapshot,
            restarts=self.restarts,
            started_at=self.clock.monotonic(),
        )
        self._monitor = monitor.Monitor(
            self._board,
            self.clock,
            self.outbox,
            self._readers,
            self.bridge,
            lambda: self._publisher,
            on_outbox_fault=self._cues.outbox_fault,
            on_look=self._look,
            on_nowhere_to_tap=self._cues.nowhere_to_tap,
            surfaces=self._surfaces,
            on_stats=self._technician.on_stats,
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
        identify = identify_ops(self._cues.identify, terminal.id)
        asked = {"status": self._status, **identify, **outbox_ops.ops(), **self._adverts.ops()}
        asked |= self._technician.ops() | RoundTripOps(lambda: self._publisher, self.clock).ops()
        asked |= Lending(self._readers).ops() | screen_test.ops(self.bridge)
        self._control = ControlServer(settings.control.socket, asked)

    @property
    def takes_taps(self) -> bool:
        """Whether every reader polls and the uplink is up: what the demo waits for, not what a tap needs."""
        uplink = self._uplink_snapshot()
        polling = all(reader.snapshot().state is ReaderState.POLLING for reader in self._readers)
        return polling and uplink is not None and uplink.up

    def stop(self) -> None:
        """Drain and end; takes less than three seconds, and up to two more where a disk hangs."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until ``stop``."""
        async with AsyncExitStack() as stack:
            stack.callback(self._hardware_stack.close)
            stack.callback(self._technician.keep)
            await self.outbox.open()
            stack.push_async_callback(self.outbox.close)
            stack.push_async_callback(keep_clock, self.outbox, self.clock)
            if self.outbox.is_open:
                await self._recall()
            # Two supervisors: the readers end before what keeps and delivers their taps.
            readers, rest = self._supervise()
            running = [asyncio.create_task(readers.run()), asyncio.create_task(rest.run())]
            stopping = asyncio.create_task(self._until_stopped())
            try:
                self._notifier.ready(f"{VERSION} serves {self.settings.terminal.id}")
                await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stopping.set()
                self._notifier.stopping()
                await readers.stop(READERS_STOP_S)
                await self._say_stopped()
                await rest.stop(REST_STOP_S)
                for task in (*running, stopping):
                    await task

    async def _until_stopped(self) -> None:
        """Raises OutboxError if an outbox that could not be opened at the start turns out to be none of ours."""
        if self.outbox.is_open:
            await self._stopping.wait()
            return
        late, stopped = asyncio.create_task(self.outbox.opened()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({late, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if late.done():
                late.result()
                await self._recall()
                await stopped
        finally:
            late.cancel()
            stopped.cancel()

    async def _recall(self) -> None:
        await recall_clock(self.outbox, self.clock)
        await recall_tokens(self.outbox, self._issuer, self.clock, self.settings.token.ttl)

    # Building.

    def _service(self, reader: Reader, cards: CardPolicy, pseudonyms: Pseudonyms) -> ReaderService:
        exchange = self.settings.exchange
        service = ReaderService(
            reader,
            settings=ExchangeSettings(
                aids=tuple(bytes.fromhex(aid) for aid in exchange.aids), budget_s=exchange.budget_ms / 1000, cards=cards
            ),
            issue=self._issuer.issue,
            show=self._cues.for_reader(reader.name),
            clock=self.clock,
            pseudonyms=pseudonyms,
        )
        service.tell_lent = self._cues.lent
        service.tell_deaf = lambda name, text: self._alarms.tell(Notice("reader_deaf", text, {"reader": name}))
        return service

    def _supervise(self) -> tuple[Supervisor, Supervisor]:
        backoff = partial(Backoff, base=0.2, cap=30.0, stable_after=30.0)
        readers, rest = (Supervisor(self.clock, self._board, backoff) for _ in range(2))
        for reader in self._readers:
            readers.add(reader.snapshot().name, reader.run, deadline_s=monitor.SILENT_S, group=monitor.READERS)
        for surface in self._surfaces:
            readers.add(surface.snapshot().name, surface.run, deadline_s=monitor.SILENT_S, group=monitor.READERS)
        for name, people in self._people:
            readers.add(name, self._told_ok(name, people), critical=False)
        self._board.register(monitor.CLOCK, self.clock.monotonic(), critical=False)
        rest.add(monitor.UPLINK, self._run_uplink, deadline_s=monitor.SILENT_S)
        rest.add(monitor.SCREENS, self.bridge.run, critical=False)
        rest.add(monitor.CONTROL, self._told_ok(monitor.CONTROL, self._control.serve), critical=False)
        rest.add(monitor.ADVERTS, self._told_ok(monitor.ADVERTS, self._adverts.run), critical=False)
        for name, door in self._adverts.doors(self._report).items():
            rest.add(name, door, critical=False)
        rest.add(monitor.OUTBOX, self._monitor.watch_outbox, deadline_s=monitor.SILENT_S)
        rest.add(monitor.MONITOR, self._monitor.watch_parts, deadline_s=monitor.SILENT_S)
        guardian = Guardian(
            self.clock,
            self._monitor,
            (readers, rest),
            reopen_outbox=self.outbox.heal,
            restarts=self.restarts,
            tell=self._alarms.tell,
            restart_agent=self._restart,
        )
        rest.add(monitor.GUARDIAN, self._told_ok(monitor.GUARDIAN, guardian.watch), deadline_s=monitor.SILENT_S)
        rest.add(monitor.WATCHDOG, self._told_ok(monitor.WATCHDOG, partial(guardian.feed, self._notifier)))
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
                actions={"identify": self._identify_by_command, show_command.NAME: self._adverts.show_by_command},
                on_result=self._result,
                observer=self.trace,
                checkpoint=self._seal_checkpoint,
                on_online=self.restarts.forget,
            ),
        )
        self._alarms.deliver()
        try:
            await publisher.run()
        finally:
            self._publisher = None  # a crashed one has nothing to say: its crash is to be read
            self._alarms.take_back(publisher.unheard_alarms())

    # What the parts call.

    def _committed(self, tap: Tap, stored: StoredTap) -> None:
        self._technician.committed(tap, stored)
        self.trace.committed(tap, stored)
        self._cues.committed(tap.facts.reader, stored.cti)
        if self._publisher is not None:
            self._publisher.offer(stored)

    def _result(self, result: Result) -> None:
        if self._technician.for_people(result):
            self._cues.result(result)

    def _on_wire(self, link: str, cue: CueName, at: float) -> None:
        self._technician.on_wire(link, cue, at)
        if cue is CueName.READING:
            self.trace.reading_shown(at)

    def _look(self) -> None:
        self._gate.look()
        self._screen_events.look()
        self._technician.look()

    def _report(self, name: str) -> Report:
        return lambda state, text: self._board.report(name, state, self.clock.monotonic(), text)

    def _poke_publisher(self) -> None:
        if self._publisher is not None:
            self._publisher.poke()

    def _uplink_snapshot(self) -> UplinkSnapshot | None:
        return self._publisher.snapshot() if self._publisher is not None else None

    def _state(self, word: StateWord, session: str) -> State:
        return self._reporter.state(word, session)

    def _restart(self) -> None:
        self.restarting.set()
        self.stop()

    async def _status(self, _request: Mapping[str, object]) -> dict[str, object]:
        return await self._reporter.status()

    def _identify_by_command(self, _command: Command) -> None:
        self._cues.identify()

    async def _say_stopped(self) -> None:
        if self._publisher is not None:
            try:
                async with asyncio.timeout(UPLINK_STOP_S):
                    await self._publisher.stop()
            except TimeoutError:
                log.warning("uplink_stop_cut_off", after_s=UPLINK_STOP_S)  # the will says "lost" in its place


async def serve(checked: Checked) -> bool:
    """Run an agent until SIGTERM or SIGINT; True if it ended because only a new process can heal it."""
    agent = Agent(checked)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    log.info("agent_starts", version=VERSION, terminal=agent.settings.terminal.id, config=str(checked.path))
    sentinel = Sentinel(agent.restarts.save)
    watching = [asyncio.create_task(sentinel.watch()), asyncio.create_task(sentinel.leave_after(agent.restarting))]
    try:
        await agent.run()
    except OutboxError as error:
        if not agent.restarting.is_set():
            raise
        log.warning("outbox_not_closed", error=str(error))  # it hangs, and that may be why
    finally:
        for task in watching:
            task.cancel()
    log.info("agent_stopped", restarting=agent.restarting.is_set())
    return agent.restarting.is_set()


def run(checked: Checked) -> int:
    """`edge-agent run`; returns the exit status. Raises EdgeAgentError for what stops it from starting."""
    return ExitCode.RESTART if asyncio.run(serve(checked)) else ExitCode.OK

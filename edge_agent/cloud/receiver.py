"""The cloud's end of the wire: subscribe, verify, store, and only then acknowledge.

A message is acknowledged to the broker (PUBACK) after the commit that holds its tokens, in order of arrival; a crash
at any point leads to a second delivery, which the ledger finds to be a duplicate. Bad input is counted, kept as
evidence and acknowledged too: it must never stop the next tap. While the ledger fails nothing is acknowledged.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.cloud.base import Ledger, LedgerError, StoreReport
from edge_agent.cloud.holes import HolePolicy
from edge_agent.cloud.ingest import (
    BATCH_SUFFIX,
    CHECKPOINT_SUFFIX,
    GAP_SUFFIX,
    LIVE_SUFFIX,
    STATE_SUFFIX,
    Arrival,
    Ingested,
    TapEvent,
    settle,
)
from edge_agent.cloud.keeping import Keeper
from edge_agent.cloud.pacing import AckPacer
from edge_agent.cloud.records import record_events
from edge_agent.cloud.rewards import RewardPolicy
from edge_agent.cloud.searching import Search
from edge_agent.cloud.stream_events import ALARMING, StreamEvent, report_events
from edge_agent.cloud.verifier import INGEST_WINDOW_S, KeyLookup, Verdict
from edge_agent.errors import UplinkError
from edge_agent.uplink.base import Acked, DownReason, LinkDown, LinkFactory, LinkSettings, LinkUp, Message, Received
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.topics import ROOT
from edge_agent.uplink.wire import CONTENT_JSON, Result, Topics, receiver_filter

log = structlog.get_logger(__name__)

_EXPECTED = frozenset({Verdict.FRESH, Verdict.LATE, Verdict.DUPLICATE})
_MAX_RESULTS = 1000
_ACKS_AT_A_TIME = 100
# Like every other retry: quick at first, then quiet, for as long as the disk is full.
_LEDGER_RETRY_S = (0.1, 5.0)
# A batch holds at most 64 tokens (contract); counted as such before it is opened.
_TOKENS_IN_BATCH = 64


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """How one receiver works; times in seconds."""

    group: str = "ingest"
    """Receivers of one group share the work; every group gets every tap."""
    fleet: str = "+"
    """One fleet, or all."""
    ack_interval_s: float = 0.1
    """At most one ``ack`` for each stream in this time; the first after a pause goes at once."""
    ingest_window_s: int = INGEST_WINDOW_S
    batch_tokens: int = 256
    """Tokens verified and committed together: about 40 ms of a core."""
    queue_messages: int = 1000
    """Not below the receive maximum that the link announces, so that an honest broker never fills it."""
    session_expiry_s: int = 30
    """How long the broker keeps what was not acknowledged for this receiver to come back; then others get it."""
    answer_births: bool = True
    """Answer each terminal's birth with an ``ack``: rows whose ack was lost are pruned."""
    watch_holes: bool = True
    """Report what is missing and ask for it. Off where the receivers of a group have a ledger each: what one of them
    misses, another has."""
    holes: HolePolicy = field(default_factory=HolePolicy)
    result_expiry_s: int = 10
    """Contract, section 4: ``result`` has "expiry 10 s"."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters. Each shared one has a share name of its own: not every broker keeps two apart in one."""
        shared = (
            receiver_filter(f"{self.group}-tap", fleet=self.fleet, suffix=LIVE_SUFFIX),
            receiver_filter(f"{self.group}-batch", fleet=self.fleet, suffix=BATCH_SUFFIX),
            receiver_filter(f"{self.group}-chk", fleet=self.fleet, suffix=CHECKPOINT_SUFFIX),
            receiver_filter(f"{self.group}-gap", fleet=self.fleet, suffix=GAP_SUFFIX),
        )
        # Not shared: only so does the broker send what is retained, the births that happened while we were away.
        births = (f"{ROOT}/{self.fleet}/+/{STATE_SUFFIX}",) if self.answer_births else ()
        return shared + births


class Receiver:
    """One receiver on an open ledger, which stays the caller's to close. ``run`` it once, on the loop that built it.

    ``on_event`` hears of each token after it is durable and acknowledged, ``on_stream`` of what concerns a chain.
    ``link`` is asked before each attempt; ``manual_ack`` and the session's expiry are set here.
    """

    def __init__(  # noqa: PLR0913 (all but three are optional and named)
        self,
        link: Callable[[], LinkSettings],
        ledger: Ledger,
        keys: KeyLookup,
        *,
        clock: Clock,
        settings: ReceiverSettings | None = None,
        on_event: Callable[[TapEvent], None] | None = None,
        on_stream: Callable[[StreamEvent], None] | None = None,
        rewards: RewardPolicy | None = None,
        link_factory: LinkFactory = PahoLink,
    ) -> None:
        self._settings = settings or ReceiverSettings()
        self._link = link
        self._ledger = ledger
        self._keeper = Keeper(ledger, keys, self._settings.ingest_window_s)
        self._clock = clock
        self._on_event = on_event
        self._on_stream = on_stream
        self._rewards = rewards
        self._connection = Connection(
            self._link_settings,
            subscriptions=self._settings.subscriptions,
            handler=self,
            clock=clock,
            backoff=Backoff(base=0.5, cap=30.0, stable_after=10.0),
            link_factory=link_factory,
        )
        self._queue: deque[tuple[Received, Arrival]] = deque()
        self._results: deque[tuple[float, str, Result]] = deque()
        self._pacer = AckPacer(self._settings.ack_interval_s)
        self._arrived = asyncio.Event()
        self._sendable = asyncio.Event()
        self._stopping = asyncio.Event()
        self._window_full = False
        self._overflowed = False
        self._counts: Counter[str] = Counter()
        watching = self._settings.watch_holes
        self._search = Search(ledger, clock, self._settings.holes, self._tell_streams, on=watching)

    @property
    def is_up(self) -> bool:
        """Connected and subscribed."""
        return self._connection.is_up

    @property
    def counts(self) -> Counter[str]:
        """Tokens by verdict since the start, words of stream events, ``overflow``, ``result_dropped``."""
        return self._counts.copy()

    async def run(self) -> None:
        """Receive until ``stop`` or cancellation; raises the error of whatever failed for good."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._connection.run())
                working = tasks.create_task(self._work())
                sending = tasks.create_task(self._send())
                await working
                await self._send_acks(math.inf)
                sending.cancel()
                await self._connection.stop()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._keeper.close()

    def stop(self) -> None:
        """Finish the batch in work and end ``run``; what is still queued was not acknowledged and comes again."""
        self._stopping.set()
        self._arrived.set()

    # Events of the connection.

    def on_up(self, up: LinkUp) -> None:
        """Acks that could not be sent go out now."""
        log.debug("receiver_up", session_present=up.session_present)
        self._sendable.set()

    def on_down(self, down: LinkDown) -> None:
        """What is queued is stored all the same: the broker will send it again, and it will be a duplicate."""
        self._overflowed = False
        log.debug("receiver_down", reason=down.reason.value)

    def on_ack(self, acked: Acked) -> None:
        """A place in the window of our own messages is free again."""
        if acked.code >= 0x80:
            log.debug("receiver_message_refused", code=acked.code)
        self._sendable.set()

    def on_message(self, received: Received) -> None:
        """Queue a message; its PUBACK follows its commit."""
        self._arrived.set()
        if self._overflowed or len(self._queue) >= self._settings.queue_messages:
            # It will not come again on this connection. What is queued is finished and acknowledged first: so each
            # connection makes progress, and nothing later overtakes what was dropped.
            self._overflowed = self._overflowed or bool(received.qos)
            self._count("overflow", "receiver_overflow", queued=len(self._queue))
            return
        at = float(self._clock.read().unix)
        self._queue.append((received, Arrival(received.topic, received.payload, at, self._clock.monotonic())))

    # Queue -> ledger -> PUBACK.

    async def _work(self) -> None:
        while not self._stopping.is_set():
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue and not self._stopping.is_set():
                await self._process(self._take())
            if self._overflowed:
                self._connection.give_up(DownReason.BROKER, "the broker exceeds our receive maximum")

    def _take(self) -> list[tuple[Received, Arrival]]:
        """What has arrived while the last commit ran, up to one batch; at least one message."""
        taken: list[tuple[Received, Arrival]] = []
        tokens = 0
        while self._queue and tokens < self._settings.batch_tokens:
            taken.append(self._queue.popleft())
            tokens += _TOKENS_IN_BATCH if taken[-1][0].topic.endswith(BATCH_SUFFIX) else 1
        return taken

    async def _process(self, taken: list[tuple[Received, Arrival]]) -> None:
        arrivals = [arrival for _, arrival in taken]
        kept = await self._keep(arrivals, await self._keeper.judge(arrivals))
        if kept is None:
            return
        ingested, report = kept
        # MQTT 5, section 4.6: PUBACK in the order in which the PUBLISH packets were received.
        for received, _ in taken:
            self._connection.ack(received)
        now = self._clock.monotonic()
        for stream in [*ingested.touched, *await self._search.older(ingested)]:
            self._pacer.touch(stream, now)
        self._search.hear(ingested, now)
        for event in settle(ingested, report, now):
            self._tell(event, now)
        self._tell_streams(record_events(ingested.records, report))
        self._tell_streams(report_events(report))
        self._sendable.set()

    async def _keep(self, arrivals: Sequence[Arrival], ingested: Ingested) -> tuple[Ingested, StoreReport] | None:
        """Store, and try again for as long as it takes; None if we were stopped before it worked."""
        backoff = Backoff(*_LEDGER_RETRY_S, stable_after=0.0)
        while True:
            try:
                kept = await self._keeper.store(arrivals, ingested)
            except LedgerError as error:
                delay = backoff.next_delay(self._clock.monotonic())
                say = log.debug if backoff.failures > 1 else log.warning
                say("ledger_failed", error=str(error), failures=backoff.failures, retry_in_s=round(delay, 2))
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._stopping.wait()
                if self._stopping.is_set():
                    return None
            else:
                if backoff.failures:
                    log.info("ledger_recovered", failures=backoff.failures)
                return kept

    def _tell(self, event: TapEvent, now: float) -> None:
        if event.verdict in _EXPECTED:
            self._counts[event.verdict.value] += 1
        else:
            where = {"fleet": event.fleet, "terminal": event.terminal, "seq": event.seq, "reason": event.reason}
            self._count(event.verdict.value, "tap_refused", verdict=event.verdict.value, **where)
        result = self._rewards.result_for(event) if self._rewards is not None else None
        if result is not None and event.fleet is not None and event.terminal is not None:
            if len(self._results) >= _MAX_RESULTS:
                self._results.popleft()
                self._count("result_dropped", "result_dropped", reason="too many wait")
            void_at = now + self._settings.result_expiry_s
            self._results.append((void_at, Topics(event.fleet, event.terminal).result, result))
        if self._on_event is not None:
            self._on_event(event)

    def _tell_streams(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            word = event.word.value
            if event.word in ALARMING:
                self._count(
                    word, word, fleet=event.fleet, terminal=event.terminal, seqs=event.seqs[:3], text=event.text
                )
            else:
                self._counts[word] += 1
            if self._on_stream is not None:
                self._on_stream(event)

    def _count(self, name: str, event: str, **facts: object) -> None:
        """Count, and log the first of its kind as a warning and the others quietly."""
        self._counts[name] += 1
        say = log.warning if self._counts[name] == 1 else log.debug
        say(event, count=self._counts[name], **facts)

    # To the terminals: results first, they are for somebody who waits.

    async def _send(self) -> None:
        while True:
            await self._sleep_until_sendable()
            self._window_full = False
            if self._connection.is_up and self._send_results():
                await self._send_acks(self._clock.monotonic())
                await self._send_orders()

    async def _sleep_until_sendable(self) -> None:
        waiting = self._window_full or not self._connection.is_up
        now = self._clock.monotonic()
        due = [] if waiting else [self._pacer.next_due_at(), self._search.next_at()]
        delay = min((max(0.0, at - now) for at in due if at is not None), default=None)
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._sendable.wait()
        self._sendable.clear()

    def _send_results(self) -> bool:
        """False if our window to the broker is full; the next PUBACK opens it."""
        now = self._clock.monotonic()
        while self._results:
            void_at, topic, result = self._results[0]
            if void_at <= now:
                self._count("result_dropped", "result_dropped", reason="the broker was away for too long")
            elif not self._publish(topic, result.encode(), expiry_s=self._settings.result_expiry_s):
                return False
            self._results.popleft()
        return True

    async def _send_acks(self, now: float) -> None:
        due = self._pacer.take_due(now, _ACKS_AT_A_TIME)
        if not due:
            return
        try:
            standings = await self._ledger.standings(due)
        except LedgerError as error:
            log.debug("acks_delayed", error=str(error))
            standings = []
        sent, at = 0, self._clock.read().unix
        for stream, standing in zip(due, standings, strict=False):
            self._search.stands(stream, standing)
            ack = replace(standing.ack, at=at)
            if not self._publish(Topics(stream.fleet, stream.terminal).ack, ack.encode()):
                break
            sent += 1
        for stream in due[sent:]:
            self._pacer.touch(stream, self._clock.monotonic())

    async def _send_orders(self) -> None:
        await self._search.send(self._publish_message)
        found = self._search.counts
        for name in ("resend_dropped", "holes_forgotten"):
            if found[name] > self._counts[name]:
                self._counts[name] = found[name] - 1
                self._count(name, name)
        if asked := found["resend_asked"]:
            self._counts["resend_asked"] = asked

    def _publish(self, topic: str, payload: bytes, expiry_s: int | None = None) -> bool:
        return self._publish_message(Message(topic, payload, content_type=CONTENT_JSON, expiry_s=expiry_s))

    def _publish_message(self, message: Message) -> bool:
        try:
            self._connection.publish(message)
        except UplinkError:
            self._window_full = True
            return False
        return True

    def _link_settings(self) -> LinkSettings:
        return replace(self._link(), manual_ack=True, session_expiry_s=self._settings.session_expiry_s)

"""What goes out, in lanes over one window: control, live taps at once, gap records, the backlog. Paced by PUBACK.

A row is confirmed by the PUBACK of its own message in its own connection and by nothing else; when the connection
ends, all that was in flight is pending again. The outbox is the only truth: nothing waits here that it does not hold.
"""

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal, Protocol

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, UplinkError
from edge_agent.models import StoredTap
from edge_agent.outbox.base import GapRecord, Lease, Outbox
from edge_agent.uplink.base import PACKET_MAXIMUM_DEFAULT, Acked, DownReason, Message
from edge_agent.uplink.gap_lane import GapLane
from edge_agent.uplink.lanes import BatchSize, InFlight, Lane, Window
from edge_agent.uplink.refusals import FIRST_FAILURE_CODE, Remedy, RowRefusals, delay_s, remedy_for
from edge_agent.uplink.wire import CONTENT_CWT, CONTENT_CWT_SEQUENCE, Topics, WireError, encode_batch

log = structlog.get_logger(__name__)

BATCH_BYTES = 16 * 1024
# Of a packet, beside the payload: fixed header, topic (at most 66 bytes), mid and properties.
PACKET_OVERHEAD = 160
LIVE_WAITING = 256
CONTROL_WAITING = 64
RESEND_WAITING = 256


Cargo = Lease | GapRecord | Message


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the broker did not take: ``state``, ``evt/tap`` and the like, and the code of its PUBACK."""

    suffix: str
    code: int


class UplinkObserver(Protocol):
    """Hears of the delivery of tokens; ``at`` in CLOCK_MONOTONIC seconds. Called on the event loop, must be quick."""

    def on_sent(self, chain: bytes, first: int, last: int, at: float) -> None:
        """The broker has these rows (PUBACK)."""

    def on_stored(self, chain: bytes, through: int, at: float) -> None:
        """The receiver says that it has stored the rows up to ``through``."""


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """How to deliver; times in seconds."""

    confirm: Literal["receiver", "broker"] = "receiver"
    ack_timeout_s: float = 30.0
    """Without any PUBACK for so long the link is dead, whatever TCP says."""
    confirm_timeout_s: float = 60.0
    """A row that the receiver has not confirmed for so long is sent again (confirm = "receiver")."""
    health_interval_s: float = 60.0
    max_in_flight: int = 100
    batches_in_flight: int = 4


class Sender:
    """Sends over the connection that ``publish`` and ``give_up`` belong to; ``drain`` must be running."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        publish: Callable[[Message], int],
        give_up: Callable[[DownReason, str], None],
        topics: Topics,
        clock: Clock,
        settings: PublisherSettings,
        observer: UplinkObserver | None,
        on_said: Callable[[Message], None] | None = None,
    ) -> None:
        self._outbox = outbox
        self._publish = publish
        self._give_up = give_up
        self._topics = topics
        self._clock = clock
        self._observer = observer
        self._on_said = on_said
        self._window: Window[Cargo] = Window(
            limit=settings.max_in_flight,
            batches=settings.batches_in_flight,
            ack_timeout_s=settings.ack_timeout_s,
        )
        self._batch = BatchSize()
        self._batch_bytes = BATCH_BYTES
        self._session = 0
        self._open = False
        self._live: deque[StoredTap] = deque()
        self._control: deque[Message] = deque()
        self._resend: list[tuple[float, int, Lane, Lease]] = []
        self._order = count()
        self._refusals = RowRefusals()
        self._gaps = GapLane(outbox)
        self._held_until = 0.0
        self._read_failures = 0
        self._wake = asyncio.Event()
        self.counts: Counter[str] = Counter()
        """Since start, in rows: sent, acked, parked; in messages: refused, unsaid."""
        self.refusal: Refusal | None = None
        """The last refusal, until the broker takes something of the same kind."""

    @property
    def in_flight(self) -> int:
        """Messages without PUBACK."""
        return len(self._window)

    def open(self, receive_maximum: int, maximum_packet: int = PACKET_MAXIMUM_DEFAULT) -> None:
        """A new connection is up, whose broker takes that many messages at a time and packets of that many bytes."""
        self._session += 1
        self._open = True
        self._held_until = 0.0
        self._batch_bytes = min(BATCH_BYTES, maximum_packet - PACKET_OVERHEAD)
        self._window.open(receive_maximum)
        self._wake.set()

    def pause(self) -> None:
        """Send no more on this connection, but count its PUBACKs as long as they come."""
        self._open = False

    def close(self) -> None:
        """Send no more on this connection; what is unacknowledged counts as unsent. Idempotent."""
        self._open = False
        self._outbox.release(self._session)
        lost = self._window.close()
        if any(item.lane is Lane.BACKLOG for item in lost):
            self._batch.lost()
        unheard = [item.cargo for item in lost if isinstance(item.cargo, Message)]
        # The state of a connection that has ended would be a lie, whether it was sent or was still waiting.
        self._control = deque(message for message in (*unheard, *self._control) if message.topic != self._topics.state)
        self._resend.clear()
        self._gaps.closed()

    def wake(self) -> None:
        """Look again whether there is something to send."""
        self._wake.set()

    def say_first(self, message: Message) -> None:
        """Send a control message before all that wait."""
        self._control.appendleft(message)
        self._send_control()

    def say(self, message: Message) -> None:
        """Send a control message, now or on the next connection; of too many waiting the oldest is dropped."""
        if len(self._control) >= CONTROL_WAITING:
            self._control.popleft()
            self.counts["unsaid"] += 1
            log.warning("control_messages_lost", count=self.counts["unsaid"])
        self._control.append(message)
        self._send_control()

    def say_newest(self, message: Message) -> None:
        """As ``say``, in place of what waits on the same topic."""
        self._control = deque(waiting for waiting in self._control if waiting.topic != message.topic)
        self.say(message)

    def unheard(self, topic: str) -> list[Message]:
        """Control messages of this topic without PUBACK, oldest first."""
        said = (*self._window.cargo(), *self._control)
        return [cargo for cargo in said if isinstance(cargo, Message) and cargo.topic == topic]

    def offer(self, stored: StoredTap) -> None:
        """A tap was committed: send it now if the link is up; else it is the backlog's. Never waits, never raises."""
        if not self._open:
            return
        if len(self._live) < LIVE_WAITING:
            self._live.append(stored)
            self._send_live()
        # Beyond that the row stays pending, and the backlog lane finds it there.
        self._wake.set()

    def acknowledged(self, acked: Acked) -> None:
        """PUBACK of one message."""
        now = self._clock.monotonic()
        item = self._window.acknowledged(acked.mid, now)
        if item is None:
            return
        if acked.code >= FIRST_FAILURE_CODE:
            self.refusal = Refusal(self._suffix(item.cargo), acked.code)
        elif self.refusal is not None and self.refusal.suffix == self._suffix(item.cargo):
            self.refusal = None
        if acked.code >= FIRST_FAILURE_CODE:
            self._refused(item, acked.code, now)
        elif isinstance(item.cargo, Lease):
            self._delivered(item.cargo, now)
            if item.lane is Lane.BACKLOG:
                self._batch.acknowledged(now - item.sent_at)
        elif isinstance(item.cargo, GapRecord):
            self._gaps.acknowledged(item.cargo)
        elif self._on_said is not None:
            self._on_said(item.cargo)
        self._send_live()
        self._wake.set()

    def stalled(self) -> bool:
        """The link swallows: nothing of what is in flight was acknowledged for too long."""
        return self._window.stalled(self._clock.monotonic())

    async def drain(self) -> None:
        """Send what is waiting whenever there is room, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._send_control()
            self._send_live()
            self._send_again()
            if not self._send_gaps():
                continue  # until a PUBACK makes room: they come before the backlog that they are about
            try:
                while self._may_send(Lane.BACKLOG) and await self._send_batch():
                    self._read_failures = 0
            except OutboxError as error:
                self._read_failures += 1
                level = log.warning if self._read_failures == 1 else log.debug
                level("backlog_unreadable", error=str(error), count=self._read_failures)

    async def _send_batch(self) -> bool:
        """Lease the oldest rows and send them; False when there is nothing to do for now."""
        # If the connection ends while the outbox reads, it answers None: the session was released.
        lease = await self._outbox.lease_backlog(self._session, max_rows=self._batch.rows, max_bytes=self._batch_bytes)
        return lease is not None and self._send_lease(Lane.BACKLOG, lease)

    def _send_control(self) -> None:
        while self._open and self._control and self._window.room(Lane.CONTROL):
            if not self._send(Lane.CONTROL, self._control[0], self._control[0]):
                return
            self._control.popleft()

    def _send_gaps(self) -> bool:
        """Send the gap records that are due; False if some found no place."""
        for record in self._gaps.due(self._clock.monotonic()):
            message = Message(self._topics.evt_gap, record.token, content_type=CONTENT_CWT)
            ready = self._open and self._gaps.has_room and self._window.room(Lane.GAP)
            if not ready or not self._send(Lane.GAP, record, message):
                return False
            self._gaps.sent(record)
        return True

    def _send_live(self) -> None:
        while self._live and self._may_send(Lane.LIVE):
            lease = self._outbox.lease_live(self._session, self._live.popleft())
            if lease is not None:
                self._send_lease(Lane.LIVE, lease)

    def _send_again(self) -> None:
        now = self._clock.monotonic()
        due = []
        while self._resend and self._resend[0][0] <= now:
            due.append(heapq.heappop(self._resend))
        for _, _, lane, lease in due:
            if self._may_send(lane):
                self._send_lease(lane, lease)
            else:
                self._send_later(lane, lease, now)

    def _send_lease(self, lane: Lane, lease: Lease) -> bool:
        try:
            message = self._message(lease)
        except WireError as error:
            self._split(f"rows {lease.first} to {lease.last} are no batch: {error.text}")
            return False
        sent = self._send(lane, lease, message)
        if sent:
            self.counts["sent"] += len(lease.tokens)
        else:
            self._send_later(lane, lease, self._clock.monotonic())
        return sent

    def _message(self, lease: Lease) -> Message:
        if len(lease.tokens) == 1:
            return Message(self._topics.evt_tap, lease.tokens[0], content_type=CONTENT_CWT)
        return Message(self._topics.evt_batch, encode_batch(lease.tokens), content_type=CONTENT_CWT_SEQUENCE)

    def _send(self, lane: Lane, cargo: Cargo, message: Message) -> bool:
        try:
            mid = self._publish(message)
        except UplinkError as error:
            # The end of this link is on its way to us, or it wants PUBACKs first; both wake us.
            log.debug("publish_refused", error=error.text)
            return False
        self._window.sent(mid, lane, cargo, self._clock.monotonic())
        return True

    def _send_later(self, lane: Lane, lease: Lease, at: float) -> None:
        heapq.heappush(self._resend, (at, next(self._order), lane, lease))

    def _may_send(self, lane: Lane) -> bool:
        return self._open and self._clock.monotonic() >= self._held_until and self._window.room(lane)

    def _delivered(self, lease: Lease, now: float) -> None:
        self._outbox.confirm_sent(lease)
        self.counts["acked"] += len(lease.tokens)
        self._refusals.taken(lease.chain, lease.first, lease.last)
        if self._observer is not None:
            self._observer.on_sent(lease.chain, lease.first, lease.last, now)

    def _suffix(self, cargo: Cargo) -> str:
        """What follows the terminal in the topic of ``cargo``."""
        match cargo:
            case Message(topic=topic):
                pass
            case GapRecord():
                topic = self._topics.evt_gap
            case _:
                topic = self._topics.evt_tap if len(cargo.tokens) == 1 else self._topics.evt_batch
        return topic.removeprefix(f"{self._topics.prefix}/")

    def _refused(self, item: InFlight[Cargo], code: int, now: float) -> None:
        self.counts["refused"] += 1
        lease = item.cargo
        if isinstance(lease, GapRecord):
            self._gaps.refused(lease, code, now)
            return
        if not isinstance(lease, Lease):
            log.warning("message_refused", topic=lease.topic, code=code)
            return
        times, others_pass = self._refusals.again(lease.chain, lease.first)
        # A batch is never parked but split, which shows whether single rows of it pass.
        remedy = remedy_for(code, times, others_pass=len(lease.tokens) > 1 or others_pass)
        level = log.warning if self.counts["refused"] == 1 else log.debug
        level("tap_refused", code=code, first=lease.first, rows=len(lease.tokens), remedy=remedy.value, times=times)
        if remedy is not Remedy.PARK:
            if remedy is Remedy.HOLD:
                self._held_until = now + delay_s(times)
            self._send_later(item.lane, lease, now + delay_s(times))
            if len(self._resend) > RESEND_WAITING:
                self._give_up(DownReason.BROKER, f"more than {RESEND_WAITING} messages were refused, code {code}")
        elif len(lease.tokens) == 1:
            self._refusals.forget(lease.chain, lease.first)
            self.counts["parked"] += 1
            self._outbox.park(lease, f"refused by the broker with code {code}")
        else:
            self._split(f"rows {lease.first} to {lease.last} were refused with code {code}")

    def _split(self, text: str) -> None:
        # Which row of a batch is at fault shows only one by one; a lease can be given back only with its connection.
        self._batch.refused()
        self._give_up(DownReason.BROKER, text)

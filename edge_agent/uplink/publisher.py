"""The terminal's side of the uplink: presence, taps, telemetry and commands over one connection.

It ties the parts together and owns their life: ``sender`` delivers, ``inbox`` reads, ``presence`` says who is there,
``commands`` obeys. Nothing of it is on the path of a tap: a tap counts when the outbox has it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import OutboxError, UplinkError
from edge_agent.models import StoredTap
from edge_agent.outbox.base import Outbox
from edge_agent.uplink.base import Acked, ConnectionHandler, DownReason, LinkDown, LinkUp, Message, Received
from edge_agent.uplink.commands import Action, Commands
from edge_agent.uplink.inbox import Inbox
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.sender import PublisherSettings, Sender, UplinkObserver
from edge_agent.uplink.wire import CONTENT_JSON, Ack, Alarm, Command, Health, Result, Topics, WireError

__all__ = ["ConnectionLike", "Hooks", "Publisher", "PublisherSettings", "UplinkObserver", "UplinkSnapshot"]

log = structlog.get_logger(__name__)

RESPONSE_EXPIRY_S = 60
TICK_S = 1.0


class ConnectionLike(Protocol):
    """What the publisher needs of a Connection."""

    last_failure: LinkDown | None
    """Why the last attempt or connection ended; None while connected."""

    async def run(self) -> None:
        """Stay connected until ``stop``."""

    def publish(self, message: Message) -> int:
        """Send now; raises UplinkError."""

    def give_up(self, reason: DownReason, text: str) -> None:
        """Close this link and connect again."""

    def poke(self) -> None:
        """Connect now instead of at the end of the back-off."""

    async def stop(self, last: Message | None = None) -> None:
        """Say ``last`` and end."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the agent wants to be asked and told. All but ``health`` are called on the event loop and must be quick."""

    health: Callable[[], Awaitable[Health]] | None = None
    """None: no telemetry."""
    actions: Mapping[str, Action] = field(default_factory=dict)
    """Commands beside ``rebirth``, by name; each raises EdgeAgentError if it cannot be done."""
    on_result: Callable[[Result], None] | None = None
    observer: UplinkObserver | None = None


@dataclass(frozen=True, slots=True)
class UplinkSnapshot:
    """The uplink at one moment, for the status; counts since start.

    ``since`` and ``ticked``, the last time that its loop came by, are CLOCK_MONOTONIC seconds.
    """

    up: bool
    since: float
    reason: str
    text: str
    session: str
    in_flight: int
    sent: int
    acked: int
    stored: int
    refused: int
    parked: int
    requeued: int
    dropped: int
    ticked: float


class Publisher:
    """Owns the connection that ``connect`` builds around it; ``run`` ends after ``stop``."""

    def __init__(
        self,
        outbox: Outbox,
        connect: Callable[[ConnectionHandler], ConnectionLike],
        *,
        topics: Topics,
        presence: Presence,
        clock: Clock,
        settings: PublisherSettings,
        hooks: Hooks = Hooks(),
        rng: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._connection = connect(self)
        self._topics = topics
        self._presence = presence
        self._clock = clock
        self._settings = settings
        self._hooks = hooks
        self._rng = rng or random.SystemRandom()
        self._sender = Sender(
            outbox,
            publish=self._connection.publish,
            give_up=self._connection.give_up,
            topics=topics,
            clock=clock,
            settings=settings,
            observer=hooks.observer,
        )
        self._inbox = Inbox(topics, on_ack=self._stored, on_result=self._result, on_command=self._command)
        self._commands = Commands({"rebirth": lambda _: self.rebirth(), **hooks.actions}, clock=clock)
        self._up = False
        self._since = self._ticked = clock.monotonic()
        self._requeue_at = 0.0
        self._rows_stored = 0
        self._rows_requeued = 0

    async def run(self) -> None:
        """Deliver until ``stop`` or cancellation; raises what a part of it raised."""
        works = [self._connection.run(), self._sender.drain(), self._tick()]
        if self._hooks.health is not None:
            works.append(self._tell_health(self._hooks.health))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def offer(self, stored: StoredTap) -> None:
        """A tap was committed: send it now if the link is up; else it is the backlog's. Never waits, never raises."""
        self._sender.offer(stored)

    def alarm(self, code: str, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell the fleet's operators, now or when the link is up again; raises WireError if it is no valid Alarm."""
        payload = Alarm(code, text, self._clock.read().unix, data or {}).encode()
        Alarm.decode(payload)
        self._sender.say(Message(self._topics.evt_alarm, payload, content_type=CONTENT_JSON))

    def rebirth(self) -> None:
        """Publish the state again, because something in it changed or somebody asked for it."""
        if self._up:
            self._sender.say(self._presence.online())

    def poke(self) -> None:
        """The network may be back: try now."""
        self._connection.poke()

    async def stop(self) -> None:
        """Send no more, say "stopped", disconnect. What is not acknowledged by then stays in the outbox."""
        last = self._presence.stopped() if self._up else None
        self._sender.pause()
        await self._connection.stop(last)

    def snapshot(self) -> UplinkSnapshot:
        """Look at the uplink."""
        counts = self._sender.counts
        failure = self._connection.last_failure
        return UplinkSnapshot(
            up=self._up,
            since=self._since,
            reason=failure.reason.value if failure else "",
            text=failure.text if failure else "",
            session=self._presence.session,
            in_flight=self._sender.in_flight,
            sent=counts["sent"],
            acked=counts["acked"],
            stored=self._rows_stored,
            refused=counts["refused"],
            parked=counts["parked"],
            requeued=self._rows_requeued,
            dropped=self._inbox.dropped,
            ticked=self._ticked,
        )

    # What the connection says.

    def on_up(self, up: LinkUp) -> None:
        """State first, before any tap."""
        self._up, self._since = True, self._clock.monotonic()
        self._requeue_at = self._since
        self._sender.open(up.receive_maximum, up.maximum_packet)
        self._sender.say_first(self._presence.online())

    def on_down(self, down: LinkDown) -> None:
        """Nothing in flight is confirmed: the rows are pending again, what was said is said again."""
        log.debug("uplink_rows_released", reason=down.reason.value, in_flight=self._sender.in_flight)
        self._up, self._since = False, self._clock.monotonic()
        self._sender.close()

    def on_ack(self, acked: Acked) -> None:
        """PUBACK of one message."""
        self._sender.acknowledged(acked)

    def on_message(self, received: Received) -> None:
        """A message from the cloud."""
        self._inbox.take(received)

    # What the cloud says.

    def _stored(self, ack: Ack) -> None:
        self._rows_stored += self._outbox.confirm_stored(ack.chain, ack.through, list(ack.missing))
        if self._hooks.observer is not None:
            self._hooks.observer.on_stored(ack.chain, ack.through, self._clock.monotonic())

    def _result(self, result: Result) -> None:
        if self._hooks.on_result is not None:
            self._hooks.on_result(result)

    def _command(self, command: Command) -> None:
        response = self._commands.handle(command)
        if response is not None:
            topic, payload = self._topics.res(command.name), response.encode()
            self._sender.say(Message(topic, payload, content_type=CONTENT_JSON, expiry_s=RESPONSE_EXPIRY_S))

    # What goes by the clock.

    async def _tick(self) -> None:
        """See to a link that swallows, rows that nobody confirms, and wake-ups that never came."""
        while True:
            await asyncio.sleep(min(TICK_S, self._settings.ack_timeout_s / 4))
            self._ticked = self._clock.monotonic()
            if not self._up:
                continue
            if self._sender.stalled():
                self._connection.give_up(DownReason.TIMEOUT, f"no PUBACK for {self._settings.ack_timeout_s:g} s")
            elif self._settings.confirm == "receiver" and self._clock.monotonic() >= self._requeue_at:
                self._requeue()
            self._sender.wake()

    def _requeue(self) -> None:
        self._requeue_at = self._clock.monotonic() + self._settings.confirm_timeout_s / 4
        rows = self._outbox.requeue_unconfirmed(self._settings.confirm_timeout_s)
        if rows:
            self._rows_requeued += rows
            log.info("unconfirmed_rows_again", rows=rows, older_than_s=self._settings.confirm_timeout_s)

    async def _tell_health(self, health: Callable[[], Awaitable[Health]]) -> None:
        """Telemetry at QoS 0: only the newest matters."""
        while True:
            await asyncio.sleep(self._settings.health_interval_s * self._rng.uniform(0.8, 1.2))
            if not self._up:
                continue
            try:
                payload = (await health()).encode()
                self._connection.publish(Message(self._topics.tele_health, payload, qos=0, content_type=CONTENT_JSON))
            except (WireError, UplinkError, OutboxError) as error:
                log.warning("health_not_sent", error=error.text)

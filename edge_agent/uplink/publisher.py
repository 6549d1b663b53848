"""The terminal's side of the uplink: presence, taps, telemetry and commands over one connection.

It ties the parts together and owns their life: ``sender`` delivers, ``inbox`` reads, ``presence`` says who is there,
``commands`` obeys. Nothing of it is on the path of a tap: a tap counts when the outbox has it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError, OutboxError, UplinkError
from edge_agent.models import StoredTap
from edge_agent.outbox.base import Outbox
from edge_agent.uplink.base import Acked, ConnectionHandler, DownReason, LinkDown, LinkUp, Message, Received
from edge_agent.uplink.checkpoints import Checkpoints
from edge_agent.uplink.commands import Action, Commands
from edge_agent.uplink.echo import Echo
from edge_agent.uplink.hooks import NO_HOOKS, ConnectionLike, Hooks, UplinkSnapshot
from edge_agent.uplink.identity import Advice, Identity
from edge_agent.uplink.inbox import Inbox
from edge_agent.uplink.presence import Presence
from edge_agent.uplink.resend import ResendArgs, told
from edge_agent.uplink.sender import PublisherSettings, Sender, UplinkObserver
from edge_agent.uplink.wire import (
    CONTENT_CWT,
    CONTENT_JSON,
    Ack,
    Alarm,
    Command,
    Health,
    Result,
    State,
    Topics,
    WireError,
)

__all__ = ["ConnectionLike", "Hooks", "Publisher", "PublisherSettings", "UplinkObserver", "UplinkSnapshot"]

log = structlog.get_logger(__name__)


RESPONSE_EXPIRY_S = 60
TICK_S = 1.0
# Against a broker that contradicts us without end: a connection corrects it so often, and rebirth does the rest.
STATES_AGAIN = 5


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
        hooks: Hooks = NO_HOOKS,
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
            on_said=self._said,
        )
        self._inbox = Inbox(
            topics, on_ack=self._stored, on_result=self._result, on_command=self._command, on_state=self._own_state
        )
        actions: dict[str, Action] = {"rebirth": self._rebirth_by_command, "resend": self._resend}
        self._commands = Commands(actions | dict(hooks.actions), clock=clock)
        self._identity = Identity()
        self._states_again = 0
        self._checkpoints = Checkpoints()
        self.echo = Echo()
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
        if self._up and self._checkpoints.due(stored.chain, stored.seq, self._clock.monotonic()):
            self._swear()

    def alarm(self, code: str, text: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell the fleet's operators, now or when the link is up again; raises WireError if it is no valid Alarm."""
        payload = Alarm(code, text, self._clock.read().unix, data or {}).encode()
        Alarm.decode(payload)
        self._sender.say(Message(self._topics.evt_alarm, payload, content_type=CONTENT_JSON))

    def unheard_alarms(self) -> list[Message]:
        """Alarms that the broker has not acknowledged; after ``run`` they are for the publisher that comes next."""
        return self._sender.unheard(self._topics.evt_alarm)

    def alarm_again(self, message: Message) -> None:
        """Say an alarm that the publisher before did not bring to the broker."""
        self._sender.say(message)

    def rebirth(self) -> None:
        """Publish the state again, because something in it changed or somebody asked for it."""
        if self._up:
            self._sender.say(self._presence.online())

    def ask_for_echo(self) -> bool:
        """Say our state again and measure what comes back, see ``echo``; False while the link is down."""
        if self._up:
            message = self._presence.online()
            self.echo.ask(message, self._clock.monotonic(), self._clock.read().unix)
            self._sender.say(message)
        return self._up

    @property
    def last_failure(self) -> LinkDown | None:
        """Why the last attempt or connection ended; None while connected. Another object after each attempt."""
        return self._connection.last_failure

    def poke(self) -> None:
        """The network may be back: try now."""
        self._connection.poke()

    async def stop(self) -> None:
        """Send no more, say "stopped", disconnect. What is not acknowledged by then stays in the outbox."""
        last = None
        if self._up:
            self._swear()
            last = self._presence.stopped()
        self._sender.pause()
        await self._connection.stop(last)

    def snapshot(self) -> UplinkSnapshot:
        """Look at the uplink."""
        counts = self._sender.counts
        failure = self._connection.last_failure
        identity = self._identity.finding
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
            identity=identity.text if identity else "",
            identity_code=identity.code if identity else "",
            code=failure.code if failure else 0,
            refusal=self._sender.refusal,
            heard=self.echo.heard,
        )

    # What the connection says.

    def on_up(self, up: LinkUp) -> None:
        """State first, before any tap."""
        self._up, self._since = True, self._clock.monotonic()
        self._requeue_at = self._since
        self._states_again = STATES_AGAIN
        self._identity.up(self._presence.session, self._since)
        self._checkpoints.connected()
        self._sender.open(up.receive_maximum, up.maximum_packet)
        self._sender.say_first(self._presence.online())
        self._swear_if_due()

    def on_down(self, down: LinkDown) -> None:
        """Nothing in flight is confirmed: the rows are pending again, what was said is said again."""
        self.echo.cut()
        log.debug("uplink_rows_released", reason=down.reason.value, in_flight=self._sender.in_flight)
        self._up, self._since = False, self._clock.monotonic()
        self._sender.close()
        self._follow(self._identity.down(down.reason, self._since))

    def on_ack(self, acked: Acked) -> None:
        """PUBACK of one message."""
        self.echo.puback(self._clock.monotonic())
        self._sender.acknowledged(acked)

    def on_message(self, received: Received) -> None:
        """A message from the cloud."""
        self._inbox.take(received)

    def _said(self, message: Message) -> None:
        """PUBACK of a control message."""
        if message.topic != self._topics.state:
            return
        self.echo.said(message, self._clock.monotonic())
        self._identity.said()
        if self._hooks.on_online is not None:
            self._hooks.on_online()

    # What the cloud says.

    def _stored(self, ack: Ack) -> None:
        self._rows_stored += self._outbox.confirm_stored(ack.chain, ack.through, list(ack.missing))
        self.echo.stored(ack.at, self._clock.monotonic(), self._clock.read().unix)
        if self._hooks.observer is not None:
            self._hooks.observer.on_stored(ack.chain, ack.through, self._clock.monotonic())

    def _own_state(self, state: State, retained: bool) -> None:  # noqa: FBT001 - it is called by Inbox only
        """Our own echo, what a broker keeps of the past, or somebody else with our identity."""
        ours, current = self._presence.is_ours(state.session), self._presence.session
        advice = self._identity.heard(state.state, state.session, ours=ours, current=current, retained=retained)
        if advice.again and self._up and self._states_again:
            self._states_again -= 1
            log.info("state_said_again", instead_of=state.state.value, session=state.session)
            self.rebirth()
        self._follow(advice)

    def _follow(self, advice: Advice) -> None:
        if advice.slow:
            self._connection.slow_down()
        if advice.finding is not None:
            code, text = advice.finding.code, advice.finding.text
            log.warning(code, text=text, remedy="give each terminal its own terminal.id and key")
            if advice.slow:  # a mere hint is for the log and the status
                self.alarm(code, text)

    def _result(self, result: Result) -> None:
        if self._hooks.on_result is not None:
            self._hooks.on_result(result)

    def _command(self, command: Command) -> None:
        response = self._commands.handle(command)
        if response is not None:
            topic, payload = self._topics.res(command.name), response.encode()
            self._sender.say(Message(topic, payload, content_type=CONTENT_JSON, expiry_s=RESPONSE_EXPIRY_S))

    def _rebirth_by_command(self, _command: Command) -> None:
        self.rebirth()

    def _resend(self, command: Command) -> str:
        args = ResendArgs.decode(command.args)
        resent = self._outbox.resend(args.chain, args.first, args.last)
        self._sender.wake()
        return told(resent)

    # The end of the chain, sworn to.

    def _swear_if_due(self) -> None:
        head = self._outbox.head()
        if self._checkpoints.due(head.chain, head.seq, self._clock.monotonic()):
            self._swear()

    def _swear(self) -> None:
        """Send a checkpoint, if it is news to this connection."""
        if self._hooks.checkpoint is None:
            return
        head = self._outbox.head()
        if not self._checkpoints.is_news(head.chain, head.seq):
            return
        self._checkpoints.told(head.chain, head.seq, self._clock.monotonic())
        try:
            record = self._hooks.checkpoint(head)
        except EdgeAgentError as error:
            log.warning("checkpoint_not_made", error=error.text)  # the next one is due in its time
            return
        self._sender.say_newest(Message(self._topics.evt_chk, record, content_type=CONTENT_CWT))

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
            self._swear_if_due()
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

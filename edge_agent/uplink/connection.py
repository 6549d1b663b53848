"""Keeps one connection to the broker: carries out what ``session`` decides, on a link of its own for each attempt.

It logs the first failure with its remedy as a warning, repeats as debug with a count, and the return as info. What to
publish, and what to do with the rows that were in flight, is the handler's business.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.uplink.base import (
    Acked,
    ConnectionHandler,
    DownReason,
    Link,
    LinkDown,
    LinkEvent,
    LinkFactory,
    LinkSettings,
    Message,
    Received,
)
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.session import (
    CancelTimer,
    CloseLink,
    Connect,
    Effect,
    GiveUpLink,
    Poke,
    Retry,
    Session,
    SessionEvent,
    SessionState,
    SetTimer,
    SlowDown,
    Start,
    Stop,
    Stopped,
    Subscribe,
    TellDown,
    TellUnheard,
    TellUp,
    TimerFired,
)

log = structlog.get_logger(__name__)

LAST_WORD_S = 0.5
"""How long stop() waits for the PUBACK of the last message."""

REMEDIES = {
    DownReason.DNS: "check uplink.host and the name servers of this machine",
    DownReason.REFUSED: "check uplink.port and that the broker is running",
    DownReason.TIMEOUT: "check the network and firewalls between this machine and the broker",
    DownReason.TLS: "check uplink.ca, uplink.host against the broker's certificate, and this machine's clock",
    DownReason.AUTH: "check uplink.username, password_file or cert, and the broker's access rules for this terminal",
    DownReason.TAKEN_OVER: "another terminal uses the same terminal.id: give each its own id and key",
    DownReason.BUSY: "the broker has too much to do: see its load and quotas; the agent comes back later",
    DownReason.MOVED: "set uplink.host to the server that the broker names",
    DownReason.LIMIT: "compare uplink.window with the limits that the broker sets for its clients",
    DownReason.BROKER: "see the broker's log",
    DownReason.NETWORK: "check the network; the agent keeps trying and keeps all taps",
    DownReason.STOPPED: "",
}


class Connection:
    """One connection that is made again until ``stop``; all methods are called on the event loop.

    ``settings_for_attempt`` is called before each attempt (fresh password, fresh will) and may raise UplinkError or
    OSError, which counts as a failed attempt. The broker may refuse those of the subscriptions that are ``optional``.
    Messages of a resumed broker session may reach ``on_message`` before ``on_up``. An error that the handler raises
    ends ``run`` with that error.
    """

    def __init__(
        self,
        settings_for_attempt: Callable[[], LinkSettings],
        *,
        subscriptions: Sequence[str],
        optional: Collection[str] = (),
        handler: ConnectionHandler,
        clock: Clock,
        backoff: Backoff,
        link_factory: LinkFactory = PahoLink,
    ) -> None:
        self._settings_for_attempt = settings_for_attempt
        self._handler = handler
        self._clock = clock
        self._link_factory = link_factory
        self._session = Session(filters=subscriptions, backoff=backoff, optional=optional)
        self._events: list[SessionEvent] = []
        self._working = False
        self._link: Link | None = None
        self._attempt = 0
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._manual_ack = False
        self._unacknowledged: dict[int, Received] = {}
        self._last_word: tuple[int, asyncio.Event] | None = None
        self._leave_will = False
        self._ended = asyncio.Event()
        self._error: Exception | None = None
        self._failing = False
        self.last_failure: LinkDown | None = None
        """Why the last attempt or connection ended; None while connected."""

    @property
    def is_up(self) -> bool:
        """Connected and subscribed."""
        return self._session.state is SessionState.UP

    @property
    def state(self) -> SessionState:
        """Where the connection is in its life, for the status."""
        return self._session.state

    async def run(self) -> None:
        """Connect and stay connected until ``stop`` or cancellation."""
        self._feed(Start())
        try:
            await self._ended.wait()
        finally:
            if not self._ended.is_set() or self._error is not None:
                self._leave_will = True  # cancelled or broken: this is no clean end
                self._feed(Stop())
            if self._closing is not None:
                await self._closing
        if self._error is not None:
            raise self._error

    def publish(self, message: Message) -> int:
        """Send now and return the mid, for QoS 1 on_ack follows; raises UplinkError when not up."""
        if not self.is_up or self._link is None:
            raise UplinkError("the uplink is down")
        return self._link.publish(message)

    def ack(self, received: Received) -> None:
        """Acknowledge a message (manual_ack only); nothing if the connection that brought it has ended."""
        # The broker counts mids from 1 in each connection: a late ack would hit another message.
        if self._link is not None and self._unacknowledged.get(received.mid) is received:
            del self._unacknowledged[received.mid]
            self._link.ack(received)

    def poke(self) -> None:
        """The network may be back: try now instead of at the end of the back-off."""
        self._feed(Poke())

    def give_up(self, reason: DownReason, text: str) -> None:
        """The link looks alive but is of no use: close it and connect again after the back-off."""
        self._feed(GiveUpLink(reason, text))

    def slow_down(self) -> None:
        """Somebody else seems to use our client id: wait longer after each end, until a connection lasts."""
        self._feed(SlowDown())

    async def stop(self, last: Message | None = None) -> None:
        """Say ``last``, wait at most 0.5 s for its PUBACK, disconnect; without the PUBACK the will speaks."""
        if last is not None and self.is_up:
            self._leave_will = not await self._say(last)
        self._feed(Stop())
        await self._ended.wait()

    async def _say(self, last: Message) -> bool:
        acknowledged = asyncio.Event()
        try:
            self._last_word = (self.publish(last), acknowledged)
            async with asyncio.timeout(LAST_WORD_S):
                await acknowledged.wait()
        except (UplinkError, TimeoutError) as error:
            log.warning("uplink_last_word_unheard", error=str(error) or "no PUBACK in time")
        return acknowledged.is_set()

    # Events in, effects out.

    def _on_link_event(self, attempt: int, event: LinkEvent) -> None:
        if attempt != self._attempt or self._link is None:
            return  # from a link that is history
        match event:
            case Acked():
                if self._last_word is not None and event.mid == self._last_word[0]:
                    self._last_word[1].set()
                elif self.is_up:
                    self._guarded(lambda: self._handler.on_ack(event))
            case Received():
                if event.qos and self._manual_ack:
                    self._unacknowledged[event.mid] = event
                self._guarded(lambda: self._handler.on_message(event))
            case LinkDown():
                self._link = None
                self._unacknowledged.clear()
                self._feed(event)
            case _:
                self._feed(event)

    def _feed(self, event: SessionEvent) -> None:
        """Run the event through the machine; events that handlers cause meanwhile wait for their turn."""
        self._events.append(event)
        if self._working:
            return
        self._working = True
        try:
            while self._events:
                for effect in self._session.step(self._events.pop(0), self._clock.monotonic()):
                    self._carry_out(effect)
        finally:
            self._working = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Connect():
                self._connect()
            case Subscribe(filters=filters) if self._link is not None:
                self._link.subscribe(filters)
            case SetTimer(delay=delay):
                self._set_timer(delay)
            case CancelTimer():
                self._cancel_timer()
            case TellUp(up=up):
                log.info("uplink_up", session_present=up.session_present, receive_maximum=up.receive_maximum)
                self._failing = False
                self.last_failure = None
                self._guarded(lambda: self._handler.on_up(up))
            case TellDown(down=down):
                self._guarded(lambda: self._handler.on_down(down))
            case CloseLink(clean=clean) if self._link is not None:
                closing = self._link.close(send_will=not clean or self._leave_will)
                self._closing = asyncio.get_running_loop().create_task(closing)
            case Retry() | TellUnheard():
                self._take_note(effect)
            case Stopped():
                self._ended.set()

    def _connect(self) -> None:
        self._attempt += 1
        try:
            settings = self._settings_for_attempt()
        except (UplinkError, OSError) as error:
            self._events.append(LinkDown(DownReason.AUTH, f"cannot read the settings of the uplink: {error}"))
            return
        except Exception as error:  # noqa: BLE001 - as in _guarded; a timer's callback would swallow it
            self._break(error)
            self._events.append(LinkDown(DownReason.STOPPED, "the attempt failed"))
            return
        self._manual_ack = settings.manual_ack
        self._set_timer(settings.connect_timeout_s)
        self._link = self._link_factory(settings, partial(self._on_link_event, self._attempt))
        try:
            self._link.start()
        except UplinkError as error:
            self._link = None
            self._events.append(LinkDown(DownReason.NETWORK, error.text))

    def _set_timer(self, delay: float) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(delay, self._feed, TimerFired())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _guarded(self, call: Callable[[], None]) -> None:
        if self._error is not None:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - nothing is hidden: run() raises it for the supervisor
            self._break(error)

    def _break(self, error: Exception) -> None:
        self._error = error
        self._ended.set()

    def _take_note(self, effect: Retry | TellUnheard) -> None:
        if isinstance(effect, Retry):
            self.last_failure = effect.down
            self._log_failure(effect)
        else:
            remedy = "let the broker's access rules allow this terminal to read all topics below its own"
            log.warning("uplink_filter_refused", filter=effect.topic_filter, code=effect.code, remedy=remedy)

    def _log_failure(self, retry: Retry) -> None:
        what = {"reason": retry.down.reason.value, "text": retry.down.text, "retry_in_s": round(retry.delay, 1)}
        if self._failing:
            log.debug("uplink_still_down", failures=retry.failures, **what)
        else:
            log.warning("uplink_down", remedy=REMEDIES[retry.down.reason], **what)
        self._failing = True

"""One MQTT connection over paho-mqtt; the only module that imports paho.

Each link has its own client and its own thread, named ``mqtt-<client id>``, and is used once. paho serves as a codec
with a socket: it never reconnects, never resends, and its queue is never trusted. The thread runs paho's external-loop
API on a selector of its own, so that nothing is ever written on the event loop, and hands events over in batches.
It listens to the silence itself: paho alone notices a dead link only after two keep-alives.
"""

import asyncio
import selectors
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import UplinkError
from edge_agent.sanitize import printable
from edge_agent.uplink.base import (
    PACKET_MAXIMUM_DEFAULT,
    Acked,
    DownReason,
    LinkDown,
    LinkEvent,
    LinkSettings,
    LinkUp,
    Message,
    Received,
    Subscribed,
)
from edge_agent.uplink.crossing import Crossing
from edge_agent.uplink.polling import HasFileno, Wakeup, acknowledge_at_once, send_at_once, wait_readable
from edge_agent.uplink.reasons import reason_of, words_of
from edge_agent.uplink.silence import Look, Silence
from edge_agent.uplink.tls import TlsSocket, client_context, explain, explain_alert

log = structlog.get_logger(__name__)

MAX_INFLIGHT = 100
MAX_QUEUED = 2 * MAX_INFLIGHT
# Events on their way to the event loop; beyond that the socket is not read, and TCP slows the broker down.
MAX_UNDELIVERED = 1000
# Contract, section 4: "< 128 KiB".
MAX_INCOMING_BYTES = 128 * 1024
CLOSE_S = 1.0
# How much of CLOSE_S the thread may use to send what is queued, DISCONNECT last.
FLUSH_S = 0.7
# MQTT 5, section 3.2.2.3.3: "If the Receive Maximum value is absent, then its value defaults to 65,535."
RECEIVE_MAXIMUM_DEFAULT = 65_535
DISCONNECT_WITH_WILL = 4
KEEP_ALIVE_TIMEOUT = 141
LONGEST_SLEEP_S = 15.0
# How paho's log begins to say what is wrong with a packet; its callbacks do not tell.
MALFORMED = "Received malformed packet: "
# What paho raises while it takes bytes apart that are no MQTT.
_GARBAGE = (ValueError, LookupError, struct.error, MQTTException)

_Said = Properties | None


class PahoLink:
    """A Link (see the port in ``base``). Build it on the event loop on which its events shall arrive."""

    def __init__(self, settings: LinkSettings, on_event: Callable[[LinkEvent], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._properties: dict[tuple[int, str | None, int | None], Properties] = {}
        self._client = self._build_client()
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{settings.client_id}", daemon=True)
        self._wakeup = Wakeup()
        # Of the event loop only:
        self._up = False
        self._window = MAX_QUEUED
        self._awaiting: set[int] = set()
        self._subscribing: dict[int, tuple[str, ...]] = {}
        self._ended = asyncio.Event()
        self._crossing: Crossing[LinkEvent | _Suback] = Crossing(
            self._deliver, most=MAX_UNDELIVERED, room_again=self._wakeup.wake
        )
        # Of the thread only:
        self._silence: Silence | None = None
        self._look_due = False
        self._malformed = ""
        self._cause: LinkDown | None = None
        self._connected = False
        # Of both, under the lock:
        self._lock = threading.Lock()
        self._closing = False

    # The port: called on the event loop.

    def start(self) -> None:
        """Begin to connect; raises UplinkError if this machine has no descriptor or no thread left for it."""
        try:
            self._wakeup.open()
            self._thread.start()
        except (OSError, RuntimeError) as error:
            self._wakeup.close()
            raise UplinkError(f"cannot begin to connect: {error}") from error

    def publish(self, message: Message) -> int:
        """Queue one PUBLISH and return its mid; raises UplinkError if the link is not up or its window is full."""
        if not self._up:
            raise UplinkError("the link to the broker is not up")
        if message.qos and len(self._awaiting) >= self._window:
            raise UplinkError(f"{self._window} messages wait for their PUBACK already")
        properties = self._message_properties(message, PacketTypes.PUBLISH)
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise UplinkError("the link to the broker has just ended")
        if message.qos:
            self._awaiting.add(info.mid)
        self._wakeup.wake()
        return info.mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for these topic filters at QoS 1; if the link has just ended, its LinkDown is the answer."""
        result, mid = self._client.subscribe([(topic_filter, 1) for topic_filter in filters])
        if result == MQTTErrorCode.MQTT_ERR_SUCCESS and mid is not None:
            self._subscribing[mid] = tuple(filters)
            self._wakeup.wake()

    def ack(self, received: Received) -> None:
        """Send PUBACK for a received message (manual_ack only); nothing if the link has ended meanwhile."""
        if self._up and received.qos:
            self._client.ack(received.mid, received.qos)
            self._wakeup.wake()

    async def close(self, *, send_will: bool = False) -> None:
        """DISCONNECT and end the thread within a second; with ``send_will`` the broker publishes the will."""
        if self._thread.ident is None or self._ended.is_set():
            return
        self._up = False
        with self._lock:
            if not self._closing:
                self._disconnect(send_will=send_will)
            self._closing = True
        self._wakeup.wake()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._ended.wait()
        except TimeoutError:
            # The thread is in name resolution or connect(2), which nothing can interrupt; it ends right after.
            self._finish(LinkDown(DownReason.STOPPED, "stopped while connecting"))

    def _disconnect(self, *, send_will: bool) -> None:
        if not send_will:
            self._client.disconnect()
        elif self._is_mqtt5:
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL))
        # In MQTT 3.1.1 only a socket that is closed without DISCONNECT lets the broker publish the will.

    # What the thread says: called on the event loop.

    def _deliver(self, event: "LinkEvent | _Suback") -> None:
        if self._ended.is_set():
            return
        if isinstance(event, _Suback):
            event = Subscribed(self._subscribing.pop(event.mid, ()), event.codes)
        elif isinstance(event, LinkUp):
            self._up = not self._closing
            self._window = min(MAX_QUEUED, event.receive_maximum)
        elif isinstance(event, Acked):
            if event.mid not in self._awaiting:
                return  # paho reports messages of QoS 0 as well
            self._awaiting.discard(event.mid)
        self._on_event(event)

    def _finish(self, down: LinkDown) -> None:
        if not self._ended.is_set():
            self._up = False
            self._ended.set()
            self._on_event(down)

    # The thread.

    def _run(self) -> None:
        down = LinkDown(DownReason.BROKER, "the MQTT client failed")
        try:
            down = self._connect() or self._serve()
        except _GARBAGE as error:
            down = LinkDown(DownReason.BROKER, f"the broker does not speak proper MQTT: {printable(str(error))}")
        finally:
            sock = self._client.socket()
            if sock is not None:
                sock.close()
            self._wakeup.close()
            self._crossing.flush()
            if self._is_closing():
                down = LinkDown(DownReason.STOPPED, "stopped")
            self._crossing.call(self._finish, down)

    def _connect(self) -> LinkDown | None:
        settings = self._settings
        options: dict[str, Any] = {}
        if self._is_mqtt5:
            options = {"clean_start": settings.session_expiry_s == 0, "properties": self._connect_properties()}
        try:
            if settings.tls is not None:
                self._client.tls_set_context(client_context(settings.tls))
        except OSError as error:
            return LinkDown(DownReason.TLS, str(error))
        try:
            self._client.connect(settings.host, settings.port, settings.keepalive_s, **options)
        except (OSError, ValueError) as error:
            return explain(error, settings)
        return None

    def _serve(self) -> LinkDown:
        client, sock = self._client, self._client.socket()
        if sock is None:
            return LinkDown(DownReason.NETWORK, "the connection ended at once")
        deadline: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ)
            while client.socket() is sock:
                if self._is_closing():
                    deadline = deadline or time.monotonic() + FLUSH_S
                    if not self._connected or not client.want_write() or time.monotonic() >= deadline:
                        break
                readable = self._wait(selector, sock, closing=deadline is not None)
                self._wakeup.clear()
                if readable:
                    self._heard()
                    if client.loop_read() == MQTTErrorCode.MQTT_ERR_PROTOCOL and self._cause is None:
                        self._cause = LinkDown(DownReason.BROKER, f"the broker breaks the protocol{self._malformed}")
                    self._crossing.flush()  # a PUBACK first, housekeeping later: the loop may go on meanwhile
                    acknowledge_at_once(client.socket())
                if client.want_write():
                    client.loop_write()
                if not self._crossing.is_full:  # as long as we do not read, paho would take it for silence
                    client.loop_misc()
                self._crossing.flush()
                if self._look_due and self._is_dead():
                    break
        return self._cause_of_end(sock)

    def _wait(self, selector: selectors.BaseSelector, sock: HasFileno, *, closing: bool) -> bool:
        """Sleep until there is something to do; whether the socket is to be read."""
        paused = self._crossing.is_full
        if paused:
            self._heard()  # nobody listens: this silence is ours
        timeout = 0.05 if closing else self._may_sleep()
        writing = self._client.want_write()
        return wait_readable(selector, sock, reading=not paused, writing=writing, timeout=timeout)

    def _may_sleep(self) -> float:
        """Seconds until somebody has to look at the clock: we at the silence, paho at its own keep-alive."""
        due = self._silence.next_look(self._client.keepalive, time.monotonic()) if self._silence is not None else None
        self._look_due = due == 0
        return LONGEST_SLEEP_S if due is None else min(due, LONGEST_SLEEP_S)

    def _heard(self) -> None:
        if self._silence is not None:
            self._silence.heard(time.monotonic())

    def _is_dead(self) -> bool:
        """Ask a silent broker for a sign of life; whether it gave none for too long."""
        if self._silence is None:
            return False
        now, keepalive_s = time.monotonic(), self._client.keepalive  # the broker may have set another one in CONNACK
        match self._silence.look(keepalive_s, now):
            case Look.ASK:
                # paho has no public PINGREQ, and sends its own too late. This goes through its queue: what is written
                # past it could land in the middle of a packet. Without it (see _on_connect) paho's own must do.
                self._client._send_simple_command(PacketTypes.PINGREQ << 4)  # noqa: SLF001 - see above
            case Look.DEAD:
                text = f"{self._where} is silent for {self._silence.lasts(now):.0f} s, and to PINGREQ, too"
                self._cause = LinkDown(DownReason.TIMEOUT, text)
                return True
        return False

    def _cause_of_end(self, sock: HasFileno) -> LinkDown:
        if self._cause is not None:
            return self._cause
        if isinstance(sock, TlsSocket) and sock.alert is not None:
            return explain_alert(sock.alert, self._settings)
        if not self._connected:
            return LinkDown(DownReason.NETWORK, f"{self._where} closed the connection before CONNACK")
        return LinkDown(DownReason.NETWORK, f"the connection to {self._where} was lost")

    @property
    def _where(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _is_closing(self) -> bool:
        with self._lock:
            return self._closing or self._crossing.leads_nowhere

    # Callbacks of paho: on the thread, quick, without any lock of ours.

    def _on_log(self, _c: Client, _u: object, _level: int, text: str) -> None:
        _, malformed, why = text.partition(MALFORMED)
        if malformed:
            self._malformed = f": {printable(why, 120)}"

    def _on_connect(self, _c: Client, _u: object, flags: ConnectFlags, reason: ReasonCode, said: _Said) -> None:
        if reason.is_failure:
            text = f"the broker refuses us: {_words(reason, said)}"
            self._cause = LinkDown(reason_of(reason.value), text, reason.value)
            return
        self._client.on_log = None  # from now on it would cost more than it tells
        self._connected = True
        if hasattr(self._client, "_send_simple_command"):
            self._silence = Silence(time.monotonic())
        else:
            log.warning("silence_not_watched", remedy="this paho-mqtt is too new: install one that uv.lock names")
        receive_maximum = getattr(said, "ReceiveMaximum", RECEIVE_MAXIMUM_DEFAULT)
        maximum_packet = getattr(said, "MaximumPacketSize", PACKET_MAXIMUM_DEFAULT)
        self._crossing.add(LinkUp(flags.session_present, receive_maximum, maximum_packet))

    def _on_disconnect(self, _c: Client, _u: object, flags: DisconnectFlags, reason: ReasonCode, said: _Said) -> None:
        if flags.is_disconnect_packet_from_server:
            text = f"the broker ended the connection: {_words(reason, said)}"
            self._cause = LinkDown(reason_of(reason.value), text, reason.value)
        elif reason.value == KEEP_ALIVE_TIMEOUT and self._cause is None:
            self._cause = LinkDown(DownReason.NETWORK, "the broker did not answer PINGREQ in time")

    def _on_publish(self, _c: Client, _u: object, mid: int, reason: ReasonCode, _said: _Said) -> None:
        self._crossing.add(Acked(mid, reason.value))

    def _on_subscribe(self, _c: Client, _u: object, mid: int, reasons: list[ReasonCode], _said: _Said) -> None:
        self._crossing.add(_Suback(mid, tuple(reason.value for reason in reasons)))

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no topic of ours; the owner drops and acknowledges it as any other stray
        payload = bytes(message.payload)
        self._crossing.add(Received(topic, payload, message.qos, message.retain, message.mid))

    # Building the client.

    @property
    def _is_mqtt5(self) -> bool:
        return self._settings.protocol == MQTTProtocolVersion.MQTTv5

    def _build_client(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=None if self._is_mqtt5 else settings.session_expiry_s == 0,
            protocol=MQTTProtocolVersion(settings.protocol),
            reconnect_on_failure=False,
            manual_ack=settings.manual_ack,
        )
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages = MAX_INFLIGHT
        client.max_queued_messages = MAX_QUEUED
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if settings.will is not None:
            will = settings.will
            properties = self._message_properties(will, PacketTypes.WILLMESSAGE)
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        client.on_log = self._on_log
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_socket_open = _opened
        # With this callback set paho leaves all writing to the thread; waking it up is the business of Wakeup.
        client.on_socket_register_write = _nothing
        return client

    def _connect_properties(self) -> Properties:
        properties = _properties(PacketTypes.CONNECT)
        properties.MaximumPacketSize = MAX_INCOMING_BYTES
        properties.ReceiveMaximum = MAX_UNDELIVERED
        if self._settings.session_expiry_s:
            properties.SessionExpiryInterval = self._settings.session_expiry_s
        return properties

    def _message_properties(self, message: Message, packet_type: int) -> Properties | None:
        if not self._is_mqtt5 or (message.content_type is None and message.expiry_s is None):
            return None
        kind = (packet_type, message.content_type, message.expiry_s)
        if kind not in self._properties:  # to build them takes paho longer than the rest of publish()
            self._properties[kind] = properties = _properties(packet_type)
            if message.content_type is not None:
                properties.ContentType = message.content_type
            if message.expiry_s is not None:
                properties.MessageExpiryInterval = message.expiry_s
        return self._properties[kind]


@dataclass(frozen=True, slots=True)
class _Suback:
    """SUBACK as the thread sees it; only the event loop knows the filters of its mid."""

    mid: int
    codes: tuple[int, ...]


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call] # paho ships types, but not for this one


def _words(reason: ReasonCode, said: _Said) -> str:
    why, elsewhere = (printable(getattr(said, name, "")) for name in ("ReasonString", "ServerReference"))
    return words_of(str(reason), reason.value, why=why, elsewhere=elsewhere)


def _opened(_client: Client, _userdata: object, sock: HasFileno) -> None:
    send_at_once(sock)


def _nothing(_client: Client, _userdata: object, _sock: HasFileno) -> None:
    """See where it is set."""

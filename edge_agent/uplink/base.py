"""The port of an MQTT connection: one attempt, its messages, its end. When to try again is decided in ``session``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS with verification of chain and host name; there is no switch to turn verification off."""

    ca: Path | None = None
    """PEM bundle that replaces the system's trust store."""
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One PUBLISH. ``content_type`` and ``expiry_s`` are MQTT 5 properties and are left out on 3.1.1."""

    topic: str
    payload: bytes = field(repr=False)
    qos: int = 1
    retain: bool = False
    content_type: str | None = None
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """All that one connection attempt needs. ``password`` has no text form."""

    host: str
    port: int
    client_id: str
    tls: TlsSettings | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    protocol: int = 5
    """5 for MQTT 5, 4 for MQTT 3.1.1 (the protocol level on the wire)."""
    keepalive_s: int = 60
    connect_timeout_s: float = 10.0
    session_expiry_s: int = 0
    """0: the broker forgets us with the connection."""
    manual_ack: bool = False
    """True: a received QoS 1 message is acknowledged only by Link.ack (the receiver stores first)."""
    will: Message | None = None


# MQTT 5, section 2.1.4: the largest Remaining Length, four bytes of seven bits.
PACKET_MAXIMUM_DEFAULT = 268_435_455


class DownReason(StrEnum):
    """Why a connection ended or never came up; decides the log text and the remedy, never the retry."""

    DNS = "dns"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    AUTH = "auth"
    TAKEN_OVER = "taken_over"
    BUSY = "busy"
    MOVED = "moved"
    LIMIT = "limit"
    BROKER = "broker"
    NETWORK = "network"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkUp:
    """CONNACK with success."""

    session_present: bool
    receive_maximum: int
    maximum_packet: int = PACKET_MAXIMUM_DEFAULT
    """Bytes of the largest packet that the broker takes; a larger one ends the connection (3.2.2.3.6)."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The end of this link; exactly one is emitted for each started link."""

    reason: DownReason
    text: str
    code: int = field(default=0, compare=False)
    """Reason code of the broker's CONNACK, SUBACK or DISCONNECT, where one of them ended it."""


@dataclass(frozen=True, slots=True)
class Acked:
    """PUBACK for ``mid``; ``code`` is the MQTT 5 reason code (0 and 16 are success, >= 128 a refusal)."""

    mid: int
    code: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK; ``codes`` in the order of the filters (>= 128 is a refusal)."""

    filters: tuple[str, ...]
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """A PUBLISH from the broker; ``mid`` is what Link.ack wants when manual_ack is on."""

    topic: str
    payload: bytes = field(repr=False)
    qos: int = 0
    retain: bool = False
    mid: int = 0


LinkEvent = LinkUp | LinkDown | Acked | Subscribed | Received


class Link(Protocol):
    """One connection, used once. All methods are called on the event loop; none waits for the network."""

    def start(self) -> None:
        """Begin to connect; the outcome is a LinkUp or LinkDown event. UplinkError: it could not even begin."""

    def publish(self, message: Message) -> int:
        """Queue one PUBLISH, return its mid (for QoS 1, Acked follows). Raises UplinkError when the link is not up."""

    def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for these topic filters at QoS 1; a Subscribed event follows."""

    def ack(self, received: Received) -> None:
        """Acknowledge a received QoS 1 message (manual_ack only)."""

    async def close(self, *, send_will: bool = False) -> None:
        """DISCONNECT and end the thread; idempotent, bounded to a second. LinkDown(STOPPED) is the last event."""


LinkFactory = Callable[[LinkSettings, Callable[[LinkEvent], None]], Link]
"""Builds a link that hands its events to the callback on the running event loop."""


class ConnectionHandler(Protocol):
    """What the owner of a Connection (publisher, receiver) does with its events. Called on the event loop."""

    def on_up(self, up: LinkUp) -> None:
        """Connected and subscribed: send state first."""

    def on_down(self, down: LinkDown) -> None:
        """All that was in flight is unconfirmed."""

    def on_ack(self, acked: Acked) -> None:
        """PUBACK."""

    def on_message(self, received: Received) -> None:
        """A message on a subscribed topic."""

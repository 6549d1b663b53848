"""A few MQTT 5 packets over a plain socket, for loads and counts in which a client library would be the bottleneck.

No keep-alive, no flow control beyond TCP, no errors forgiven: anything unexpected raises. For measurements only.
"""

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
_CONNECT, _SUBSCRIBE, _PINGREQ, _DISCONNECT = b"\x10", b"\x82", b"\xc0\x00", b"\xe0\x00"
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Publish:
    """One PUBLISH as it came."""

    topic: str
    payload: bytes = field(repr=False)


def _length(value: int) -> bytes:
    """Variable Byte Integer (MQTT 5, section 1.5.5)."""
    out = bytearray()
    while True:
        value, digit = divmod(value, 128)
        out.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def connect_packet(client_id: str, *, clean: bool = True, session_expiry_s: int = 0) -> bytes:
    """CONNECT with a keep-alive of zero: none."""
    properties = b"\x11" + struct.pack(">I", session_expiry_s) if session_expiry_s else b""
    flags = 0x02 if clean else 0x00
    body = _text("MQTT") + bytes((5, flags, 0, 0)) + _length(len(properties)) + properties + _text(client_id)
    return _CONNECT + _length(len(body)) + body


def publish_packet(topic: str, payload: bytes, mid: int) -> bytes:
    """PUBLISH with QoS 1, no properties."""
    body = _text(topic) + struct.pack(">H", mid) + b"\x00" + payload
    return b"\x32" + _length(len(body)) + body


class RawMqtt:
    """One connection to a broker on 127.0.0.1."""

    def __init__(self, port: int, client_id: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = bytearray()
        self._socket.sendall(connect_packet(client_id))
        kind, body = self._next()
        if kind != CONNACK or body[1] != 0:
            raise ConnectionError(f"the broker answered CONNECT with {kind:#x} {body.hex()}")

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 0 and wait for the SUBACK."""
        self._socket.settimeout(_TIMEOUT_S)
        body = b"\x00\x01\x00" + _text(topic_filter) + b"\x00"
        self._socket.sendall(_SUBSCRIBE + _length(len(body)) + body)
        kind, _ = self._next()
        while kind == PUBLISH:  # of an earlier subscription
            kind, _ = self._next()
        if kind != SUBACK:
            raise ConnectionError(f"the broker answered SUBSCRIBE with {kind:#x}")

    def publish_all(self, messages: Iterable[tuple[str, bytes]], *, at_once: int = 500) -> int:
        """Publish at QoS 1, ``at_once`` before waiting for their PUBACKs; returns how many were acknowledged."""
        self._socket.settimeout(_TIMEOUT_S)
        acked = 0
        waiting: list[bytes] = []
        for number, (topic, payload) in enumerate(messages):
            waiting.append(publish_packet(topic, payload, number % 60_000 + 1))
            if len(waiting) == at_once:
                acked += self._send(waiting)
        return acked + self._send(waiting)

    def _send(self, packets: list[bytes]) -> int:
        self._socket.sendall(b"".join(packets))
        acked = 0
        while acked < len(packets):
            kind, body = self._next()
            if kind == PUBACK:
                if len(body) > 2 and body[2] >= 0x80:
                    raise ConnectionError(f"the broker refused a PUBLISH with code {body[2]:#x}")
                acked += 1
        packets.clear()
        return acked

    def received(self, timeout_s: float) -> Iterator[Publish]:
        """Yield what comes on the subscriptions until nothing came for ``timeout_s`` seconds or the broker hung up."""
        self._socket.settimeout(timeout_s)
        while True:
            try:
                kind, body = self._next()
            except OSError:  # time-out, the broker's end, or ours
                return
            if kind == PUBLISH:
                end = 2 + struct.unpack_from(">H", body)[0]
                yield Publish(body[2:end].decode(), body[end + 1 + body[end] :])

    def payload_sizes(self, timeout_s: float) -> Iterator[int]:
        """Yield the payload bytes of all PUBLISHes of each read, without a look into them, until ``timeout_s``."""
        self._socket.settimeout(timeout_s)
        while data := self._socket.recv(262_144):
            self._held += data
            held, at, total = self._held, 0, 0
            while (found := _body(held, at)) is not None:
                start, at_next = found
                if held[at] & 0xF0 == PUBLISH:
                    properties = start + 2 + (held[start] << 8) + held[start + 1]
                    total += at_next - (properties + 1 + held[properties])
                at = at_next
            del held[:at]
            yield total

    def close(self) -> None:
        """DISCONNECT and close; ends a ``received`` on another thread. Idempotent."""
        with contextlib.suppress(OSError):  # the broker may be gone already
            self._socket.sendall(_DISCONNECT)
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _next(self) -> tuple[int, bytes]:
        """The next packet: its type and its body."""
        while True:
            packet = self._cut()
            if packet is not None:
                return packet
            data = self._socket.recv(262_144)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._held += data

    def _cut(self) -> tuple[int, bytes] | None:
        found = _body(self._held, 0)
        if found is None:
            return None
        kind, body = self._held[0] & 0xF0, bytes(self._held[found[0] : found[1]])
        del self._held[: found[1]]
        return kind, body


def _body(held: bytearray, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at index ``at`` begins and ends; None if it is not all there."""
    size, shift = 0, 0
    for start in range(at + 2, min(at + 6, len(held) + 1)):
        digit = held[start - 1]
        size |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return (start, start + size) if start + size <= len(held) else None
    return None

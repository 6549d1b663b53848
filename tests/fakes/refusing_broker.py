"""An MQTT 5 broker of one trick, which no real one offers: it refuses PUBLISH packets by their content.

It speaks what a publisher needs (CONNECT, SUBSCRIBE, PUBLISH QoS 0 and 1, PINGREQ) and delivers nothing to anybody.
"""

import asyncio
from collections.abc import Callable
from typing import Self

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12
CONNACK = bytes([0x20, 3, 0, 0, 0])
PINGRESP = bytes([0xD0, 0])


class RefusingBroker:
    """``code_for(topic, payload)`` is the reason code of each PUBACK (MQTT 5, 3.4.2.1); an async context manager."""

    def __init__(self, code_for: Callable[[str, bytes], int]) -> None:
        self.port = 0
        self.taken: list[tuple[str, bytes]] = []
        self.refused: list[tuple[str, bytes]] = []
        self._code_for = code_for
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                first, body = await _packet(reader)
                answer = self._answer(first >> 4, first, body)
                if answer:
                    writer.write(answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the terminal left
        finally:
            self._tasks.discard(task)
            writer.close()

    def _answer(self, kind: int, first: int, body: bytes) -> bytes:
        if kind == CONNECT:
            return CONNACK
        if kind == SUBSCRIBE:
            filters = _filters(body)
            return bytes([0x90, 3 + filters]) + body[:2] + b"\0" + b"\1" * filters
        if kind == PUBLISH:
            return self._publish(first >> 1 & 3, body)
        return PINGRESP if kind == PINGREQ else b""

    def _publish(self, qos: int, body: bytes) -> bytes:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        mid, end = (body[end : end + 2], end + 2) if qos else (b"", end)
        length, size = _varint(body, end)
        payload = body[end + size + length :]
        code = self._code_for(topic, payload)
        (self.refused if code >= 0x80 else self.taken).append((topic, payload))
        return bytes([0x40, 3]) + mid + bytes([code]) if qos else b""


def _filters(body: bytes) -> int:
    length, size = _varint(body, 2)
    at, count = 2 + size + length, 0
    while at < len(body):
        at += 2 + int.from_bytes(body[at : at + 2], "big") + 1
        count += 1
    return count


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (first,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, await reader.readexactly(length)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (MQTT 5, section 1.5.5) and the bytes that it takes."""
    value = size = 0
    while True:
        byte = data[at + size]
        value |= (byte & 0x7F) << 7 * size
        size += 1
        if byte < 0x80:
            return value, size

"""A TCP proxy that misbehaves on demand: cuts, swallows one direction, or refuses. Loopback only."""

import asyncio
from contextlib import suppress
from typing import Self


class TcpProxy:
    """Forwards to ``127.0.0.1:target``, from ``port`` or a free one; use it as an async context manager.

    ``swallow_answers``: what the target says is read and thrown away, as by a broker that accepts and never answers.
    ``delay_s``: how late everything arrives.
    """

    def __init__(self, target: int, *, port: int = 0) -> None:
        self.port = port
        self.swallow_answers = False
        self.delay_s = 0.0
        self.refuse = False
        self.accepted = 0
        self._target = target
        self._released = asyncio.Event()
        self._released.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def hold(self) -> None:
        """Forward nothing and close nothing, as on a half-open connection, until ``go_on``."""
        self._released.clear()

    def go_on(self) -> None:
        """Forward again."""
        self._released.set()

    def cut(self) -> None:
        """Abort all connections, as a reset does."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if not self.refuse:
                await self._forward(reader, writer)
        finally:
            self._writers.discard(writer)
            await _close(writer)
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            return
        self._writers.add(far_writer)
        try:
            ways = [
                asyncio.create_task(self._pump(reader, far_writer, answers=False)),
                asyncio.create_task(self._pump(far_reader, writer, answers=True)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            self._writers.discard(far_writer)
            await _close(far_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                await self._released.wait()
                if not (answers and self.swallow_answers):
                    writer.write(data)
                    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()

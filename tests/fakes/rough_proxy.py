"""A TCP proxy for a bad line: besides what ``TcpProxy`` does it trickles, loses one direction, and cuts mid-packet."""

import asyncio
from contextlib import suppress

from tests.fakes.tcp_proxy import TcpProxy


class RoughProxy(TcpProxy):
    """``heal`` makes the line good again; a connection that lost bytes is cut then, as no real one ever goes on."""

    def __init__(self, target: int, *, port: int = 0) -> None:
        super().__init__(target, port=port)
        self.swallow_questions = False
        """What the client says is thrown away."""
        self.trickle = 0
        """So many bytes at a time; 0: all at once."""
        self.cut_after: int | None = None
        """Cut everything after so many more bytes from the client, wherever in a packet that is."""

    def heal(self) -> None:
        """Forward everything, at once."""
        if self.swallow_answers or self.swallow_questions:
            self.cut()
        self.swallow_answers = self.swallow_questions = False
        self.delay_s, self.trickle, self.cut_after = 0.0, 0, None
        self.go_on()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                while data:
                    await asyncio.sleep(self.delay_s)
                    await self._released.wait()
                    piece = data[: self.trickle or len(data)]
                    data = data[len(piece) :]
                    if not answers and self.cut_after is not None:
                        piece = piece[: self.cut_after]
                        self.cut_after -= len(piece)
                    if not (self.swallow_answers if answers else self.swallow_questions):
                        writer.write(piece)
                        await writer.drain()
                    if not answers and self.cut_after == 0:
                        self.cut_after = None
                        await asyncio.sleep(0.01)  # what was written leaves first
                        self.cut()

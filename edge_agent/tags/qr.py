"""A ticket as a QR code (ISO/IEC 18004) for the page of the web screens. The only importer of segno.

Nobody tells whether it is read: no tap comes of it here, only of what the phone does with the link. It never draws.
"""

import asyncio
from collections.abc import Callable

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.base import ReaderInfo
from edge_agent.tags.base import SurfaceEvent, TicketRead

Rows = tuple[str, ...]
"""One text for each row, one character for each module: "1" is dark. Without the quiet zone."""
ShowCode = Callable[[Rows | None, int], None]
"""Shows these rows for so many milliseconds at most, or no code at all."""

_MASK = 3
"""Which of the eight masks is of no matter over a signature, which is random: trying them all takes 5 times as long."""
_SIGN_EVERY_S = 1.0


class QrSurface:
    """One code on the page. A code that no other replaces within ``life_s`` seconds is not shown any longer.

    ``show_code`` must neither block nor raise: ``firmware_bridge.bridge.Bridge.show_ticket``.
    """

    def __init__(self, name: str, show_code: ShowCode, *, life_s: float, clock: Clock) -> None:
        self.name = name
        self.last_sign = 0.0
        self.tells_reads = False
        self._show_code = show_code
        self._life_ms = round(life_s * 1000)
        self._clock = clock
        self._encode: Callable[[str], Rows] | None = None

    async def open(self) -> ReaderInfo:
        """Load the encoder: a tenth of a second and 5 MB that a terminal without this surface does not pay."""
        if self._encode is None:
            try:
                self._encode = await asyncio.to_thread(load_encoder)
            except ImportError as error:
                raise ReaderError(
                    ReaderFault.NOT_FOUND,
                    f"no QR codes: {error}",
                    remedy="install edge-agent with everything that it depends on",
                ) from error
        await self.hide()
        return ReaderInfo("segno", "page", "QR code")

    async def show(self, url: str) -> TicketRead | None:
        """Show this link instead of the one before; raises ReaderError before ``open``."""
        if self._encode is None:
            raise ReaderError(ReaderFault.NO_ANSWER, f"the QR code {self.name} is not open", remedy="open it first")
        self._show_code(self._encode(url), self._life_ms)
        self.last_sign = self._clock.monotonic()
        return None

    async def hide(self) -> None:
        """Show none."""
        self._show_code(None, 0)
        self.last_sign = self._clock.monotonic()

    async def next_event(self) -> SurfaceEvent:
        """Wait for ever: a camera leaves no trace."""
        while True:
            self.last_sign = self._clock.monotonic()
            await asyncio.sleep(_SIGN_EVERY_S)

    async def close(self) -> None:
        """Show none."""
        self._show_code(None, 0)


def load_encoder() -> Callable[[str], Rows]:
    """Import segno and return what makes a code of a text; raises ImportError."""
    import segno  # noqa: PLC0415 - only where there is such a surface

    def encode(url: str) -> Rows:
        # Level L, and more where it costs no larger version: a screen is neither torn nor soiled, and large modules
        # are read from further away than small ones with more redundancy.
        code = segno.make_qr(url, error="l", mask=_MASK)
        return tuple("".join("1" if module else "0" for module in row) for row in code.matrix)

    return encode

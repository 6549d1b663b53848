"""A dynamic tag on the I2C bus as a TicketSurface: NT3H2111 or NT3H2211 (NTAG I2C plus).

The loop paces the looks, one thread ``tag-NAME`` owns the bus. With a field-detect line the looks are rare until it
says that a phone is there. What was seen is kept here until somebody takes it: a cancelled call loses nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.owner_thread import SoleThread
from edge_agent.readers.base import ReaderInfo
from edge_agent.tags.base import SurfaceEvent, TicketRead
from edge_agent.tags.field_line import FieldPin, open_field_line
from edge_agent.tags.i2c_bus import open_bus as open_smbus
from edge_agent.tags.nt3h_link import MemoryBusy, Sleep
from edge_agent.tags.nt3h_tag import Below, Nt3hTag, OpenBus

T = TypeVar("T")
OpenLine = Callable[[str], FieldPin]

ADDRESS = 0x55
POLL_S = 0.05
IDLE_POLL_S = 1.0
"""Between two looks while a field-detect line says that nobody is there."""
FIELD_PATIENCE_S = 1.0
"""How long a phone in the field, reading or not, holds back a new ticket."""
MEMORY_PATIENCE_S = 10.0
"""How long a phone that keeps the chip's memory does: nothing can be written, and nobody else can read meanwhile."""
_CLOSE_WITHIN_S = 2.0


class NtagI2c:
    """The chip at ``address`` (7 bits) of ``bus`` (/dev/i2c-N), looked at each ``poll_s`` seconds.

    ``field_line`` is its field-detect pin, such as "gpiochip0:17". ``places`` in the EEPROM take turns, ``app`` is the
    package of the Android Application Record. The rest are seams for simulation and tests.
    """

    tells_reads = True

    def __init__(  # noqa: PLR0913 - the settings of a [[tags]] table, and four seams
        self,
        name: str,
        bus: str,
        *,
        clock: Clock,
        address: int = ADDRESS,
        poll_s: float = POLL_S,
        field_line: str | None = None,
        places: int = 4,
        app: str | None = None,
        open_bus: OpenBus = open_smbus,
        open_line: OpenLine = open_field_line,
        below: Below = secrets.randbelow,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.name = name
        self.last_sign = 0.0
        self._clock = clock
        self._poll_s = poll_s
        self._field_line = field_line
        self._open_line = open_line
        self._tag = Nt3hTag(
            bus, address=address, places=places, app=app, clock=clock, open_bus=open_bus, below=below, sleep=sleep
        )
        self._pin: FieldPin | None = None
        self._thread = SoleThread(f"tag-{name}", self._hangs)

    async def open(self) -> ReaderInfo:
        """See ``base.TicketSurface``; hides what an earlier run left on the chip."""
        await self.close()
        self._thread.begin()
        opened = False
        try:
            if self._field_line is not None:
                self._pin = self._open_line(self._field_line)
            info = await self._patiently(self._tag.open)
            opened = True
        finally:
            if not opened:
                await self.close()
        return info

    async def show(self, url: str) -> TicketRead | None:
        """See ``base.TicketSurface``; up to 10 s where a phone keeps the chip's memory to itself.

        Raises TicketError for a link that makes no message.
        """
        until = self._clock.monotonic() + FIELD_PATIENCE_S
        await self._run(self._tag.look)
        while self._tag.field and self._clock.monotonic() < until:
            await asyncio.sleep(self._poll_s)
            await self._run(self._tag.look)
        await self._patiently(lambda: self._tag.show(url))
        return self._take_read()

    async def hide(self) -> None:
        """See ``base.TicketSurface``."""
        await self._patiently(self._tag.hide)

    async def next_event(self) -> SurfaceEvent:
        """See ``base.TicketSurface``."""
        while not self._tag.events:
            await self._pause()
            await self._run(self._tag.look)
        return self._tag.events.popleft()

    async def close(self) -> None:
        """See ``base.TicketSurface``; a thread that hangs is left behind."""
        pin, self._pin = self._pin, None
        if pin is not None:
            pin.close()
        await self._thread.end(self._tag.close, timeout_s=_CLOSE_WITHIN_S)

    async def _pause(self) -> None:
        """Until the next look is due."""
        pin = self._pin
        if pin is None:
            await asyncio.sleep(self._poll_s)
            return
        try:
            if pin.present() or self._tag.field:
                await asyncio.sleep(self._poll_s)
            else:
                await pin.wait(IDLE_POLL_S)
        except OSError as error:
            raise ReaderError(
                ReaderFault.IO,
                f"the field-detect line {self._field_line} fails ({error.strerror})",
                remedy="check its wiring, or leave `field_line` out",
            ) from error

    async def _patiently(self, job: Callable[[], T]) -> T:
        """Run a job that needs the chip's memory; raises ReaderError."""
        until = self._clock.monotonic() + MEMORY_PATIENCE_S
        while True:
            try:
                return await self._run(job)
            except MemoryBusy:
                if self._clock.monotonic() >= until:
                    raise ReaderError(
                        ReaderFault.IO,
                        "a phone or card lies on the tag and keeps its memory busy",
                        remedy="take away what lies on the tag",
                    ) from None
            await asyncio.sleep(self._poll_s)

    async def _run(self, job: Callable[[], T]) -> T:
        if not self._thread.runs:
            raise ReaderError(ReaderFault.IO, "the tag is closed")
        try:
            return await self._thread.call(job)
        finally:
            self.last_sign = self._clock.monotonic()

    def _take_read(self) -> TicketRead | None:
        """What came before a read is told by it: nobody is to hold still who has read."""
        if not any(isinstance(event, TicketRead) for event in self._tag.events):
            return None
        while not isinstance(event := self._tag.events.popleft(), TicketRead):
            pass
        return event

    def _hangs(self) -> ReaderError:
        text = f"the thread tag-{self.name} hangs in the I2C bus"
        return ReaderError(ReaderFault.HANGS, text, remedy="power-cycle the terminal")

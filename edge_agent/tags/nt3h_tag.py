"""One NT3H2111 or NT3H2211 at work: found, set up, filled with a ticket, watched. Blocking; lives on one thread.

Reads are told by ``events``, which outlives a lost bus. The chip's memory is held while it is rewritten, so that a
phone never reads a mix, and NDEF_DATA_READ is looked at after it was taken and before it is changed: no read is lost.
Never touched: lock bytes, configuration, password, and block 0 unless its capability container is broken.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.readers.base import ReaderInfo
from edge_agent.tags import nt3h
from edge_agent.tags.base import SurfaceEvent
from edge_agent.tags.field_watch import FieldWatch
from edge_agent.tags.i2c_bus import I2cBus, bus_number
from edge_agent.tags.ndef_message import ticket_message
from edge_agent.tags.nt3h_link import MemoryBusy, Nt3hLink, Sleep

log = structlog.get_logger(__name__)

OpenBus = Callable[[str], I2cBus]
Below = Callable[[int], int]
"""A random number from 0 to n - 1."""

_CHECK_EVERY_S = 1.0
_REPLACE = "replace the chip: lock bits cannot be taken back"


class Nt3hTag:
    """The chip at ``address`` of ``bus``, with up to ``places`` places for the message."""

    def __init__(
        self,
        bus: str,
        *,
        address: int,
        places: int,
        app: str | None,
        clock: Clock,
        open_bus: OpenBus,
        below: Below,
        sleep: Sleep,
    ) -> None:
        self.events: deque[SurfaceEvent] = deque()
        self.watch = FieldWatch()
        self._device = bus
        self._address = address
        self._places = places
        self._app = app
        self._clock = clock
        self._open_bus = open_bus
        self._below = below
        self._sleep = sleep
        self._bus: I2cBus | None = None
        self._link: Nt3hLink | None = None
        self._missed_read = False
        self._standing: dict[int, bytes] | None = None
        self._wanted: tuple[nt3h.Image | None, str | None] = (None, None)
        self._whole = False  # what is wanted stands, and the session registers are right
        self._url: str | None = None  # what a phone reads now, if it is a ticket
        self._last_block: int | None = None
        self._place: int | None = None
        self._writes_here = 0
        self._checked_at = 0.0
        self._locks_set = False

    @property
    def field(self) -> bool:
        """Whether the last look saw a phone, or it left a moment ago."""
        return self.watch.present

    # -- life ---------------------------------------------------------------------------------------------------------

    def open(self) -> ReaderInfo:
        """Find and check the chip, hide what an earlier run left; raises ReaderError, MemoryBusy."""
        if self._bus is None:
            self._bus = self._open_bus(self._device)
        self._link = link = Nt3hLink(self._bus, self._device, self._address, sleep=self._sleep)
        link.data_read, self._missed_read = self._missed_read, False
        self._standing = None
        try:
            block0 = self._find(link)
            with self._holding(link):
                self._check(link, block0)
                large = link.has_block(nt3h.SECOND_SECTOR_BLOCK)
                self._put(link, None, None)
        finally:
            self._missed_read |= link.data_read
        chip = "NT3H2211, 1912 bytes" if large else "NT3H2111, 888 bytes"
        return ReaderInfo(driver="ntag_i2c", device=self._device, chip=chip)

    def close(self) -> None:
        """Hide the ticket as far as the chip listens, release the bus. Idempotent, never raises."""
        if self._link is not None:
            with contextlib.suppress(ReaderError, MemoryBusy):
                self.hide()
            self._missed_read |= self._link.data_read
        bus, self._bus, self._link = self._bus, None, None
        if bus is not None:
            bus.close()

    def _find(self, link: Nt3hLink) -> bytes:
        try:
            block0 = link.read_block(0)
        except ReaderError as error:
            if error.fault is not ReaderFault.NO_ANSWER:
                raise
            raise ReaderError(
                ReaderFault.NOT_FOUND,
                f"no tag chip at {self._device}, address {self._address:#04x}",
                remedy=error.remedy,
            ) from error
        if not nt3h.is_ours(block0):
            raise ReaderError(
                ReaderFault.NOT_FOUND,
                f"what answers at {self._device}, address {self._address:#04x}, is no NT3H2111 or NT3H2211",
                remedy=f"correct `address` in [[tags]]; `i2cdetect -y {bus_number(self._device)}` shows who is there",
            )
        return block0

    def _check(self, link: Nt3hLink, block0: bytes) -> None:
        block38, block39 = link.read_block(nt3h.LOCK_BLOCK), link.read_block(nt3h.ACCESS_BLOCK)
        self._locks_set = nt3h.locked(block0, block38)
        if nt3h.read_protected(block38, block39):
            raise self._useless("asks phones for a password that somebody set", "replace the chip")
        if not nt3h.container_sound(block0):
            log.warning("capability_container_repaired", device=self._device, was=block0[12:].hex())
            for block, data in nt3h.container_repair(block0, self._address):
                link.write_block(block, data)
            if not nt3h.container_sound(link.read_block(0)):
                raise self._useless("has a capability container that phones refuse, and keeps it", _REPLACE)
        if self._locks_set:
            data = nt3h.touchstone(link.read_block(nt3h.FIRST_USER_BLOCK))
            self._program(link, [(nt3h.FIRST_USER_BLOCK, data)])

    # -- what is shown ------------------------------------------------------------------------------------------------

    def show(self, url: str) -> None:
        """Replace the ticket; raises MemoryBusy (nothing has changed), ReaderError, TicketError."""
        message = ticket_message(url, self._app)
        ticket = url.rpartition("/")[2].encode("ascii")
        start = message.rfind(ticket)
        places = nt3h.places_for(len(message), self._places)
        image = nt3h.image(message, place=self._choose(places), soft=range(start, start + len(ticket)))
        self._replace(image, url)
        self._writes_here += 1

    def hide(self) -> None:
        """Leave an empty message; raises MemoryBusy, ReaderError."""
        self._replace(None, None)

    def _choose(self, places: int) -> int:
        if self._place is None or self._place >= places:
            self._place = self._below(places)
        elif self._writes_here >= nt3h.WRITES_PER_PLACE and places > 1:
            self._place = (self._place + 1 + self._below(places - 1)) % places
        else:
            return self._place
        self._writes_here = 0
        return self._place

    def _replace(self, image: nt3h.Image | None, url: str | None) -> None:
        link = self._working()
        with self._holding(link):
            self._put(link, image, url)

    def _put(self, link: Nt3hLink, image: nt3h.Image | None, url: str | None) -> None:
        """Write while the memory is ours; what is interrupted is finished by a later look."""
        self._wanted, self._whole = (image, url), False
        self._set_up(link)
        if self._standing is None:
            blocks = range(nt3h.FIRST_USER_BLOCK, nt3h.LAST_USER_BLOCK + 1)
            self._standing = {block: link.read_block(block) for block in blocks}
        if image is None:
            self._program(link, nt3h.erase(self._standing))
        else:
            writes = nt3h.rewrite(self._standing, image)
            if self._last_block != image.last_block:
                self._last_block = image.last_block
                link.set_register(nt3h.LAST_NDEF_BLOCK, 0xFF, image.last_block)
            self._program(link, writes)
        self._url, self._whole = url, True

    def _program(self, link: Nt3hLink, writes: nt3h.Writes) -> None:
        standing, self._standing = self._standing, None  # not known again until all is done
        if writes:
            self._url = None
        for block, data in writes:
            link.write_block(block, data)
        if link.data_read:  # the watchdog let a phone in: what it read was no ticket
            link.data_read = False
            log.info("read_in_the_middle", device=self._device)
        for block, data in dict(writes).items():
            if link.read_block(block) != data:
                if self._locks_set:
                    raise self._useless("is locked: somebody set its lock bits", _REPLACE)
                raise self._useless(f"does not keep what is written to block {block}", "replace the chip")
        if standing is not None:
            self._standing = standing | dict(writes)

    @contextlib.contextmanager
    def _holding(self, link: Nt3hLink) -> Iterator[None]:
        """The memory is ours within; a read of what stood there is told first."""
        status = link.seize()
        try:
            self._observe(link, status)
            yield
        except BaseException:
            self._standing = None
            with contextlib.suppress(ReaderError):
                link.release()
            raise
        link.release()

    # -- what phones do -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look once at the chip; raises ReaderError."""
        link, now = self._working(), self._clock.monotonic()
        self._observe(link, link.status())
        if now - self._checked_at >= _CHECK_EVERY_S:
            self._checked_at = now
            if self._whole and not self._session_is_ours(link):
                log.warning("chip_lost_power", device=self._device)
                self._whole = False
        # Each START with our address may have taken the memory from a phone that comes (11.1.1).
        link.release()
        if not self._whole:
            with contextlib.suppress(MemoryBusy):  # then at the next look
                self._finish(link)

    def _finish(self, link: Nt3hLink) -> None:
        """Write again what is wanted: the chip lost its power, or a phone came in between."""
        self._standing = None
        with self._holding(link):
            self._put(link, *self._wanted)

    def _observe(self, link: Nt3hLink, status: int) -> None:
        read = None
        if link.data_read:
            # A chip that lost its power tells the same of a block that is not the last one.
            if self._url is not None and self._session_is_ours(link):
                read = self._url
            link.data_read = False
        field = bool(status & (nt3h.RF_FIELD_PRESENT | nt3h.RF_LOCKED))
        self.events.extend(self.watch.observe(field=field, read=read, now=self._clock.monotonic()))

    def _session_is_ours(self, link: Nt3hLink) -> bool:
        if self._last_block is None:
            return False
        return link.register(nt3h.LAST_NDEF_BLOCK) == self._last_block and link.register(nt3h.NC_REG) == nt3h.NC_WANTED

    def _set_up(self, link: Nt3hLink) -> None:
        """Session registers, which the chip forgets with its power; the watchdog's upper byte puts both in force."""
        if self._session_is_ours(link):
            return
        self._standing = self._last_block = None
        link.set_register(nt3h.NC_REG, 0xFF, nt3h.NC_WANTED)
        link.set_register(nt3h.WDT_LS, 0xFF, nt3h.WDT_WANTED & 0xFF)
        link.set_register(nt3h.WDT_MS, 0xFF, nt3h.WDT_WANTED >> 8)
        self._last_block = nt3h.LAST_USER_BLOCK
        link.set_register(nt3h.LAST_NDEF_BLOCK, 0xFF, self._last_block)

    def _working(self) -> Nt3hLink:
        if self._link is None:
            raise ReaderError(ReaderFault.IO, "the tag is closed")
        return self._link

    def _useless(self, why: str, remedy: str) -> ReaderError:
        where = f"{self._device}, address {self._address:#04x},"
        return ReaderError(ReaderFault.IO, f"the tag chip at {where} {why}", remedy=remedy)

"""The chip behind the bus: blocks, registers and the lock on its memory, with bounded retries. Blocking; one thread.

A read of NS_REG clears NDEF_DATA_READ, so each goes through ``status``, which keeps the bit. What fails for good is a
ReaderError; that phones keep the memory to themselves is MemoryBusy.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from edge_agent.errors import ReaderError, ReaderFault
from edge_agent.tags import nt3h
from edge_agent.tags.i2c_bus import I2cBus, bus_number, is_nak

Sleep = Callable[[float], None]
T = TypeVar("T")

_GONE = frozenset({errno.ENODEV, errno.ENOENT})
_TRIES = 4
_MEMORY_TRIES = 8
_PAUSE_S = 0.002
_BUSY_LOOKS = 20
_BUSY_PAUSE_S = 0.0015
_PROGRAM_TRIES = 3


class MemoryBusy(Exception):
    """A phone holds the chip's memory (RF_LOCKED): nothing can be read or written until it lets go."""


class _Nak(Exception):
    """The chip did not acknowledge a memory command."""


class Nt3hLink:
    """One chip at ``address`` (7 bits) of an open bus; ``sleep`` is injectable."""

    def __init__(self, bus: I2cBus, device: str, address: int, *, sleep: Sleep = time.sleep) -> None:
        self._bus = bus
        self._device = device
        self._address = address
        self._where = f"{device}, address {address:#04x},"
        self._sleep = sleep
        self.data_read = False
        """Kept from every look at NS_REG until somebody takes it: a phone has read all of LAST_NDEF_BLOCK."""

    # -- registers ----------------------------------------------------------------------------------------------------

    def status(self) -> int:
        """Return NS_REG; the chip clears NDEF_DATA_READ by that, ``data_read`` keeps it. Raises ReaderError."""
        value = self.register(nt3h.NS_REG)
        self.data_read |= bool(value & nt3h.NDEF_DATA_READ)
        return value

    def register(self, register: int) -> int:
        """Read a session register; works whoever holds the memory. Raises ReaderError."""
        return self._try(lambda: self._read(bytes((nt3h.SESSION, register)), 1))[0]

    def set_register(self, register: int, mask: int, value: int) -> None:
        """Write the bits of ``mask`` into a session register; raises ReaderError."""
        self._try(lambda: self._bus.write(self._address, bytes((nt3h.SESSION, register, mask, value))))

    def release(self) -> None:
        """Give the memory back to phones: every START with our address takes it (data sheet, 11.1.1)."""
        self.set_register(nt3h.NS_REG, nt3h.I2C_LOCKED, 0)

    # -- memory -------------------------------------------------------------------------------------------------------

    def seize(self) -> int:
        """Take the memory, so that no phone reads until ``release`` or the watchdog; returns NS_REG of that moment.

        Raises MemoryBusy, ReaderError.
        """
        self.read_block(nt3h.FIRST_USER_BLOCK)
        status = self.status()
        if status & nt3h.RF_LOCKED or not status & nt3h.I2C_LOCKED:
            raise MemoryBusy
        return status

    def read_block(self, block: int) -> bytes:
        """Return 16 bytes; raises MemoryBusy, ReaderError."""
        return self._memory(block, lambda: self._read(bytes((block,)), nt3h.BLOCK_BYTES))

    def has_block(self, block: int) -> bool:
        """Whether the chip knows a block; to be asked while we hold the memory. Raises ReaderError."""
        try:
            self._try(lambda: self._read(bytes((block,)), nt3h.BLOCK_BYTES), naks=False)
        except _Nak:
            return False
        return True

    def write_block(self, block: int, data: bytes) -> None:
        """Program 16 bytes and wait until they stand; raises MemoryBusy, ReaderError."""
        for _ in range(_PROGRAM_TRIES):
            self._memory(block, lambda: self._bus.write(self._address, bytes((block,)) + data))
            self._sleep(nt3h.WRITE_S)
            if self._programmed():
                return
        raise ReaderError(
            ReaderFault.IO,
            f"the tag chip at {self._where} could not program block {block} (EEPROM_WR_ERR)",
            remedy="check its supply (1.7 to 3.6 V); if it stays, its EEPROM is worn out: replace it",
        )

    def _programmed(self) -> bool:
        for _ in range(_BUSY_LOOKS):
            status = self.status()
            if not status & nt3h.EEPROM_WR_BUSY:
                break
            self._sleep(_BUSY_PAUSE_S)
        else:
            raise ReaderError(
                ReaderFault.IO,
                f"the tag chip at {self._where} is busy programming for ever",
                remedy="power-cycle the terminal",
            )
        if status & nt3h.EEPROM_WR_ERR:
            self.set_register(nt3h.NS_REG, nt3h.EEPROM_WR_ERR, 0)
            return False
        return True

    # -- the line -----------------------------------------------------------------------------------------------------

    def _memory(self, block: int, call: Callable[[], T]) -> T:
        """A memory command; its NAK means that a phone holds the memory, or that the EEPROM is busy."""
        for _ in range(_MEMORY_TRIES):
            try:
                return self._try(call, naks=False)
            except _Nak:
                if self.status() & nt3h.RF_LOCKED:
                    raise MemoryBusy from None
            self._sleep(_PAUSE_S)
        raise ReaderError(
            ReaderFault.IO,
            f"the tag chip at {self._where} refuses block {block}",
            remedy="power-cycle the terminal; if it stays, replace the chip",
        )

    def _try(self, call: Callable[[], T], *, naks: bool = True) -> T:
        """Repeat what the bus spoils; with ``naks`` a missing acknowledge, too, else it raises _Nak."""
        tries = _TRIES
        while True:
            try:
                return call()
            except OSError as error:
                if is_nak(error) and not naks:
                    raise _Nak from error
                # The kernel itself waits a second for a bus that is held low.
                tries -= 2 if error.errno == errno.ETIMEDOUT else 1
                if tries <= 0:
                    raise self._fault(error) from error
            self._sleep(_PAUSE_S)

    def _read(self, ask: bytes, count: int) -> bytes:
        data = self._bus.write_read(self._address, ask, count)
        if len(data) != count:
            raise OSError(errno.EIO, f"{len(data)} of {count} bytes")
        return data

    def _fault(self, error: OSError) -> ReaderError:
        if is_nak(error):
            return ReaderError(
                ReaderFault.NO_ANSWER,
                f"the tag chip at {self._where} does not answer",
                remedy=f"check its wiring and supply; `i2cdetect -y {bus_number(self._device)}` must show it",
            )
        if error.errno in _GONE:
            return ReaderError(ReaderFault.UNPLUGGED, f"{self._device} is gone", remedy="plug the I2C adapter in again")
        return ReaderError(
            ReaderFault.IO,
            f"the I2C bus {self._device} fails ({error.strerror or type(error).__name__})",
            remedy="check wiring, pull-ups and that no other device holds SDA or SCL low; power-cycle the terminal",
        )

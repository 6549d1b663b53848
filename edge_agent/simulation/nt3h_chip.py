"""An NT3H2111 or NT3H2211 at register level, as its data sheet describes it: I2C on one side, phones on the other.

Pure: time is ``now``, chance is ``rng``, both given. Modelled are memory, registers, arbitration, watchdog, EEPROM
times and wear, lock bits and power; not modelled: pass-through and mirror mode, passwords, FAST_WRITE, signature.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

BLOCK = 16
PAGE = 4
WRITE_S = 0.0045
WDT_TICK_S = 9.43e-6
SESSION = 0xFE
NC, LAST, SM, WDT_LS, WDT_MS, CLOCK_STR, NS = range(7)
NDEF_DATA_READ, I2C_LOCKED, RF_LOCKED = 0x80, 0x40, 0x20
EEPROM_WR_ERR, EEPROM_WR_BUSY, RF_FIELD = 0x04, 0x02, 0x01
CONFIGURATION = bytes.fromhex("0100F84808010000")
"""Session registers after power-on (Table 14): phones may write, no LAST_NDEF_BLOCK, watchdog 0848h (20 ms)."""
ACK = b"\x0a"
NAK_ARGUMENT, NAK_LOCKED = b"\x00", b"\x03"
"""Four bits each: a wrong argument; "arbiter locked to I2C"."""
VERSION = {"NT3H2111": bytes.fromhex("0004040502021303"), "NT3H2211": bytes.fromhex("0004040502021503")}


class Rf(Enum):
    """The tag's state on the radio side (ISO/IEC 14443-3)."""

    OFF = auto()
    IDLE = auto()
    ACTIVE = auto()
    HALT = auto()


@dataclass
class Faults:
    """What goes wrong: the next ``naks`` transfers, the whole bus, the next ``failing_writes`` programmings."""

    naks: int = 0
    stuck: bool = False
    failing_writes: int = 0
    registers: Callable[[int, int], int] | None = None
    """(register, value) -> value that I2C reads instead."""


@dataclass
class _Programming:
    block: int
    before: bytes
    done_at: float


@dataclass
class Meter:
    """What tests ask afterwards: writes for each block, changes of lock bits and address, the memory before them."""

    wear: Counter[int] = field(default_factory=Counter)
    lock_changes: int = 0
    address_changes: int = 0


class Nt3hChip:
    """One chip. ``holds_rf_lock``: a phone keeps RF_LOCKED until HALT or field off, else only during a command."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        model: str = "NT3H2111",
        uid: bytes = bytes.fromhex("04A93512F07180"),
        rng: random.Random | None = None,
        holds_rf_lock: bool = True,
        write_s: float = WRITE_S,
    ) -> None:
        self.model = model
        self.faults = Faults()
        self.meter = Meter()
        self.address = 0x55
        self.powered = False
        self.rf = Rf.OFF
        self._now = now
        self._rng = rng or random.Random(0)  # noqa: S311 - which bits a torn write flips is no secret
        self._holds_rf_lock = holds_rf_lock
        self._write_s = write_s
        valid = [*range(0x3B), *(range(0x40, 0x80) if model == "NT3H2211" else ())]
        self.memory = {block: bytearray(BLOCK) for block in valid}
        self.memory[0][:] = uid + bytes.fromhex("00440000 00E1106D00".replace(" ", ""))
        self.memory[1][:4] = bytes.fromhex("0300FE00")
        self.memory[0x38][15] = 0xFF
        self.memory[0x3A][:8] = CONFIGURATION
        self._programming: _Programming | None = None
        self._sector = 0
        self._selecting_sector = False
        self._pointer: int | None = None
        self._reset()
        self.power_on()

    def _reset(self) -> None:
        self.session = bytearray(self.memory[0x3A][:8])
        self.session[NS] = 0
        self._watchdog = int.from_bytes(self.session[WDT_LS : WDT_MS + 1], "little")
        self._watchdog_end: float | None = None
        self._pointer = None

    # -- power --------------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Supply comes: registers as configured."""
        if not self.powered:
            self._settle()
            self.powered = True
            self._reset()

    def power_cut(self) -> None:
        """Supply goes, in the middle of a programming or not; a phone's field keeps the radio side alive."""
        self._settle()
        if self._programming is not None:
            torn, self._programming = self._programming, None
            fresh = self.memory[torn.block]
            for n, old in enumerate(torn.before):
                if self._rng.random() < 0.5:
                    fresh[n] = old
        self.powered = False
        self._reset()

    def field_on(self) -> None:
        """A phone's field comes; it has not selected the tag yet."""
        if self.rf is Rf.OFF:
            self.rf, self._sector = Rf.IDLE, 0

    def field_off(self) -> None:
        """The phone's field goes."""
        self.rf = Rf.OFF
        self._unlock_rf()

    def _settle(self) -> None:
        """Let what time has done happen: programming ends, the watchdog bites."""
        now = self._now()
        if self._programming is not None and now >= self._programming.done_at:
            self._programming = None
        if self._watchdog_end is not None and now >= self._watchdog_end:
            self._unlock_i2c()

    @property
    def busy(self) -> bool:
        """Whether the EEPROM is programming."""
        self._settle()
        return self._programming is not None

    # -- I2C ----------------------------------------------------------------------------------------------------------

    def i2c_write(self, data: bytes) -> bool:
        """A START with our address, ``data``, STOP; False is NAK."""
        if not self._addressed() or not data:
            return False
        if data[0] == SESSION:
            return self._register_command(data[1:])
        if self._denied(data[0]):
            return False
        if len(data) == 1:
            self._pointer = data[0]
            return True
        if len(data) != 1 + BLOCK:
            return False
        self._store(data[0], self._permitted(data[0], data[1:], phone=False))
        return True

    def i2c_read(self, count: int) -> bytes | None:
        """A START with our address and R; None is NAK."""
        if not self._addressed() or self._pointer is None:
            return None
        pointer = self._pointer
        if pointer > 0xFF:
            return (bytes((self._read_register(pointer & 0xFF),)) + b"\xff" * count)[:count]
        if self._denied(pointer):
            return None
        return (self._visible(pointer) + b"\xff" * count)[:count]

    def _addressed(self) -> bool:
        self._settle()
        if not self.powered:
            return False
        if self.faults.naks > 0:
            self.faults.naks -= 1
            return False
        # 11.1.1: "If the tag is in the IDLE or HALT state and the correct I2C slave address is received following the
        # START condition, the bit I2C_LOCKED will be automatically set"
        if self.rf is not Rf.ACTIVE and not self.session[NS] & I2C_LOCKED:
            self.session[NS] |= I2C_LOCKED
            self._watchdog_end = self._now() + self._watchdog * WDT_TICK_S
        return True

    def _denied(self, block: int) -> bool:
        return block not in self.memory or bool(self.session[NS] & RF_LOCKED) or self.busy

    def _register_command(self, command: bytes) -> bool:
        if not command or command[0] > NS:
            return False
        register = command[0]
        if len(command) == 1:
            self._pointer = 0x100 | register
            return True
        if len(command) != 3:
            return False
        mask, value = command[1:]
        if register == NS:
            if mask & I2C_LOCKED and not value & I2C_LOCKED:
                self._unlock_i2c()
            if mask & EEPROM_WR_ERR and not value & EEPROM_WR_ERR:
                self.session[NS] &= ~EEPROM_WR_ERR
        elif register != CLOCK_STR:
            self.session[register] = self.session[register] & ~mask | value & mask
        if register == WDT_MS:  # both bytes come into force
            self._watchdog = int.from_bytes(self.session[WDT_LS : WDT_MS + 1], "little")
        return True

    def _read_register(self, register: int) -> int:
        value = self.session[register]
        if register == NS:
            value |= (EEPROM_WR_BUSY if self.busy else 0) | (RF_FIELD if self.rf is not Rf.OFF else 0)
            self.session[NS] &= ~NDEF_DATA_READ
        return value if self.faults.registers is None else self.faults.registers(register, value) & 0xFF

    def _unlock_i2c(self) -> None:
        self.session[NS] &= ~I2C_LOCKED
        self._watchdog_end = None

    # -- EEPROM -------------------------------------------------------------------------------------------------------

    def _visible(self, block: int) -> bytes:
        return bytes(self.memory[block])

    def _permitted(self, block: int, new: bytes, *, phone: bool) -> bytes:
        """What a write makes of a block: read-only bytes, lock bits, and bits that a phone can only set."""
        old = bytes(self.memory[block])
        if block == 0:
            if not phone and new[0] >> 1 != self.address:
                self.meter.address_changes += 1
                self.address = new[0] >> 1
            locks, container = new[10:12], new[12:]
            if phone:
                locks, container = _either(old[10:12], locks), _either(old[12:], container)
            new = old[:10] + locks + container
        if block == 0x38 and phone:
            new = new[:8] + _either(old[8:11], new[8:11]) + new[11:]
        pages = [
            new[n : n + PAGE] if not self._page_locked(block * 4 + n // 4) else old[n : n + PAGE]
            for n in range(0, 16, 4)
        ]
        return b"".join(pages)

    def _page_locked(self, page: int) -> bool:
        """8.3.6: one bit for each page 03h to 0Fh, one for each 16 (8 at the end) pages behind."""
        locks = int.from_bytes(self.memory[0][10:12], "little")
        if page < 0x03:
            return False
        if page <= 0x0F:
            return bool(locks >> page & 1)
        dynamic = int.from_bytes(self.memory[0x38][8:10], "little")
        return page < 0xE2 and bool(dynamic >> (page - 0x10) // 16 & 1)

    def _store(self, block: int, new: bytes) -> None:
        old = bytes(self.memory[block])
        if self.faults.failing_writes > 0:
            self.faults.failing_writes -= 1
            self.session[NS] |= EEPROM_WR_ERR
            return
        self.meter.wear[block] += 1
        self.meter.lock_changes += (block == 0 and old[10:12] != new[10:12]) or (block == 0x38 and old[8:] != new[8:])
        self.memory[block][:] = new
        self._programming = _Programming(block, old, self._now() + self._write_s)

    # -- radio --------------------------------------------------------------------------------------------------------

    def activate(self) -> bytes | None:
        """REQA or WUPA, anticollision and SELECT: the UID, or None without a field."""
        self._settle()
        if self.rf is Rf.OFF:
            return None
        self.rf, self._sector, self._selecting_sector = Rf.ACTIVE, 0, False
        return bytes(self.memory[0][:7])

    def transceive(self, command: bytes) -> bytes | None:
        """One command of a phone, without CRC: data, ACK, a NAK of one byte, or None for silence."""
        self._settle()
        return self._obey(command) if self.rf is Rf.ACTIVE and command else None

    def _obey(self, command: bytes) -> bytes | None:
        if self._selecting_sector:
            return self._select_sector(command)
        match command[0], len(command):
            case (0x30, 2) | (0x3A, 3) | (0xA2, 6):
                return self._memory_command(command)
            case 0x50, 2:
                self.rf = Rf.HALT
                self._unlock_rf()
                return None
            case 0x60, 1:
                return VERSION[self.model]
            case 0xC2, 2:
                self._selecting_sector = True
                return ACK
        return self._refuse(NAK_ARGUMENT)

    def _select_sector(self, command: bytes) -> bytes | None:
        self._selecting_sector = False
        if len(command) != 4 or command[0] > (1 if self.model == "NT3H2211" else 0):
            return self._refuse(NAK_ARGUMENT)
        self._sector = command[0]
        return None  # passive acknowledge

    def _memory_command(self, command: bytes) -> bytes:
        if self.session[NS] & I2C_LOCKED or self.busy:
            return self._refuse(NAK_LOCKED)
        self.session[NS] |= RF_LOCKED
        first = command[1]
        match command[0]:
            case 0x30:
                answer = self._read_pages(first, first + 3)
            case 0x3A:
                answer = self._read_pages(first, command[2]) if first <= command[2] else None
            case _:
                answer = self._write_page(first, command[2:])
        if answer is None:
            return self._refuse(NAK_ARGUMENT)
        if not self._holds_rf_lock:
            self._unlock_rf()
        return answer

    def _read_pages(self, first: int, last: int) -> bytes | None:
        pages = [self._page(page) for page in range(first, last + 1)]
        if pages[0] is None:
            return None
        end = self.session[LAST] * 4 + 3
        if self._sector == 0 and first <= end <= last:
            self.session[NS] |= NDEF_DATA_READ
        return b"".join(page or bytes(PAGE) for page in pages)

    def _page(self, page: int) -> bytes | None:
        if self._sector == 0 and page in (0xEC, 0xED):
            return bytes(self.session[(page - 0xEC) * 4 :][:4])
        block = page // 4 + (0x40 if self._sector == 1 else 0)
        if block not in self.memory or (self._sector == 0 and page > 0xE9) or page > 0xFF:
            return None
        return bytes(self.memory[block][page % 4 * 4 :][:4])

    def _write_page(self, page: int, data: bytes) -> bytes | None:
        # Table 14: TRANSFER_DIR 0b without pass-through: "no WRITE access from the NFC side"
        if not self.session[NC] & 0x01 or page < 0x02 or self._page(page) is None or page in (0xEC, 0xED):
            return None
        block = page // 4 + (0x40 if self._sector == 1 else 0)
        new = bytearray(self.memory[block])
        new[page % 4 * 4 : page % 4 * 4 + 4] = data
        self._store(block, self._permitted(block, bytes(new), phone=True))
        if self._programming is not None:
            self._programming.done_at = self._now()  # the phone waits for it
        return ACK

    def _refuse(self, nak: bytes) -> bytes:
        """After a NAK the tag waits for a new selection (ISO/IEC 14443-3)."""
        self.rf = Rf.IDLE
        self._unlock_rf()
        return nak

    def _unlock_rf(self) -> None:
        self.session[NS] &= ~RF_LOCKED


def _either(old: bytes, new: bytes) -> bytes:
    return bytes(a | b for a, b in zip(old, new, strict=True))

"""The emulator against sentences of the data sheet."""

import asyncio
import random

import pytest

from edge_agent.clock import FakeClock
from edge_agent.simulation.nt3h_bus import Nt3hBus, TagReader
from edge_agent.simulation.nt3h_chip import (
    ACK,
    EEPROM_WR_BUSY,
    EEPROM_WR_ERR,
    I2C_LOCKED,
    LAST,
    NAK_ARGUMENT,
    NAK_LOCKED,
    NDEF_DATA_READ,
    NS,
    RF_FIELD,
    RF_LOCKED,
    SESSION,
    WDT_LS,
    WDT_MS,
    WDT_TICK_S,
    Nt3hChip,
    Rf,
)

DATA = bytes(range(16))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def chip(clock: FakeClock) -> Nt3hChip:
    return Nt3hChip(clock.monotonic)


@pytest.fixture
def bus(chip: Nt3hChip) -> Nt3hBus:
    return Nt3hBus(chip)


def status(bus: Nt3hBus) -> int:
    return bus.write_read(0x55, bytes((SESSION, NS)), 1)[0]


def release(bus: Nt3hBus) -> None:
    bus.write(0x55, bytes((SESSION, NS, I2C_LOCKED, 0)))


def arrive(chip: Nt3hChip) -> None:
    chip.field_on()
    assert chip.activate() is not None


def test_a_block_is_written_in_four_and_a_half_milliseconds_and_refused_meanwhile(
    bus: Nt3hBus, clock: FakeClock
) -> None:
    bus.write(0x55, b"\x05" + DATA)
    assert status(bus) & EEPROM_WR_BUSY
    with pytest.raises(OSError, match="No such device or address"):
        bus.write_read(0x55, b"\x05", 16)
    clock.advance(0.0046)
    assert not status(bus) & EEPROM_WR_BUSY
    assert bus.write_read(0x55, b"\x05", 16) == DATA
    assert bus.chip.meter.wear == {5: 1}


@pytest.mark.parametrize("block", [0x3B, 0x40, 0x7F, 0xF0, 0xFF])
def test_an_unknown_block_is_not_acknowledged(bus: Nt3hBus, block: int) -> None:
    with pytest.raises(OSError, match="No such device"):
        bus.write(0x55, bytes((block,)))


def test_the_larger_type_has_a_second_sector_for_both_sides(clock: FakeClock) -> None:
    chip = Nt3hChip(clock.monotonic, model="NT3H2211")
    bus = Nt3hBus(chip)
    bus.write(0x55, b"\x40" + DATA)
    clock.advance(1)
    release(bus)
    arrive(chip)
    assert chip.transceive(b"\xc2\xff") == ACK
    assert chip.transceive(b"\x01\x00\x00\x00") is None
    assert chip.transceive(b"\x30\x00") == DATA


def test_another_address_and_a_chip_without_power_are_silent(bus: Nt3hBus) -> None:
    with pytest.raises(OSError, match="No such device"):
        bus.write(0x54, b"\x00")
    bus.chip.power_cut()
    with pytest.raises(OSError, match="No such device"):
        status(bus)


def test_registers_are_written_through_a_mask_and_forgotten_with_the_power(bus: Nt3hBus) -> None:
    bus.write(0x55, bytes((SESSION, LAST, 0x0F, 0xFF)))
    assert bus.write_read(0x55, bytes((SESSION, LAST)), 1) == b"\x0f"
    bus.write(0x55, bytes((SESSION, LAST, 0xF0, 0x30)))
    assert bus.write_read(0x55, bytes((SESSION, LAST)), 1) == b"\x3f"
    bus.chip.power_cut()
    bus.chip.power_on()
    assert bus.write_read(0x55, bytes((SESSION, LAST)), 1) == b"\x00"


def test_a_phone_that_has_read_the_last_block_is_noticed_once(bus: Nt3hBus) -> None:
    chip = bus.chip
    bus.write(0x55, bytes((SESSION, LAST, 0xFF, 2)))
    release(bus)
    arrive(chip)
    chip.transceive(b"\x30\x04")
    assert not status(bus) & NDEF_DATA_READ
    chip.transceive(b"\x30\x08")
    seen = status(bus)
    assert seen & NDEF_DATA_READ
    assert seen & RF_FIELD
    assert not status(bus) & NDEF_DATA_READ


@pytest.mark.parametrize("holds", [True, False])
def test_who_comes_first_has_the_memory_phone(clock: FakeClock, holds: bool) -> None:
    chip = Nt3hChip(clock.monotonic, holds_rf_lock=holds)
    bus = Nt3hBus(chip)
    arrive(chip)
    chip.transceive(b"\x30\x04")
    assert bool(status(bus) & RF_LOCKED) is holds  # registers answer all the same
    if holds:
        with pytest.raises(OSError, match="No such device"):
            bus.write(0x55, b"\x05" + DATA)
        chip.transceive(b"\x50\x00")
    bus.write(0x55, b"\x05" + DATA)


def test_who_comes_first_has_the_memory_bus(bus: Nt3hBus, clock: FakeClock) -> None:
    chip = bus.chip
    bus.write_read(0x55, b"\x01", 16)
    arrive(chip)
    assert chip.transceive(b"\x30\x04") == NAK_LOCKED
    assert chip.transceive(b"\x30\x04") is None  # after a NAK it waits for a selection
    chip.activate()
    clock.advance(0.021)  # 0848h ticks of 9.43 us
    assert len(chip.transceive(b"\x30\x04") or b"") == 16


def test_every_address_takes_the_memory_and_the_release_gives_it_back(bus: Nt3hBus) -> None:
    assert status(bus) & I2C_LOCKED
    release(bus)
    arrive(bus.chip)
    assert len(bus.chip.transceive(b"\x3a\x04\x07") or b"") == 16


def test_the_watchdog_time_counts_from_its_upper_byte_on(bus: Nt3hBus, clock: FakeClock) -> None:
    bus.write(0x55, bytes((SESSION, WDT_LS, 0xFF, 0xFF)))
    release(bus)
    bus.write_read(0x55, b"\x01", 16)
    clock.advance(0x0849 * WDT_TICK_S)
    assert bus.chip.busy is False
    assert not bus.chip.session[NS] & I2C_LOCKED
    bus.write(0x55, bytes((SESSION, WDT_MS, 0xFF, 0xFF)))
    release(bus)
    bus.write_read(0x55, b"\x01", 16)
    clock.advance(0.6)
    assert bus.chip.busy is False
    assert bus.chip.session[NS] & I2C_LOCKED
    clock.advance(0.02)
    assert bus.chip.busy is False
    assert not bus.chip.session[NS] & I2C_LOCKED


def test_a_phone_writes_only_where_the_session_lets_it_and_cannot_clear_bits(bus: Nt3hBus, clock: FakeClock) -> None:
    chip = bus.chip
    arrive(chip)
    assert chip.transceive(b"\xa2\x05abcd") == ACK
    assert chip.transceive(b"\xa2\x03\x00\x00\x00\x0f") == ACK
    assert bytes(chip.memory[0][12:]) == bytes.fromhex("E1106D0F")
    assert chip.transceive(b"\xa2\x02\x00\x00\x08\x00") == ACK
    assert chip.transceive(b"\xa2\x02\x00\x00\x00\x00") == ACK
    assert bytes(chip.memory[0][10:12]) == b"\x08\x00"
    assert chip.meter.lock_changes == 1
    chip.transceive(b"\x50\x00")
    bus.write(0x55, bytes((SESSION, 0, 0xFF, 0)))
    release(bus)
    chip.activate()
    assert chip.transceive(b"\xa2\x05efgh") == NAK_ARGUMENT
    assert bytes(chip.memory[1][4:8]) == b"abcd"


def test_a_locked_page_stays_and_block_0_keeps_its_serial_number(bus: Nt3hBus, clock: FakeClock) -> None:
    before = bytes(bus.chip.memory[0])
    bus.write(0x55, b"\x00" + b"\xaa" + b"\xff" * 9 + b"\x10\x00" + b"\xe1\x10\x6d\x00")
    clock.advance(1)
    assert bytes(bus.chip.memory[0][:10]) == before[:10]
    bus.write(0x55, b"\x01" + b"\x77" * 16)
    clock.advance(1)
    assert bytes(bus.chip.memory[1]) == before[:0] + bytes.fromhex("0300FE00") + b"\x77" * 12
    assert bus.chip.meter.address_changes == 0
    bus.write(0x55, b"\x00" + b"\x04" + bytes(15))  # the trap: what is read is not what is to be written
    assert bus.chip.meter.address_changes == 1
    assert bus.chip.address == 0x02


def test_power_that_fails_in_a_write_leaves_a_mix(clock: FakeClock) -> None:
    chip = Nt3hChip(clock.monotonic, rng=random.Random(7))
    bus = Nt3hBus(chip)
    bus.write(0x55, b"\x05" + b"\xff" * 16)
    clock.advance(0.002)
    chip.power_cut()
    assert set(chip.memory[5]) == {0x00, 0xFF}
    chip.power_on()
    bus.write(0x55, b"\x06" + b"\xff" * 16)
    clock.advance(0.005)
    chip.power_cut()
    assert set(chip.memory[6]) == {0xFF}


def test_a_failed_programming_is_told_until_it_is_cleared(bus: Nt3hBus) -> None:
    bus.chip.faults.failing_writes = 1
    bus.write(0x55, b"\x05" + DATA)
    assert status(bus) & EEPROM_WR_ERR
    bus.write(0x55, bytes((SESSION, NS, EEPROM_WR_ERR, 0)))
    assert not status(bus) & EEPROM_WR_ERR
    assert bytes(bus.chip.memory[5]) == bytes(16)


async def test_a_person_whose_phone_finds_no_message_goes_after_a_while(bus: Nt3hBus) -> None:
    bus.chip.memory[0][12] = 0
    outcome = await TagReader(bus, patience_s=0.1).read()
    assert outcome.seen is None
    assert bus.chip.rf is Rf.OFF
    assert not bus.chip.session[NS] & RF_LOCKED


async def test_people_come_again_and_again(bus: Nt3hBus) -> None:
    told: list[object] = []
    async with asyncio.timeout(10):
        await TagReader(bus, dwell_s=0).run(0.01, told.append, reads=3)
    assert len(told) == 3

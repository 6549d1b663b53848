"""The surface on its thread: real time, the emulated chip below, people with phones above."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from edge_agent.clock import FakeClock, SystemClock
from edge_agent.errors import ReaderError, ReaderFault, TicketError
from edge_agent.simulation.nt3h_bus import Nt3hBus, TagReader
from edge_agent.simulation.nt3h_chip import Nt3hChip
from edge_agent.simulation.type2_phone import Seen, read_tag
from edge_agent.tags import ntag_i2c
from edge_agent.tags.base import FieldGone, FieldSeen, TicketRead
from edge_agent.tags.ntag_i2c import NtagI2c
from tests.fakes.tag_site import BUS, ticket_url
from tests.fakes.waiting import eventually

ONE, TWO = ticket_url(1), ticket_url(2)


@pytest.fixture
def chip() -> Nt3hChip:
    return Nt3hChip(time.monotonic, write_s=0.0)


@pytest.fixture
def bus(chip: Nt3hChip) -> Nt3hBus:
    return Nt3hBus(chip)


@pytest.fixture
async def surface(bus: Nt3hBus) -> AsyncIterator[NtagI2c]:
    surface = NtagI2c("tag0", BUS, clock=SystemClock(), poll_s=0.002, open_bus=bus.open)
    await surface.open()
    yield surface
    await surface.close()


def look_at(bus: Nt3hBus) -> Seen:
    with bus.lock:
        bus.chip.field_on()
        bus.chip.activate()
        try:
            return read_tag(bus.chip.transceive)
        finally:
            bus.chip.field_off()


async def test_a_person_reads_what_is_shown_and_the_surface_tells_it(surface: NtagI2c, bus: Nt3hBus) -> None:
    assert surface.tells_reads
    async with asyncio.timeout(30):
        for url in (ONE, TWO):
            assert await surface.show(url) is None
            person = asyncio.create_task(TagReader(bus, dwell_s=0.05, patience_s=30.0).read())
            seen, read, gone = [await surface.next_event() for _ in range(3)]
            assert (await person).seen is not None
            assert isinstance(seen, FieldSeen)
            assert isinstance(read, TicketRead)
            assert isinstance(gone, FieldGone)
            assert read.url == url
            assert seen.at == read.field_at <= read.at <= gone.at
    assert surface.last_sign > 0


async def test_a_read_that_nobody_waited_for_comes_with_the_next_ticket(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    look_at(bus)
    read = await surface.show(TWO)
    assert read is not None
    assert read.url == ONE
    assert look_at(bus).url == TWO


async def test_nobody_is_told_to_hold_still_after_his_read_was_told(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    look_at(bus)
    assert await surface.show(TWO) is not None
    assert isinstance(await surface.next_event(), FieldGone)


async def test_a_cancelled_wait_loses_no_event(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    look_at(bus)
    told: list[object] = []
    async with asyncio.timeout(30):
        while len(told) < 3:
            waiting = asyncio.ensure_future(surface.next_event())
            await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                told.append(await waiting)
            await asyncio.sleep(0.01)
            if len(told) < 3:
                told.append(await surface.next_event())
    assert [type(event) for event in told] == [FieldSeen, TicketRead, FieldGone]


async def test_hidden_is_hidden_and_closed_too(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    await surface.hide()
    assert look_at(bus) == Seen(None)
    await surface.show(TWO)
    await surface.close()
    await surface.close()
    assert look_at(bus) == Seen(None)
    with pytest.raises(ReaderError, match="closed"):
        await surface.next_event()


async def test_a_phone_that_lies_on_the_tag_is_told_after_a_while(bus: Nt3hBus) -> None:
    clock = FakeClock()
    surface = NtagI2c("tag0", BUS, clock=clock, poll_s=0.001, open_bus=bus.open)
    await surface.open()
    await surface.show(ONE)
    bus.chip.field_on()
    bus.chip.activate()
    bus.chip.transceive(b"\x30\x04")
    showing = asyncio.create_task(surface.show(TWO))
    while not showing.done():
        clock.advance(0.5)
        await asyncio.sleep(0.005)
    with pytest.raises(ReaderError, match="lies on the tag") as caught:
        await showing
    assert "take away" in caught.value.remedy
    assert read_tag(bus.chip.transceive).url == ONE
    bus.chip.field_off()
    await surface.close()


async def test_a_link_that_makes_no_message_changes_nothing(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    with pytest.raises(TicketError, match="255 at most"):
        await surface.show(ONE + "A" * 200)
    assert look_at(bus).url == ONE


async def test_a_chip_that_goes_and_comes_is_opened_again(surface: NtagI2c, bus: Nt3hBus) -> None:
    await surface.show(ONE)
    bus.chip.power_cut()
    with pytest.raises(ReaderError) as caught:
        await surface.next_event()
    assert caught.value.fault is ReaderFault.NO_ANSWER
    with pytest.raises(ReaderError) as caught:
        await surface.open()
    assert caught.value.fault is ReaderFault.NOT_FOUND
    bus.chip.power_on()
    await surface.open()
    await surface.show(TWO)
    assert look_at(bus).url == TWO


async def test_a_bus_that_hangs_is_left_behind_and_nobody_else_gets_it(bus: Nt3hBus) -> None:
    let_go, hanging = threading.Event(), threading.Event()

    class Hanging(Nt3hBus):
        def write(self, address: int, data: bytes, /) -> None:
            if hanging.is_set():
                let_go.wait(30)
            super().write(address, data)

    stuck = Hanging(bus.chip)
    surface = NtagI2c("tag0", BUS, clock=SystemClock(), poll_s=0.001, open_bus=stuck.open)
    await surface.open()
    hanging.set()
    await surface.close()
    with pytest.raises(ReaderError) as caught:
        await surface.open()
    assert caught.value.fault is ReaderFault.HANGS
    let_go.set()
    hanging.clear()
    await eventually(lambda: not [t for t in threading.enumerate() if t.name == "tag-tag0"])
    await surface.open()
    await surface.close()


class Pin:
    """A field-detect line that follows the chip's field."""

    def __init__(self, bus: Nt3hBus) -> None:
        self._bus = bus
        self.closed = False
        self.broken = False
        self.edge = asyncio.Event()

    def present(self) -> bool:
        if self.broken:
            raise OSError(5, "Input/output error")
        return self._bus.chip.rf.name != "OFF"

    async def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.edge.wait()
        self.edge.clear()

    def close(self) -> None:
        self.closed = True


async def test_with_a_field_line_the_bus_is_left_alone_until_a_phone_comes(
    bus: Nt3hBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ntag_i2c, "IDLE_POLL_S", 3600.0)  # the rare look is not what is meant here
    pin = Pin(bus)
    open_line: Callable[[str], Pin] = lambda line: pin if line == "gpiochip0:17" else Pin(bus)  # noqa: E731 - a seam
    surface = NtagI2c(
        "tag0",
        BUS,
        clock=SystemClock(),
        poll_s=0.002,
        field_line="gpiochip0:17",
        open_bus=bus.open,
        open_line=open_line,
    )
    await surface.open()
    await surface.show(ONE)
    waiting = asyncio.create_task(surface.next_event())
    await asyncio.sleep(0.05)
    quiet = bus.bytes_moved
    await asyncio.sleep(0.1)
    assert bus.bytes_moved == quiet
    with bus.lock:
        bus.chip.field_on()
        bus.chip.activate()
        read_tag(bus.chip.transceive)
    pin.edge.set()
    async with asyncio.timeout(30):
        assert isinstance(await waiting, FieldSeen)
        assert isinstance(await surface.next_event(), TicketRead)
        bus.chip.field_off()
        assert isinstance(await surface.next_event(), FieldGone)
    pin.broken = True
    with pytest.raises(ReaderError, match="gpiochip0:17 fails"):
        await surface.next_event()
    await surface.close()
    assert pin.closed

"""An I2C bus with an emulated NT3H chip on it, and a person who holds a phone to the chip: demo, training and tests.

Thread-safe: the agent's thread is on the bus, phones come on the event loop. Never polls on its own.
"""

import asyncio
import errno
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.simulation.nt3h_chip import Nt3hChip
from edge_agent.simulation.type2_phone import Malformed, NoTag, Seen, Step, reading

BITS_A_BYTE = 9
STANDARD_HZ = 100_000


class Nt3hBus:
    """One chip on a bus; ``spend`` is told how long a transfer takes on a line of ``bit_rate`` (seconds)."""

    def __init__(
        self, chip: Nt3hChip, *, spend: Callable[[float], None] = lambda _s: None, bit_rate: int = STANDARD_HZ
    ) -> None:
        self.chip = chip
        self.lock = threading.RLock()
        self.bytes_moved = 0
        self._spend = spend
        self._bit_rate = bit_rate

    def open(self, _bus: str) -> "Nt3hBus":
        """Stand in for opening the device node."""
        return self

    def write(self, address: int, data: bytes, /) -> None:
        """START, address, data, STOP; raises OSError as the kernel does."""
        with self.lock:
            self._carry(1 + len(data))
            if address != self.chip.address or not self.chip.i2c_write(data):
                raise _nak()

    def read(self, address: int, count: int, /) -> bytes:
        """START, address, ``count`` bytes, STOP; raises OSError."""
        with self.lock:
            self._carry(1 + count)
            data = self.chip.i2c_read(count) if address == self.chip.address else None
            if data is None:
                raise _nak()
            return data

    def write_read(self, address: int, data: bytes, count: int, /) -> bytes:
        """Write, then read in a transaction of its own; raises OSError."""
        self.write(address, data)
        return self.read(address, count)

    def close(self) -> None:
        """Nothing is held."""

    def _carry(self, count: int) -> None:
        self.bytes_moved += count
        self._spend((count * BITS_A_BYTE + 2) / self._bit_rate)
        if self.chip.faults.stuck:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def _nak() -> OSError:
    return OSError(errno.ENXIO, os.strerror(errno.ENXIO))


@dataclass(frozen=True, slots=True)
class ReadOutcome:
    """How a phone fared; times are CLOCK_MONOTONIC seconds, ``seen`` is None where it read nothing."""

    seen: Seen | None
    came_at: float
    read_at: float | None
    left_at: float


class TagReader:
    """People who hold phones to the chip; one at a time."""

    def __init__(
        self, bus: Nt3hBus, *, rng: random.Random | None = None, dwell_s: float = 0.3, patience_s: float = 2.0
    ) -> None:
        self._bus = bus
        self._rng = rng or random.SystemRandom()
        self._dwell_s = dwell_s
        self._patience_s = patience_s
        self._one_at_a_time = asyncio.Lock()

    async def read(self, step: Step | None = None) -> ReadOutcome:
        """Come, try until the tag was read or patience ends, hold on for a moment, go."""
        async with self._one_at_a_time:
            chip, came_at, seen = self._bus.chip, time.monotonic(), None
            with self._bus.lock:
                chip.field_on()
            read_at = None
            try:
                while seen is None and time.monotonic() - came_at < self._patience_s:
                    seen = await self._try(step or self._rng.choice(tuple(Step)))
                if seen is not None:
                    read_at = time.monotonic()
                    await asyncio.sleep(self._dwell_s)
            finally:
                with self._bus.lock:
                    chip.field_off()
            return ReadOutcome(seen, came_at, read_at, time.monotonic())

    async def run(self, every_s: float, on_read: Callable[[ReadOutcome], None], *, reads: int | None = None) -> None:
        """Read again and again, about every ``every_s`` seconds (half to one and a half), or ``reads`` times."""
        done = 0
        while reads is None or done < reads:
            await asyncio.sleep(every_s * self._rng.uniform(0.5, 1.5))
            on_read(await self.read())
            done += 1

    async def _try(self, step: Step) -> Seen | None:
        """One attempt, the bus free between its commands."""
        phone = reading(step)
        with self._bus.lock:
            if self._bus.chip.activate() is None:
                return None
        try:
            command = next(phone)
            while True:
                await asyncio.sleep(0.002)  # 16 bytes at 106 kbit/s
                with self._bus.lock:
                    answer = self._bus.chip.transceive(command)
                command = phone.send(answer)
        except StopIteration as done:
            seen: Seen = done.value
            return seen
        except (NoTag, Malformed):
            await asyncio.sleep(0.05)
            return None

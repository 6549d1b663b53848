"""Runs inside the Bluetooth machine: the real link over the real BlueZ to an MCU in a virtual air."""

import asyncio
import os
import signal
import statistics
import sys
import time
from pathlib import Path

from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkEvent, LinkState
from firmware_bridge.links.ble import BleLink
from firmware_bridge.protocol import Shown

TARGET = "TAP-MCU"
CUES = 40
STEP_WITHIN_S = 60.0


class Screen:
    """One bridge with the one link, and what was confirmed."""

    def __init__(self) -> None:
        self.link = BleLink("ble0", TARGET, terminal_id="sh-000123-a")
        self.confirmed: list[Shown] = []
        self.bridge = Bridge([self.link], terminal_id="sh-000123-a", on_event=self._heard)
        self._changed = asyncio.Event()

    def _heard(self, _link: str, event: LinkEvent) -> None:
        if isinstance(event, Shown):
            self.confirmed.append(event)
            self._changed.set()

    async def show(self, name: CueName, text: str = "") -> float:
        """Show a cue; seconds until the MCU confirmed it."""
        known = len(self.confirmed)
        self.bridge.show(name, text=text)
        async with asyncio.timeout(STEP_WITHIN_S):
            while not any(shown.cue is name for shown in self.confirmed[known:]):
                self._changed.clear()
                await self._changed.wait()
        return next(shown.after_s for shown in self.confirmed[known:] if shown.cue is name)

    async def until(self, state: LinkState) -> None:
        """Wait for the link to be in this state."""
        async with asyncio.timeout(STEP_WITHIN_S):
            while self.bridge.snapshot()[0].state is not state:  # noqa: ASYNC110 - the bridge tells no event of it
                await asyncio.sleep(0.02)


def step(text: str, since: float) -> None:
    print(f"guest: {text} after {time.monotonic() - since:.2f} s", flush=True)


def peripheral() -> int:
    """Its process id."""
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        if b"nus_peripheral" in found.read_bytes():
            return int(found.parent.name)
    raise ProcessLookupError("no peripheral runs")


async def main() -> None:
    screen = Screen()
    running = asyncio.create_task(screen.bridge.run())
    start = time.monotonic()
    await screen.until(LinkState.UP)
    step(f"link up, {screen.bridge.snapshot()[0].firmware}", start)
    await screen.show(CueName.THANKS, "谢谢 " * 10)
    took = [await screen.show(CueName.READING if number % 2 else CueName.THANKS) for number in range(CUES)]
    took_ms = statistics.median(took) * 1000
    step(f"{CUES} cues confirmed, {took_ms:.0f} ms median", start)
    os.kill(peripheral(), signal.SIGUSR1)
    start = time.monotonic()
    await screen.until(LinkState.DOWN)
    step("peripheral gone: link down", start)
    await screen.until(LinkState.UP)
    step("peripheral back: link up by itself", start)
    await screen.show(CueName.IDENTIFY)
    step("identify confirmed", start)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print("guest: all passed", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

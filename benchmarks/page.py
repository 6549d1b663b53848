"""The page in a real Chromium without a GPU: what it costs while nobody taps, and a cue's way to the frame.

The browser counts whole: every process of it, next to the same browser with an empty page.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path
from statistics import median, quantiles

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.figures import Figure
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.web import WebLink
from tests.fakes.shown_page import ARGUMENTS
from tests.system_parts import PARTS

SIZE = (1080, 1920)
FULL = "?bg=%230a1022"
# Three rounds of the invitation's loop.
IDLE_S = 27.0
CUES = 300
_SETTLE_S = 3.0
# A frame is there when the work behind its callback is done: the message comes after the paint.
_NOTE_FRAMES = """() => {
    window.frames_ = [];
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => frames_.push(performance.timeOrigin + performance.now());
    new MutationObserver(() => requestAnimationFrame(() => port2.postMessage(0)))
        .observe(document.getElementById("stage"), { attributeFilter: ["data-cue"] });
}"""


def run() -> list[Figure]:
    """Measure everything; about two minutes."""
    return asyncio.run(_run())


async def _run() -> list[Figure]:
    chromium = PARTS["chromium"].find()
    if chromium is None:
        raise SystemExit(f"no Chromium on this machine: {PARTS['chromium'].how_to}")
    link = WebLink("page", 0, terminal_id="bench")
    up = asyncio.Event()
    bridge = Bridge([link], terminal_id="bench", on_wire=lambda *_: up.set())
    running = asyncio.create_task(bridge.run())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            while not link.port:  # noqa: ASYNC110 - the kernel's choice stands there as soon as the link listens
                await asyncio.sleep(0.01)
            empty = await _idle(browser, "about:blank")
            still = await _idle(browser, link.url + FULL, reduced=True)
            full = await _idle(browser, link.url + FULL)
            over = await _idle(browser, link.url)
            ways = await _ways(browser, link.url + FULL, bridge)
        finally:
            await browser.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    middle = median(ways)
    return [
        Figure("Chromium with an empty page: idle CPU", empty, "% of core"),
        Figure("page at rest, full screen: idle CPU over it", still - empty, "% of core"),
        Figure("page inviting, full screen: idle CPU over it", full - empty, "% of core", "<= 3", ok=full - empty <= 3),
        Figure(
            "page inviting, over an advert: idle CPU over it", over - empty, "% of core", "<= 3", ok=over - empty <= 3
        ),
        Figure("show() to the page's frame, median", middle, "ms", "<= 20", ok=middle <= 20),
        Figure("show() to the page's frame, 99 %", quantiles(ways, n=100)[98], "ms"),
    ]


async def _open(browser: Browser, url: str, *, reduced: bool = False) -> Page:
    context = await browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce" if reduced else "no-preference"
    )
    page = await context.new_page()
    await page.goto(url)
    await asyncio.sleep(_SETTLE_S)
    return page


async def _idle(browser: Browser, url: str, *, reduced: bool = False) -> float:
    page = await _open(browser, url, reduced=reduced)
    used, start = _cpu_s(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    percent = (_cpu_s() - used) / (time.monotonic() - start) * 100
    await page.context.close()
    return percent


def _cpu_s() -> float:
    """CPU seconds so far of all processes below this one."""
    children: dict[int, list[tuple[int, int]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                ticks = int(fields[11]) + int(fields[12])
                children.setdefault(int(fields[1]), []).append((int(entry.name), ticks))
    total, below = 0, [os.getpid()]
    while below:
        for pid, ticks in children.get(below.pop(), []):
            total += ticks
            below.append(pid)
    return total / os.sysconf("SC_CLK_TCK")


async def _ways(browser: Browser, url: str, bridge: Bridge) -> list[float]:
    """Milliseconds from show() to the frame that shows it, for each of a tap's cues in turn."""
    page = await _open(browser, url)
    await page.evaluate(_NOTE_FRAMES)
    shown: list[float] = []
    for number in range(CUES):
        cue = (CueName.READING, CueName.THANKS, CueName.INVITE)[number % 3]
        shown.append(time.time() * 1000)
        bridge.show(cue, text="a coupon", amount="¥2.00" if cue is CueName.THANKS else None)
        await asyncio.sleep(0.15 + 0.017 * (number % 7) / 7)  # at no fixed moment of the screen's own beat
    frames = await page.evaluate("frames_")
    await page.context.close()
    assert len(frames) == len(shown), f"{len(frames)} frames of {len(shown)} cues"
    return [frame - start for start, frame in zip(shown, frames, strict=True)]

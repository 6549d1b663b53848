"""The page as a real browser shows it: a bridge with a page's link, windows on it, and what is measured in them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import segno
from playwright.async_api import Browser, Page

from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Advert, CueName
from firmware_bridge.links.web import WebLink
from tests.fakes.camera import read_grey
from tests.fakes.waiting import eventually

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A slow machine makes these tests slow, never red.
PATIENCE_MS = 20_000
FULL = "&bg=%23101828"
SIZES = ((1080, 1920), (1920, 1080), (800, 480))
SCREENS = [
    (1080, 1920, "zh-CN", ""),
    (1920, 1080, "en", FULL),
    (800, 480, "zh-CN", ""),
    (800, 480, "en", ""),
]
EMPTY = "about:blank"
URL = "https://t.example.net/k/" + "AZ-_z9b3Qx" * 11 + "AbCdE"
LONG_MS = 3_600_000


@asynccontextmanager
async def bridge_with_page(port: int = 0) -> AsyncIterator[tuple[Bridge, WebLink]]:
    link = WebLink("page", port, terminal_id="sh-1")
    async with bridge_over(link) as bridge:
        yield bridge, link


@asynccontextmanager
async def bridge_over(link: WebLink) -> AsyncIterator[Bridge]:
    bridge = Bridge([link], terminal_id="sh-1")
    task = asyncio.create_task(bridge.run())
    try:
        await eventually(lambda: bridge.snapshot()[0].state == "up")
        yield bridge
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def open_page(browser: Browser, url: str, size: tuple[int, int] = (800, 480)) -> tuple[Page, list[str]]:
    """The browser's first page, and everything that it complains about (a blocked resource, a script error)."""
    page = browser.contexts[0].pages[0]  # a new one costs three times as much
    assert page.url == EMPTY, "one of these to a test"
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    await page.wait_for_selector("[data-live=yes]")
    return page, complaints


async def resize(page: Page, size: tuple[int, int]) -> None:
    """Another screen; comes back when the page has arranged itself on it."""
    width, height = size
    seen = page.evaluate(
        """async ([width, height]) => {
            while (innerWidth !== width || innerHeight !== height) await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
        }""",
        [width, height],
    )
    await asyncio.gather(page.set_viewport_size({"width": width, "height": height}), seen)


def put(bridge: Bridge, cue: CueName, *, text: str = "", amount: str | None = None) -> None:
    """Show a cue the way that it comes about: `quiet` is what an advert without a reward asks for."""
    if cue is CueName.QUIET:
        calm(bridge)
        bridge.set_advert(Advert(reward=False))
    else:
        bridge.show(cue, text=text, amount=amount)


def calm(bridge: Bridge) -> None:
    """Back to the invitation, whatever was shown; only time ends an identify."""
    bridge._machine._identify = None
    bridge.set_advert(Advert())
    bridge.show(CueName.INVITE)


def code_of(text: str) -> list[str]:
    """As the agent makes it of a ticket's link, which this package knows nothing of."""
    return ["".join("01"[module] for module in row) for row in segno.make_qr(text, error="l").matrix]


async def assert_inside(page: Page) -> None:
    """Nothing that carries words is cut off by the screen's edge or its card, and none lies upon another."""
    wrong = await page.evaluate(
        """() => {
            for (const moves of document.getAnimations()) {
                if (Number.isFinite(moves.effect.getComputedTiming().endTime)) moves.finish();
                else moves.cancel();
            }
            const shown = (part) => part.checkVisibility({ visibilityProperty: true })
                && part.getBoundingClientRect().width > 0;
            const within = (box, room) => box.left >= room.left - 1 && box.right <= room.right + 1
                && box.top >= room.top - 1 && box.bottom <= room.bottom + 1;
            const of = (part) => part.getBoundingClientRect();
            const lines = ["title", "amount", "hint", "notice"].map((id) => document.getElementById(id)).filter(shown);
            const cards = [...document.querySelectorAll(".panel, #corner, #ticket, #code, #scan")].filter(shown);
            const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
            const wrong = [
                ...cards.filter((part) => !within(of(part), screen)),
                ...lines.filter((part) => !within(of(part), of(document.querySelector(".panel")))),
                ...[...lines, ...cards.filter((part) => part.id)].filter((part) =>
                    part.scrollWidth > part.clientWidth + 1),
                ...lines.filter((part, at) => at && of(part).top < of(lines[at - 1]).bottom - 1),
            ];
            return wrong.map((part) => part.id || part.className);
        }"""
    )
    assert wrong == [], f"cut off or covered: {wrong}"


async def photographed(page: Page, *, scale: float = 1.0) -> list[str]:
    """What a camera reads off the whole screen; the browser takes its own picture of it apart into grey pixels."""
    shot = base64.b64encode(await page.screenshot()).decode("ascii")
    lab = await page.context.browser.new_page()  # type: ignore[union-attr] # a page of a browser has one
    width, height, grey = await lab.evaluate(
        """async ([shot, scale]) => {
            const picture = new Image();
            picture.src = "data:image/png;base64," + shot;
            await picture.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [picture.width * scale, picture.height * scale].map(Math.floor);
            const paper = canvas.getContext("2d");
            paper.imageSmoothingQuality = "high";
            paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
            const { data } = paper.getImageData(0, 0, canvas.width, canvas.height);
            const grey = Uint8Array.from({ length: data.length / 4 }, (_, at) => data[4 * at + 1]);
            const blob = new FileReader();
            const done = new Promise((resolve) => { blob.onload = () => resolve(blob.result.split(",")[1]); });
            blob.readAsDataURL(new Blob([grey]));
            return [canvas.width, canvas.height, await done];
        }""",
        [shot, scale],
    )
    await lab.close()
    return read_grey(base64.b64decode(grey), width, height)

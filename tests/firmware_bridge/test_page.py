"""The page in a real Chromium: every cue in both languages; a lost stream, a restarted server, a host that hangs."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio
import segno
from playwright.async_api import Browser, Page, async_playwright, expect

from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import Advert, Cue, CueName
from firmware_bridge.links.web import WebLink
from firmware_bridge.loopback import Send
from tests.conftest import require_system
from tests.fakes.camera import QUIET, read_grey
from tests.fakes.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

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
TITLES = {
    "zh-CN": {
        CueName.INVITE: "手机碰一碰",
        CueName.READING: "请保持不动",
        CueName.THANKS: "谢谢\uff01",
        CueName.UNLOCK: "请先解锁手机",
        CueName.RETRY: "再碰一次",
        CueName.RESTING: "休息一下",
        CueName.FAULT: "暂时无法使用",
        CueName.IDENTIFY: "sh-1",
    },
    "en": {
        CueName.INVITE: "Tap your phone here",
        CueName.READING: "Hold still",
        CueName.THANKS: "Thank you!",
        CueName.UNLOCK: "Unlock your phone",
        CueName.RETRY: "Tap once more",
        CueName.RESTING: "Taking a break",
        CueName.FAULT: "Not available now",
        CueName.IDENTIFY: "sh-1",
    },
}
SCREENS = [
    (1080, 1920, "zh-CN", ""),
    (1920, 1080, "en", "&bg=%23101828"),
    (800, 480, "zh-CN", ""),
    (800, 480, "en", ""),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_system("chromium"), args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _close_pages(browser: Browser) -> AsyncIterator[None]:
    yield
    for context in browser.contexts:
        await context.close()


@asynccontextmanager
async def bridge_with_page(port: int = 0) -> AsyncIterator[tuple[Bridge, WebLink]]:
    link = WebLink("page", port, terminal_id="sh-1")
    bridge = Bridge([link], terminal_id="sh-1")
    task = asyncio.create_task(bridge.run())
    try:
        await eventually(lambda: bridge.snapshot()[0].state == "up")
        yield bridge, link
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


URL = "https://t.example.net/k/" + "AZ-_z9b3Qx" * 11 + "AbCdE"
SCAN = {"zh-CN": "没有 NFC\uff1f扫一扫", "en": "No NFC? Scan me"}
LONG_MS = 3_600_000


def code_of(text: str) -> list[str]:
    """As the agent makes it of a ticket's link, which this package knows nothing of."""
    return ["".join("01"[module] for module in row) for row in segno.make_qr(text, error="l").matrix]


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


async def open_page(browser: Browser, url: str, size: tuple[int, int] = (800, 480)) -> tuple[Page, list[str]]:
    """The page, and everything that the browser complains about (a blocked resource, a script error)."""
    page = await browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(url)
    await page.wait_for_selector("[data-live=yes]")
    return page, complaints


@pytest.mark.parametrize(("width", "height", "lang", "query"), SCREENS)
async def test_every_cue_is_shown(
    browser: Browser, tmp_path: Path, width: int, height: int, lang: str, query: str
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, f"{link.url}?lang={lang}{query}", (width, height))
        for cue, title in TITLES[lang].items():
            bridge.show(cue, text="reader lost" if cue is CueName.FAULT else "")
            await page.wait_for_selector(f"[data-cue={cue}]")
            assert await page.locator("#title").text_content() == title
            await assert_inside(page)
            shot = tmp_path / f"{cue}.png"
            await page.screenshot(path=shot)
            assert shot.stat().st_size > 2000
        assert complaints == []


async def assert_inside(page: Page) -> None:
    """Nothing that carries words is cut off by the screen's edge or by a neighbour."""
    outside = await page.evaluate(
        """() => [...document.querySelectorAll(
            ".panel, #title, #hint, #notice, #amount, #corner, #ticket, #code, #scan"
        )].filter((part) => {
            const box = part.getBoundingClientRect();
            return box.width > 0 && (box.left < 0 || box.top < 0 || box.right > innerWidth + 1
                || box.bottom > innerHeight + 1
                || (part.id && part.scrollWidth > part.clientWidth + 1));
        }).map((part) => part.id || part.className)"""
    )
    assert outside == []


CODE_SCREENS = [
    (width, height, lang, background)
    for width, height in ((1080, 1920), (1920, 1080), (800, 480))
    for lang, background in (("zh-CN", ""), ("en", ""), ("en", "&bg=%23101828"))
]


@pytest.mark.parametrize(("width", "height", "lang", "background"), CODE_SCREENS)
async def test_a_camera_reads_the_ticket_off_the_page(
    browser: Browser, width: int, height: int, lang: str, background: str
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, f"{link.url}?lang={lang}{background}", (width, height))
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        assert await page.locator("#scan").text_content() == SCAN[lang]
        assert await photographed(page, scale=0.6) == [URL], "from some way off"
        await assert_inside(page)
        card = await page.evaluate(
            """() => {
                const box = (part) => document.querySelector(part).getBoundingClientRect();
                const [card, code, panel] = [box("#ticket"), box("#code"), box(".panel")];
                const side = document.getElementById("code").viewBox.baseVal.width;
                const share = code.width / Math.min(innerWidth, innerHeight);
                const apart = panel.right <= card.left || panel.bottom <= card.top || card.bottom <= panel.top;
                return { pixels: code.width / side, side, share, apart };
            }"""
        )
        assert card["side"] == len(code_of(URL)) + 2 * QUIET
        assert card["pixels"] == int(card["pixels"]) >= 5, "modules of whole pixels, none wider than the other"
        assert card["share"] > 0.38
        assert card["apart"], "it covers nothing of the invitation"
        assert complaints == []


@pytest.mark.parametrize(("width", "height", "lang", "query"), SCREENS)
async def test_the_code_is_there_with_the_invitation_only_and_pushes_nothing_off_the_screen(
    browser: Browser, width: int, height: int, lang: str, query: str
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, f"{link.url}?lang={lang}{query}", (width, height))
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        left = await page.evaluate("document.querySelector('.panel').getBoundingClientRect().left")
        for cue in set(CueName) - {CueName.INVITE}:
            put(bridge, cue, text="优惠券" * 20, amount="¥1234567.00" if cue is CueName.THANKS else None)
            await page.wait_for_selector(f"[data-cue={cue}]")
            await page.wait_for_selector("#ticket", state="hidden")
            if cue is CueName.READING:
                assert await photographed(page) == []
            await assert_inside(page)
            assert await page.evaluate("document.querySelector('.panel').getBoundingClientRect().left") == left
            calm(bridge)
        await page.wait_for_selector("#ticket", state="visible")
        bridge.show_ticket(None, 0)
        await page.wait_for_selector("[data-ticket=no]")
        assert await photographed(page) == []
        assert complaints == []


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


async def test_a_code_is_gone_when_its_life_is_over_and_a_new_one_takes_its_place(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        bridge.show_ticket(code_of(URL + "?2"), LONG_MS)
        await eventually_reads(page, [URL + "?2"])
        bridge.show_ticket(code_of(URL), 300)
        await page.wait_for_selector("[data-ticket=no]")
        assert await page.evaluate("document.querySelector('#code path').hasAttribute('d')") is False
        assert await page.locator("#stage").get_attribute("data-live") == "yes", "the invitation goes on"


async def eventually_reads(page: Page, texts: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while await photographed(page) != texts:
            pass


async def test_a_code_is_gone_with_the_stream_and_comes_back_with_an_agent_that_shows_it(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        port = link.port
        bridge.show_ticket(code_of(URL), LONG_MS)
        page, _ = await open_page(browser, link.url)
        await page.wait_for_selector("#ticket", state="visible")
    await page.wait_for_selector("[data-ticket=no]")
    assert await page.evaluate("document.querySelector('#code path').hasAttribute('d')") is False
    async with bridge_with_page(port) as (bridge, _):
        await page.wait_for_selector("[data-live=yes]")
        assert await page.locator("#stage").get_attribute("data-ticket") == "no"
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")


async def test_a_code_is_gone_as_soon_as_the_stream_breaks_not_only_when_it_was_silent_for_long(
    browser: Browser,
) -> None:
    async with bridge_with_page() as (bridge, link):
        bridge.show_ticket(code_of(URL), LONG_MS)
        page, _ = await open_page(browser, link.url)
        await page.wait_for_selector("#ticket", state="visible")
        await page.evaluate("() => { const now = performance.now(); performance.now = () => now; }")
    await page.wait_for_selector("[data-live=yes][data-ticket=no]")


async def test_a_code_stands_still(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        context = await browser.new_context(reduced_motion="reduce")
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        assert await page.evaluate("document.getAnimations().length") == 0


@pytest.mark.parametrize("ratio", [1.25, 2.0])
async def test_a_screen_with_a_scale_of_its_own_gets_whole_pixels_too(browser: Browser, ratio: float) -> None:
    async with bridge_with_page() as (bridge, link):
        context = await browser.new_context(viewport={"width": 800, "height": 480}, device_scale_factor=ratio)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        width = await page.evaluate("document.getElementById('code').getBoundingClientRect().width")
        pixels = width * ratio / (len(code_of(URL)) + 2 * QUIET)
        assert pixels == pytest.approx(round(pixels), abs=0.01)
        assert await photographed(page) == [URL]


async def test_the_words_of_a_reward_are_text_never_markup(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, link.url)
        bridge.show(CueName.THANKS, text="<img src=x onerror=alert(1)> 优惠券" + "长" * 60, amount="¥1234567.00")
        await page.wait_for_selector("[data-cue=thanks]")
        assert await page.locator("#amount").text_content() == "¥1234567.00"
        assert (await page.locator("#hint").text_content() or "").startswith("<img src=x")
        assert await page.locator("#notice").text_content() == "碰一碰不会扣款"
        await assert_inside(page)
        assert complaints == []


async def test_a_fault_withdraws_the_invitation_and_marks_the_corner(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.set_lasting(CueName.FAULT, True, text="reader lost")
        await expect(page.locator("#corner")).to_have_text("reader lost", timeout=PATIENCE_MS)
        await expect(page.locator(".panel")).to_be_hidden(timeout=PATIENCE_MS)
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgba(0, 0, 0, 0)"


async def test_a_lost_stream_shows_the_static_invitation_and_a_new_server_brings_the_page_back(
    browser: Browser,
) -> None:
    async with bridge_with_page() as (bridge, link):
        port = link.port
        page, _ = await open_page(browser, link.url)
        bridge.show(CueName.IDENTIFY)
        await page.wait_for_selector("[data-cue=identify][data-live=yes]")
        # The browser's own clock measures from the moment the connection broke: a slow test runner does not count.
        await page.evaluate(
            """() => {
                let start;
                const probe = new EventSource("/events");
                probe.onerror = () => { start = performance.now(); probe.close(); };
                new MutationObserver((_, observer) => {
                    if (stage.dataset.live !== "no") return;
                    window.lostAfter = performance.now() - start;
                    observer.disconnect();
                }).observe(document.getElementById("stage"), { attributes: true });
            }"""
        )
    await page.wait_for_selector("[data-cue=invite][data-live=no]")
    assert await page.evaluate("window.lostAfter") <= 3000
    assert await page.evaluate("document.getAnimations().length") == 0
    async with bridge_with_page(port) as (bridge, _):
        bridge.set_lasting(CueName.RESTING, True)
        await page.wait_for_selector("[data-cue=resting][data-live=yes]")
    # Without the stream nobody can take a tap: what rested goes on resting.
    await page.wait_for_selector("[data-cue=resting][data-live=no]")


async def test_a_host_that_hangs_is_noticed_although_the_connection_stays(browser: Browser) -> None:
    silent = asyncio.Event()

    class HangingLink(WebLink):
        async def _stream(self, send: Send) -> None:
            async def hanging(text: str) -> None:
                if silent.is_set():
                    await asyncio.get_running_loop().create_future()
                await send(text)

            await super()._stream(hanging)

    link = HangingLink("page", 0, terminal_id="sh-1")
    bridge = Bridge([link], terminal_id="sh-1")
    task = asyncio.create_task(bridge.run())
    try:
        await eventually(lambda: bridge.snapshot()[0].state == "up")
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        silent.set()
        await page.wait_for_selector("[data-live=no][data-ticket=no]")
        silent.clear()
        await page.wait_for_selector("[data-live=yes][data-code=yes]")
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_cue_ends_by_itself_when_nobody_says_another(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("[data-code=yes]")
        link.show(Cue(CueName.READING, ttl_ms=300))  # past the cue machine, which would send the invitation itself
        await page.wait_for_selector("[data-cue=reading]")
        await page.wait_for_selector("[data-cue=invite][data-live=no][data-code=no]")
        bridge.show(CueName.THANKS)
        await page.wait_for_selector("[data-cue=thanks][data-live=yes]")


async def test_reduced_motion_stands_still(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        context = await browser.new_context(reduced_motion="reduce")
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(link.url)
        for cue in CueName:
            put(bridge, cue)
            await page.wait_for_selector(f"[data-cue={cue}][data-live=yes]")
            assert await page.evaluate("document.getAnimations().length") == 0
        await context.close()


async def test_only_the_compositor_animates(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        for cue in (CueName.INVITE, CueName.READING, CueName.THANKS, CueName.UNLOCK, CueName.RETRY):
            bridge.show(cue)
            await page.wait_for_selector(f"[data-cue={cue}]" + ("[data-moment=yes]" if cue is CueName.INVITE else ""))
            properties = await page.evaluate(
                """() => [...new Set(document.getAnimations().flatMap((animation) => animation.effect.getKeyframes()
                    .flatMap((frame) => Object.keys(frame))))]"""
            )
            assert set(properties) <= {"transform", "opacity", "offset", "computedOffset", "easing", "composite"}
            assert "transform" in properties


async def test_a_page_from_elsewhere_cannot_read_the_stream(browser: Browser) -> None:
    async with bridge_with_page() as (_, link), bridge_with_page() as (_, other):
        policy_free = await browser.new_page(bypass_csp=True)
        await policy_free.goto(other.url)
        outcome = await policy_free.evaluate(
            """(url) => new Promise((done) => {
                const source = new EventSource(url);
                source.onopen = () => done("open");
                source.onerror = () => done("refused");
            })""",
            link.url + "events",
        )
        assert outcome == "refused"

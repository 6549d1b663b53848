"""The QR code on the page, in a real Chromium: read by a camera, with the invitation only, never over its time."""

import asyncio

import pytest
from playwright.async_api import Browser, Page

from firmware_bridge.cues import CueName
from tests.fakes.camera import QUIET
from tests.fakes.shown_page import (
    FULL,
    LONG_MS,
    PATIENCE_MS,
    SCREENS,
    SIZES,
    URL,
    assert_inside,
    bridge_with_page,
    calm,
    code_of,
    open_page,
    photographed,
    put,
)

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

SCAN = {"zh-CN": "没有 NFC\uff1f扫一扫", "en": "No NFC? Scan me"}
# Each size over an advert, in the language whose words are longer, and on a page of its own, the languages in turn.
CODE_SCREENS = [
    (*size, lang, background)
    for size, own in zip(SIZES, ("zh-CN", "en", "zh-CN"), strict=True)
    for lang, background in (("en", ""), (own, FULL))
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
            await assert_inside(page)
            assert await page.evaluate("document.querySelector('.panel').getBoundingClientRect().left") == left
            calm(bridge)
        await page.wait_for_selector("#ticket", state="visible")
        bridge.show_ticket(None, 0)
        await page.wait_for_selector("[data-ticket=no]")
        assert complaints == []


async def test_a_camera_reads_no_code_while_a_phone_is_read_or_when_there_is_none(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        bridge.show(CueName.READING)
        await page.wait_for_selector("#ticket", state="hidden")
        assert await photographed(page) == []
        bridge.show(CueName.INVITE)
        await page.wait_for_selector("#ticket", state="visible")
        bridge.show_ticket(None, 0)
        await page.wait_for_selector("[data-ticket=no]")
        assert await photographed(page) == []


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

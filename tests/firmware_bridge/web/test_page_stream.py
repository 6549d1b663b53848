"""The page and its stream, in a real Chromium: lost, silent, refused, or a cue that nobody takes back."""

import asyncio

import pytest
from playwright.async_api import Browser, Page

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links.web import WebLink
from firmware_bridge.loopback import Send
from tests.fakes.shown_page import LONG_MS, URL, bridge_over, bridge_with_page, code_of, open_page

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]


async def silence_is_over(page: Page) -> None:
    """As if the page had been waiting for its stream all the time that it waits."""
    await page.evaluate("heardAt -= STREAM_LOST_MS")


async def test_a_lost_stream_shows_the_static_invitation_and_a_new_server_brings_the_page_back(
    browser: Browser,
) -> None:
    async with bridge_with_page() as (bridge, link):
        port = link.port
        page, _ = await open_page(browser, link.url)
        bridge.show(CueName.IDENTIFY)
        await page.wait_for_selector("[data-cue=identify][data-live=yes]")
        # The browser's own clock measures from the moment the connection broke: a slow test runner does not count, nor
        # what a loaded machine holds up another timer of the page meanwhile.
        await page.evaluate(
            """() => {
                let start, late = 0, last = performance.now();
                const tick = () => { late = Math.max(late, performance.now() - last - 100); last = performance.now(); };
                setInterval(tick, 100);
                const probe = new EventSource("/events");
                probe.onerror = () => { start = performance.now(); probe.close(); };
                new MutationObserver((_, observer) => {
                    if (stage.dataset.live !== "no") return;
                    tick();
                    window.lostAfter = performance.now() - start - late;
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
    await silence_is_over(page)
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
    async with bridge_over(link) as bridge:
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        silent.set()
        await page.wait_for_selector("[data-live=no][data-ticket=no]")
        silent.clear()
        await silence_is_over(page)
        await page.wait_for_selector("[data-live=yes][data-code=yes]")


async def test_a_cue_ends_by_itself_when_nobody_says_another(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nor does the cue machine, which sends the invitation again each four seconds; and no time is lost on the way.
    monkeypatch.setattr("firmware_bridge.cues.BASE_TTL_S", 65.0)
    monkeypatch.setattr("firmware_bridge.cues.BASE_RESEND_S", 60.0)
    link = WebLink("page", 0, terminal_id="sh-1", clock=lambda: 100.0)
    async with bridge_over(link) as bridge:
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("[data-code=yes]")
        await page.evaluate(
            """() => new MutationObserver(() => { window.read ||= stage.dataset.cue === "reading"; })
                .observe(document.getElementById("stage"), { attributes: true })"""
        )
        link.show(Cue(CueName.READING, ttl_ms=300))  # past the cue machine, which would send the invitation itself
        await page.wait_for_selector("[data-cue=invite][data-live=no][data-code=no]")
        assert await page.evaluate("window.read") is True
        bridge.show(CueName.THANKS)
        await page.wait_for_selector("[data-cue=thanks][data-live=yes]")


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

"""What moves on the page, and what it costs over a long time, in a real Chromium."""

import asyncio

import pytest
from playwright.async_api import Browser, CDPSession

from firmware_bridge.cues import CueName
from tests.fakes.shown_page import FULL, PATIENCE_MS, bridge_with_page, open_page, put

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

MOVING = {
    CueName.INVITE: {"transform", "opacity"},
    CueName.READING: {"transform"},
    CueName.THANKS: {"transform", "opacity"},
    CueName.UNLOCK: {"transform"},
    CueName.RETRY: {"transform"},
    CueName.IDENTIFY: {"opacity"},
}
# Waits, in the page itself, for what moves; then what of it is animated, and whether none is a part of an SVG. The
# phone of the invitation moves for a second and a half: whoever only looks afterwards may come too late.
MOVES = """async (some) => {
    while (some && !document.getAnimations().length) await new Promise(requestAnimationFrame);
    const moves = document.getAnimations();
    const frames = moves.flatMap((animation) => animation.effect.getKeyframes());
    const whole = moves.every((animation) => !animation.effect.target.ownerSVGElement);
    return [[...new Set(frames.flatMap((frame) => Object.keys(frame)))], whole];
}"""
# A tap each ten seconds: a phone comes, is thanked, the invitation is back; and the invitation is said again each 4 s.
EIGHT_HOURS = 8 * 3600 // 10 * 3 + 8 * 3600 // 4
FEED = """async (changes) => {
    const names = ["reading", "thanks", "invite", "unlock", "invite", "reading", "retry", "invite", "identify",
        "resting", "fault", "quiet"];
    const tell = (kind, data) => source.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) }));
    for (let at = 0; at < changes; at += 1) {
        const row = (y) => (at * 7919 + y).toString(2).padStart(45, "1");
        const rows = at % 3 ? Array.from({ length: 45 }, (_, y) => row(y)) : null;
        if (at % 50 === 0) tell("ticket", { rows, ttl_ms: 60000 });
        tell("cue", {
            cue: names[at % names.length], text: `text ${at}`, amount: at % 2 ? `¥${at}` : null, ttl_ms: 60000,
            level: 40 + (at % 61), words: { "zh-CN": `${at}`, en: "" }, colours: at % 5 ? null : ["#35f0b2", "#22b4ff"],
        });
        if (at % 250 === 0) connect();
        if (at % 50 === 0) await new Promise((drawn) => requestAnimationFrame(drawn));
    }
}"""


@pytest.mark.parametrize("changes", [1000, pytest.param(EIGHT_HOURS, marks=pytest.mark.proof)])
async def test_hours_of_cues_leave_no_more_memory_nodes_or_listeners_behind(browser: Browser, changes: int) -> None:
    async with bridge_with_page() as (_, link):
        page, complaints = await open_page(browser, f"{link.url}?{FULL}")
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable")
        await page.evaluate(FEED, 400)
        before = await measured(session)
        await page.evaluate(FEED, changes)
        after = await measured(session)
        assert after["Nodes"] <= before["Nodes"] + 20
        assert after["JSEventListeners"] <= before["JSEventListeners"] + 10
        assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + 300_000
        assert complaints == []


async def measured(session: CDPSession) -> dict[str, float]:
    """After three collections: what only the page's own memory holds."""
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    told = await session.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in told["metrics"]}


async def test_reduced_motion_stands_still(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        context = await browser.new_context(reduced_motion="reduce")
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(link.url)
        for cue in CueName:
            put(bridge, cue)
            await page.wait_for_selector(f"[data-cue={cue}][data-live=yes]")
            await page.evaluate("stage.dataset.moment = 'yes'")
            assert await page.evaluate("document.getAnimations().length") == 0
            assert await page.evaluate("getComputedStyle(document.querySelector('.phone')).willChange") == "auto"


async def test_only_the_compositor_animates(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        for cue in CueName:
            put(bridge, cue)
            await page.wait_for_selector(f"[data-cue={cue}]")
            async with asyncio.timeout(PATIENCE_MS / 1000):
                properties, whole = await page.evaluate(MOVES, cue in MOVING)
            assert set(properties) - {"offset", "computedOffset", "easing", "composite"} == MOVING.get(cue, set())
            assert whole, "a part of an SVG is drawn again for each frame"


async def test_nothing_is_animated_between_two_moments_of_the_invitation(browser: Browser) -> None:
    async with bridge_with_page() as (_, link):
        page, _ = await open_page(browser, link.url)
        await page.evaluate("momentAt -= MOMENT_EVERY_MS")
        async with asyncio.timeout(PATIENCE_MS / 1000):
            assert (await page.evaluate(MOVES, True))[0] != []
        await page.evaluate("momentAt -= MOMENT_MS")
        await page.wait_for_selector("[data-moment=no]")
        assert await page.evaluate("document.getAnimations().length") == 0


async def test_the_same_answer_to_another_tap_moves_again(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.show(CueName.THANKS, text="a coupon")
        await page.wait_for_selector("[data-cue=thanks]")
        await page.evaluate("document.getAnimations().forEach((moves) => { moves.pause(); moves.currentTime = 1500; })")
        bridge.show(CueName.THANKS, text="a coupon")
        # Paused, they stand where they were begun anew.
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not await page.evaluate("document.getAnimations().every((moves) => moves.currentTime === 0)"):
                pass

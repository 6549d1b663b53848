"""The page in a real Chromium: each cue, language and layout, the advert's words and colours, long texts."""

import base64
import re

import pytest
from playwright.async_api import Browser, Page, expect

from firmware_bridge.cues import Advert, Cue, CueName, Words
from tests.fakes.shown_page import (
    FULL,
    LONG_MS,
    PATIENCE_MS,
    SIZES,
    URL,
    assert_inside,
    bridge_with_page,
    calm,
    code_of,
    open_page,
    put,
    resize,
)

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="session")]

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
        CueName.QUIET: "",
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
        CueName.QUIET: "",
    },
}
NOTICE = {"zh-CN": "碰一碰不会扣款", "en": "A tap never takes a payment"}
WITH_NOTICE = {CueName.INVITE, CueName.READING, CueName.THANKS, CueName.UNLOCK, CueName.RETRY}
LAYOUTS = [(size, lang, background) for size in SIZES for lang in TITLES for background in ("", FULL)]
# Each size once over an advert and once on a page of its own, the languages in turn: the words in them are the same.
SOME_LAYOUTS = LAYOUTS[0::4] + LAYOUTS[3::4]
# The longest that a campaign may say: 60 characters.
INVITE = Words("现在碰一碰" * 12, "Tap now, and a coffee at the shop downstairs is yours today!")
SAYS = [
    ("恭喜您获得一张优惠券" * 16, "¥1234567.00"),
    ("A coupon for a coffee is in your account; " * 4, "€ 1,234,567.00"),
    ("W" * 160, "W" * 24),
]


@pytest.mark.parametrize(("lang", "background"), [(lang, background) for lang in TITLES for background in ("", FULL)])
async def test_every_cue_is_shown_and_nothing_is_cut_off(browser: Browser, lang: str, background: str) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, f"{link.url}?lang={lang}{background}")
        for cue, title in TITLES[lang].items():
            put(bridge, cue, text="reader lost" if cue is CueName.FAULT else "")
            await page.wait_for_selector(f"[data-cue={cue}]", state="attached")
            assert await page.locator("#title").text_content() == title
            assert await page.locator("#notice").text_content() == (NOTICE[lang] if cue in WITH_NOTICE else "")
            hidden = cue is CueName.QUIET or (cue is CueName.FAULT and not background)
            await expect(page.locator(".panel")).to_be_visible(visible=not hidden, timeout=PATIENCE_MS)
            for size in SIZES:
                await resize(page, size)
                await assert_inside(page)
        assert complaints == []


@pytest.mark.parametrize(("size", "lang", "background"), SOME_LAYOUTS)
async def test_long_words_become_smaller_and_stay_on_their_card(
    browser: Browser, size: tuple[int, int], lang: str, background: str
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, complaints = await open_page(browser, f"{link.url}?lang={lang}{background}", size)
        invite = INVITE.zh if lang == "zh-CN" else INVITE.en
        for rows in (None, code_of(URL)):
            bridge.show_ticket(rows, LONG_MS)
            await page.wait_for_selector(f"[data-ticket={'yes' if rows else 'no'}]")
            calm(bridge)
            bridge.set_advert(Advert(invite=INVITE))
            await expect(page.locator("#title")).to_have_text(invite, timeout=PATIENCE_MS)
            await assert_inside(page)
            for text, amount in SAYS:
                link.show(Cue(CueName.THANKS, text[:160], amount))
                await expect(page.locator("#hint")).to_have_text(text[:160].strip(), timeout=PATIENCE_MS)
                await assert_inside(page)
            bridge.show(CueName.IDENTIFY, text="shanghai-000123-lift-0007 · R-7K3F-92QX-41PZ")
            await page.wait_for_selector("[data-cue=identify]")
            await assert_inside(page)
        assert complaints == []


async def test_the_advert_s_words_are_the_headline_of_its_invitation_and_the_line_below_its_thanks(
    browser: Browser,
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, f"{link.url}?lang=en")
        bridge.set_advert(Advert(Words("碰一碰喝咖啡", "Tap for a coffee"), Words("咖啡在等您", "Your coffee waits")))
        await expect(page.locator("#title")).to_have_text("Tap for a coffee", timeout=PATIENCE_MS)
        assert "hold its back to the reader" in (await page.locator("#hint").text_content() or "")
        bridge.show(CueName.THANKS)
        await expect(page.locator("#hint")).to_have_text("Your coffee waits", timeout=PATIENCE_MS)
        assert await page.locator("#title").text_content() == "Thank you!"
        bridge.show(CueName.THANKS, text="A cake, too")
        await expect(page.locator("#hint")).to_have_text("A cake, too", timeout=PATIENCE_MS)
        bridge.show(CueName.UNLOCK)
        await expect(page.locator("#title")).to_have_text("Unlock your phone", timeout=PATIENCE_MS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("background", ["", FULL])
async def test_a_headline_breaks_between_its_phrases_and_a_long_phrase_between_its_words(
    browser: Browser, size: tuple[int, int], background: str
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, f"{link.url}?{background}", size)
        for said, whole in (
            ("碰一碰 领一杯冬日拿铁", ["碰一碰", "领一杯冬日拿铁"]),
            ("碰一碰领取楼下咖啡店冬日拿铁一杯", ["领取", "楼下", "咖啡店", "冬日", "拿铁", "一杯"]),
        ):
            bridge.set_advert(Advert(Words(said)))
            await expect(page.locator("#title")).to_have_text(said, timeout=PATIENCE_MS)
            lines = await lines_of(page, "title")
            assert "".join(lines).replace(" ", "") == said.replace(" ", "")
            assert [part for part in whole if not any(part in line for line in lines)] == [], lines


async def lines_of(page: Page, part: str) -> list[str]:
    return await page.evaluate(
        """(part) => {
            const lines = new Map();
            const walk = document.createTreeWalker(document.getElementById(part), NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
                for (let at = 0; at < walk.currentNode.length; at += 1) {
                    const range = document.createRange();
                    range.setStart(walk.currentNode, at);
                    range.setEnd(walk.currentNode, at + 1);
                    const top = Math.round(range.getBoundingClientRect().top);
                    lines.set(top, (lines.get(top) ?? "") + range.toString());
                }
            }
            return [...lines.values()];
        }""",
        part,
    )


async def test_a_dim_card_is_darker_and_hides_the_advert_as_well_as_a_bright_one(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bright = await page.screenshot(omit_background=True)
        bridge.set_level(5)
        await page.wait_for_selector("[data-dim=yes]", state="attached")
        dim = await page.screenshot(omit_background=True)
        light, opaque = await page.evaluate(COMPARED, [base64.b64encode(shot).decode() for shot in (bright, dim)])
        assert 0.2 < light < 0.5
        assert 1.0 <= opaque < 1.05
        bridge.set_level(100)
        await page.wait_for_selector("[data-dim=no]", state="attached")


# Of the second picture to the first: the light of all pixels, and how opaque they are.
COMPARED = """async (shots) => {
    const [first, second] = await Promise.all(shots.map(async (shot) => {
        const bytes = Uint8Array.from(atob(shot), (letter) => letter.charCodeAt(0));
        const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
        const paper = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
        paper.drawImage(picture, 0, 0);
        const { data } = paper.getImageData(0, 0, picture.width, picture.height);
        const sums = [0, 0, 0, 0];
        data.forEach((value, at) => { sums[at % 4] += value; });
        return [sums[0] + sums[1] + sums[2], sums[3]];
    }));
    return [second[0] / first[0], second[1] / first[1]];
}"""


async def test_the_ids_of_a_screen_stand_in_the_middle_of_their_frame(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, f"{link.url}?{FULL}", (1080, 1920))
        bridge.show(CueName.IDENTIFY, text="shanghai-000123-lift-0007 · R-7K3F-92QX-41PZ")
        await page.wait_for_selector("[data-cue=identify]")
        above, below = await page.evaluate(
            """() => {
                const [words, frame] = [".words", ".frame"].map((part) =>
                    document.querySelector(part).getBoundingClientRect());
                const hint = document.getElementById("hint").getBoundingClientRect();
                return [words.top - frame.top, frame.bottom - hint.bottom];
            }"""
        )
        assert above == pytest.approx(below, abs=2)


@pytest.mark.parametrize("colours", [("#000080", "#ff0000"), ("#000000", "#FFFFFF"), ("#35f0b2", "#22b4ff")])
async def test_the_advert_s_colours_are_worn_by_what_belongs_to_it_and_can_always_be_read(
    browser: Browser, colours: tuple[str, str]
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.set_advert(Advert(colours=colours))
        for cue in (CueName.INVITE, CueName.READING, CueName.THANKS):
            put(bridge, cue)
            await page.wait_for_selector(f"[data-cue={cue}][style*='--from']")
            for name, asked in zip(("--from", "--to"), colours, strict=True):
                worn = await colour_of(page, name)
                assert contrast(worn, (8, 13, 32)) >= 4.5
                if contrast(channels(asked), (8, 13, 32)) >= 4.5:
                    assert worn == channels(asked), "a colour that can be read is left as it is"
        put(bridge, CueName.RETRY)
        await page.wait_for_selector("[data-cue=retry]:not([style*='--from'])")


async def test_what_is_no_colour_is_not_worn(browser: Browser) -> None:
    async with bridge_with_page() as (_, link):
        page, complaints = await open_page(browser, link.url)
        for number, colours in enumerate((("red", "#12345g"), ("#fff", "#000"), ("url(//x)", "#ffffff"))):
            link.show(Cue(CueName.INVITE, colours=colours, words=Words(f"{number}")))
            await expect(page.locator("#title")).to_have_text(f"{number}", timeout=PATIENCE_MS)
            assert "--from" not in (await page.locator("#stage").get_attribute("style") or "")
        assert complaints == []


async def colour_of(page: Page, name: str) -> tuple[int, ...]:
    value = await page.evaluate("name => getComputedStyle(stage).getPropertyValue(name)", name)
    return tuple(int(number) for number in re.findall(r"\d+", value))


def channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """WCAG 2.2: (lighter + 0.05) / (darker + 0.05) of the relative luminances."""
    shares = [[value / 255 for value in colour] for colour in (one, other)]
    linear = [[s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in colour] for colour in shares]
    dark, light = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (light + 0.05) / (dark + 0.05)


async def test_without_a_reward_nothing_of_ours_is_over_the_advert_and_a_page_of_its_own_asks_for_nothing(
    browser: Browser,
) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, link.url)
        bridge.show_ticket(code_of(URL), LONG_MS)
        await page.wait_for_selector("#ticket", state="visible")
        put(bridge, CueName.QUIET)
        await page.wait_for_selector("[data-cue=quiet]")
        shot = await page.screenshot(omit_background=True)
        await page.goto("about:blank")
        assert shot == await page.screenshot(omit_background=True), "every pixel is transparent"

        await page.goto(f"{link.url}?{FULL}")
        await page.wait_for_selector("[data-cue=quiet][data-live=yes]")
        await expect(page.locator(".panel")).to_be_hidden(timeout=PATIENCE_MS)
        await expect(page.locator("#ticket")).to_be_hidden(timeout=PATIENCE_MS)


@pytest.mark.parametrize(("reader", "arrows"), [("above", True), ("left", True), ("moon", False)])
async def test_arrows_at_the_edge_say_where_the_reader_is(browser: Browser, reader: str, arrows: bool) -> None:
    async with bridge_with_page() as (bridge, link):
        page, _ = await open_page(browser, f"{link.url}?reader={reader}")
        await expect(page.locator("#way")).to_be_visible(visible=arrows, timeout=PATIENCE_MS)
        apart = await page.evaluate(
            """() => {
                const [way, panel] = ["#way", ".panel"].map((part) =>
                    document.querySelector(part).getBoundingClientRect());
                return way.bottom <= panel.top || way.right <= panel.left;
            }"""
        )
        assert apart or not arrows
        await assert_inside(page)
        bridge.show(CueName.READING)
        await expect(page.locator("#way")).to_be_hidden(timeout=PATIENCE_MS)


@pytest.mark.parametrize(
    ("colour", "card"), [("%230a1022", "no"), ("1", "no"), ("white", "yes"), ("rgb(0 0 0 / 20%25)", "yes")]
)
async def test_on_a_light_page_of_its_own_the_words_keep_their_card(browser: Browser, colour: str, card: str) -> None:
    async with bridge_with_page() as (_, link):
        page, _ = await open_page(browser, f"{link.url}?bg={colour}")
        assert await page.locator("body").get_attribute("data-card") == card
        painted = await page.evaluate("getComputedStyle(document.querySelector('.panel')).backgroundImage")
        assert (painted == "none") == (card == "no")
        await assert_inside(page)


async def test_the_page_asks_nobody_but_its_server_and_writes_no_style_into_its_markup(browser: Browser) -> None:
    async with bridge_with_page() as (bridge, link):
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"{link.url}?{FULL}")
        await page.evaluate("addEventListener('securitypolicyviolation', () => { window.violated = true; })")
        for cue in CueName:
            put(bridge, cue, text="text", amount="¥2.00")
            await page.wait_for_selector(f"[data-cue={cue}]", state="attached")
        assert len(asked) >= 4
        assert [url for url in asked if not url.startswith(link.url)] == []
        assert await page.evaluate("window.violated") is None


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

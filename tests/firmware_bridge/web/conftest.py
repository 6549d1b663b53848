"""One Chromium for all of these tests, and one page in it that each test finds empty; all others are closed."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.conftest import require_system
from tests.fakes.shown_page import ARGUMENTS, EMPTY


@pytest.fixture(autouse=True)
def _looked_at_slowly(long_cues: None) -> None:
    """A browser on a loaded machine may need longer to be asked than a cue lasts."""


@pytest_asyncio.fixture(scope="session", loop_scope="session", name="started")
async def _started() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_system("chromium"), args=ARGUMENTS)
        try:
            await browser.new_page()
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(started: Browser) -> AsyncIterator[Browser]:
    yield started
    kept, *others = started.contexts
    for context in others:
        await context.close()
    await kept.pages[0].goto(EMPTY)

"""One Chromium for each module of these tests; its pages are closed after each test."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.conftest import require_system
from tests.fakes.shown_page import ARGUMENTS


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="started")
async def _started() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_system("chromium"), args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(started: Browser) -> AsyncIterator[Browser]:
    yield started
    for context in started.contexts:
        await context.close()

"""Wait for a condition with a generous deadline: a slow machine makes a test slow, never red."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, deadline_s: float = 30.0) -> None:
    """Return as soon as ``condition()`` is true; TimeoutError after the deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition may hang on another process
            await asyncio.sleep(0.005)

"""Cuts off a call that does not return. It must never wait longer than it was told to, whatever the call does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_CANCELS = 3


async def bounded(call: Coroutine[Any, Any, T], within_s: float, *, grace_s: float = 0.5) -> T:
    """Return what ``call`` returns; raises TimeoutError after ``within_s`` seconds.

    A call that is cut off may tidy up for ``grace_s``; what it waits for beyond that is cut off, too, and after three
    times the grace it is left to itself. The same when the caller is cancelled.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task}, timeout=within_s)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        for _ in range(_CANCELS):
            if task.done():
                break
            task.cancel()
            await asyncio.wait({task}, timeout=grace_s)
        task.add_done_callback(_take_result)


def _take_result(task: "asyncio.Task[Any]") -> None:
    """Take an error that nobody waits for any more, so that asyncio does not report it as lost."""
    if not task.cancelled():
        task.exception()

"""A call is cut off in time, whatever it does when it is: tidy up, hang in tidying up, or refuse."""

import asyncio
from contextlib import suppress

import pytest

from firmware_bridge.links.bounded import bounded

HANGS = 3600.0


class Call:
    """Hangs; when cut off it waits ``tidying`` seconds, and once more for each of ``refusals``."""

    def __init__(self, tidying: float = 0.0, refusals: int = 0) -> None:
        self.tidying = tidying
        self.refusals = refusals
        self.task: asyncio.Task[None] | None = None
        self.tidied = False

    async def __call__(self) -> None:
        self.task = asyncio.current_task()
        for _ in range(self.refusals):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(HANGS)
        try:
            await asyncio.sleep(HANGS)
        finally:
            await asyncio.sleep(self.tidying)
            self.tidied = True

    @property
    def ended(self) -> bool:
        return self.task is not None and self.task.done()


async def test_what_returns_in_time_is_returned() -> None:
    async def answer() -> int:
        return 42

    assert await bounded(answer(), HANGS) == 42


async def test_what_fails_in_time_fails() -> None:
    async def fail() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await bounded(fail(), HANGS)


async def test_what_hangs_is_cut_off_and_tidies_up() -> None:
    call = Call()
    with pytest.raises(TimeoutError):
        await bounded(call(), 0.01, grace_s=HANGS)
    assert call.ended
    assert call.tidied


async def test_what_hangs_in_tidying_up_is_cut_off_again() -> None:
    call = Call(tidying=HANGS)
    with pytest.raises(TimeoutError):
        await bounded(call(), 0.01, grace_s=0.02)
    assert call.ended
    assert not call.tidied


async def test_what_refuses_to_end_is_left_to_itself() -> None:
    call = Call(refusals=5)
    with pytest.raises(TimeoutError):
        await bounded(call(), 0.01, grace_s=0.01)
    assert not call.ended
    while not call.ended:
        assert call.task is not None
        call.task.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("tidying", [0.0, HANGS])
async def test_the_end_of_the_caller_is_the_end_of_the_call(tidying: float) -> None:
    call = Call(tidying=tidying)
    caller = asyncio.create_task(bounded(call(), HANGS, grace_s=0.02))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert call.ended


async def test_an_error_of_a_call_that_was_cut_off_is_not_reported_as_lost() -> None:
    async def fails_late() -> None:
        try:
            await asyncio.sleep(HANGS)
        finally:
            raise LookupError("late")

    lost: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: lost.append(context))
    with pytest.raises(TimeoutError):
        await bounded(fails_late(), 0.01)
    await asyncio.sleep(0.01)
    assert lost == []

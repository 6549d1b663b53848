import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from edge_agent.backoff import Backoff
from edge_agent.clock import FakeClock
from edge_agent.errors import ConfigError, KeyFileError
from edge_agent.models import ComponentHealth, ComponentState
from edge_agent.supervision.health import HealthBoard
from edge_agent.supervision.supervisor import Supervisor


class World:
    """A supervisor on a fake clock; a back-off delay passes at once and is written down."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health = HealthBoard()
        self.delays: list[float] = []
        self.supervisor = Supervisor(
            self.clock, self.health, lambda: Backoff(1.0, 30.0, 60.0, Random(1)), sleep=self.sleep
        )

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def seen(self, name: str) -> ComponentHealth:
        return next(part for part in self.health.snapshot(self.clock.monotonic()).components if part.name == name)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- the condition is a plain value, nothing signals it
            await asyncio.sleep(0.001)


async def forever() -> None:
    await asyncio.Event().wait()


def crashing(times: int, error: BaseException | None = None) -> tuple[list[int], Callable[[], Awaitable[None]]]:
    starts: list[int] = []

    async def component() -> None:
        starts.append(len(starts) + 1)
        if len(starts) <= times:
            if error is None:
                return
            raise error
        await forever()

    return starts, component


@pytest.mark.parametrize("error", [ValueError("no\nway"), None, asyncio.CancelledError()])
async def test_a_component_that_ends_is_started_again_and_that_is_visible(error: BaseException | None) -> None:
    world = World()
    starts, component = crashing(3, error)
    world.supervisor.add("reader", component)
    world.supervisor.add("outbox", forever)
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: len(starts) == 4)
    seen = world.seen("reader")
    assert (seen.state, seen.restarts) == (ComponentState.STARTING, 3)
    said = {ValueError: r"ValueError: no\nway", type(None): "ended unexpectedly"}
    assert seen.detail == said.get(type(error), "CancelledError: it cancelled itself")
    assert world.seen("outbox").restarts == 0
    assert len(world.delays) == 3
    assert all(0 <= delay <= cap for delay, cap in zip(world.delays, (1, 2, 4), strict=True))
    assert await world.supervisor.stop() == ()
    await running
    assert world.seen("reader").state == ComponentState.STOPPED


async def test_an_error_of_the_factory_itself_is_a_crash_like_any_other() -> None:
    world = World()
    calls: list[int] = []

    def factory() -> Awaitable[None]:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("not yet")
        return forever()

    world.supervisor.add("reader", factory)
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: len(calls) == 3)
    await world.supervisor.stop()
    await running


@pytest.mark.parametrize("error", [ConfigError(["x: wrong"]), KeyFileError("unreadable")])
async def test_what_a_restart_cannot_heal_ends_everything(error: Exception) -> None:
    world = World()
    closed = asyncio.Event()

    async def other() -> None:
        try:
            await forever()
        finally:
            closed.set()

    starts, component = crashing(1, error)
    world.supervisor.add("other", other)
    world.supervisor.add("issuer", component)
    with pytest.raises(type(error)) as caught:
        await world.supervisor.run()
    assert caught.value is error
    assert starts == [1]
    assert closed.is_set()


async def test_a_component_closes_its_things_before_stop_returns() -> None:
    world = World()
    order: list[str] = []

    def closing(name: str) -> Callable[[], Awaitable[None]]:
        async def component() -> None:
            try:
                await forever()
            finally:
                order.append(name)
                await asyncio.sleep(0.01)
                order.append(f"{name} closed")

        return component

    world.supervisor.add("first", closing("first"))
    world.supervisor.add("second", closing("second"))
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: len(asyncio.all_tasks()) >= 6)
    await asyncio.sleep(0.01)
    assert await world.supervisor.stop() == ()
    assert order[:2] == ["second", "first"]
    assert set(order[2:]) == {"first closed", "second closed"}
    await running


async def test_stop_is_bounded_and_names_who_would_not_end() -> None:
    world = World()
    let_go = asyncio.Event()

    async def stubborn() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    world.supervisor.add("stubborn", stubborn)
    world.supervisor.add("polite", forever)
    running = asyncio.create_task(world.supervisor.run())
    await asyncio.sleep(0.01)
    assert await world.supervisor.stop(timeout_s=0.3) == ("stubborn",)
    assert await world.supervisor.stop() == ("stubborn",)
    let_go.set()
    await running


async def test_cancelling_run_cancels_the_components() -> None:
    world = World()
    ended = asyncio.Event()

    async def component() -> None:
        try:
            await forever()
        finally:
            ended.set()

    world.supervisor.add("reader", component)
    running = asyncio.create_task(world.supervisor.run())
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_stop_interrupts_a_back_off() -> None:
    world = World()
    sleeping = asyncio.Event()

    async def long_sleep(_seconds: float) -> None:
        sleeping.set()
        await forever()

    world.supervisor = Supervisor(world.clock, world.health, Backoff, sleep=long_sleep)
    world.supervisor.add("reader", crashing(1, ValueError("x"))[1])
    running = asyncio.create_task(world.supervisor.run())
    await sleeping.wait()
    assert world.seen("reader").state == ComponentState.FAILED
    assert await world.supervisor.stop() == ()
    await running


async def test_the_error_inside_a_task_group_is_what_is_shown() -> None:
    world = World()

    async def component() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def fail() -> None:
        raise ValueError("no such cue")

    world.supervisor.add("screens", component)
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: world.seen("screens").restarts > 0)
    detail = world.seen("screens").detail
    await world.supervisor.stop()
    await running
    assert detail == "ValueError: no such cue"


async def test_a_component_can_be_started_anew_from_outside_and_says_why() -> None:
    world = World()
    ended: list[str] = []
    starts: list[int] = []

    async def reader() -> None:
        starts.append(1)
        try:
            await forever()
        finally:
            ended.append("closed its things")

    world.supervisor.add("nfc0", reader)
    assert not world.supervisor.restart("nfc0", "not running yet")
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: len(starts) == 1)
    assert world.supervisor.restart("nfc0", "no sign of life")
    assert not world.supervisor.restart("nobody", "no such part")
    await until(lambda: len(starts) == 2)
    assert ended == ["closed its things"]
    assert (world.seen("nfc0").restarts, world.seen("nfc0").detail) == (1, "restarted: no sign of life")
    await world.supervisor.stop()
    assert not world.supervisor.restart("nfc0", "too late")
    await running
    assert world.seen("nfc0").state is ComponentState.STOPPED


async def test_an_error_of_a_part_that_is_being_started_anew_is_not_hidden() -> None:
    world = World()
    errors: list[Exception] = [ValueError("cannot close"), KeyFileError("the key is gone")]

    async def reader() -> None:
        try:
            await forever()
        finally:
            raise errors.pop(0)

    world.supervisor.add("nfc0", reader)
    running = asyncio.create_task(world.supervisor.run())
    await until(lambda: world.supervisor.restart("nfc0", "no sign of life"))
    await until(lambda: world.seen("nfc0").restarts == 1)
    assert "cannot close" in world.seen("nfc0").detail
    await until(lambda: world.supervisor.restart("nfc0", "no sign of life"))
    with pytest.raises(KeyFileError):
        await running

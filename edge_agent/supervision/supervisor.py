"""Runs the parts of the agent and starts again what crashes, with back-off, visibly. Never hides a cancellation.

A wrong configuration or key file cannot heal by a restart: it ends the whole agent, where the operator will see it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from edge_agent.backoff import Backoff
from edge_agent.clock import Clock
from edge_agent.errors import ConfigError, KeyFileError
from edge_agent.logs import Repeats
from edge_agent.sanitize import printable
from edge_agent.supervision.health import HealthBoard

log = structlog.get_logger(__name__)

FATAL = (ConfigError, KeyFileError)
NEWS_AFTER_S = 60.0
"""A crash after so long a run is a new failure, not a repetition."""


@dataclass(frozen=True, slots=True)
class _Component:
    name: str
    factory: Callable[[], Awaitable[None]]


class _Restarted(Exception):
    """Somebody asked for the restart of a component."""


class Supervisor:
    """Owns one task for each component, from `run` to `stop`."""

    def __init__(
        self,
        clock: Clock,
        health: HealthBoard,
        backoff: Callable[[], Backoff],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._health = health
        self._backoff = backoff
        self._sleep = sleep
        self._components: list[_Component] = []
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._restarts: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stuck: tuple[str, ...] = ()

    def add(
        self,
        name: str,
        factory: Callable[[], Awaitable[None]],
        *,
        critical: bool = True,
        deadline_s: float | None = None,
        group: str = "",
    ) -> None:
        """Add a component that runs until it is cancelled; ``factory`` is called anew for each start.

        ``critical``, ``deadline_s`` and ``group`` are HealthBoard's. Components are to be added before `run`.
        """
        self._health.register(name, self._clock.monotonic(), deadline_s=deadline_s, critical=critical, group=group)
        self._components.append(_Component(name, factory))

    async def run(self) -> None:
        """Run all components until `stop`; a component's ConfigError or KeyFileError ends the others and is raised."""
        self._tasks = [asyncio.create_task(self._keep(part), name=part.name) for part in self._components]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            waiting: set[asyncio.Task[object]] = {stopping, *self._tasks}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await self.stop()
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def stop(self, timeout_s: float = 2.0) -> tuple[str, ...]:
        """Cancel all components, the last added first. Returns those that did not end within ``timeout_s`` in all.

        A second call waits for the first one.
        """
        if self._stopping.is_set():
            await self._stopped.wait()
            return self._stuck
        self._stopping.set()
        running = [task for task in reversed(self._tasks) if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        self._stuck = tuple(task.get_name() for task in running if not task.done())
        if self._stuck:
            log.error("components_stuck_at_stop", components=list(self._stuck), waited_s=timeout_s)
        self._stopped.set()
        return self._stuck

    def restart(self, name: str, why: str) -> bool:
        """Cancel a component, which starts it anew as after a crash; False if it does not run at the moment."""
        run = self._runs.get(name)
        if run is None or run.done() or self._stopping.is_set():
            return False
        self._restarts[name] = why
        run.cancel()
        return True

    async def _keep(self, part: _Component) -> None:
        """Run one component for ever; returns never, ends by cancellation or a fatal error."""
        backoff = self._backoff()
        repeats = Repeats(log, "component_crashed", "component_recovered")
        while True:
            started = self._clock.monotonic()
            backoff.succeeded(started)
            error = await self._run_once(part)
            if isinstance(error, FATAL):
                raise error
            now = self._clock.monotonic()
            if now - started >= NEWS_AFTER_S:
                repeats = Repeats(log, "component_crashed", "component_recovered")
            text = _describe(error)
            delay = backoff.next_delay(now)
            self._health.crashed(part.name, now, text)
            trace = None if isinstance(error, _Restarted) else error
            repeats.failed(text, component=part.name, retry_in_s=round(delay, 2), exc_info=trace)
            await self._sleep(delay)
            self._health.restarted(part.name, self._clock.monotonic())

    async def _run_once(self, part: _Component) -> BaseException | None:
        """Run until the component ends; returns its error. Our own cancellation is passed on to it and raised."""
        task = self._runs[part.name] = asyncio.create_task(_await(part.factory), name=f"{part.name} run")
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            # It may need a moment to close its things; a second cancellation of us ends the wait.
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("component_failed_at_stop", component=part.name, error=error)
            self._health.stopped(part.name, self._clock.monotonic())
            raise
        why = self._restarts.pop(part.name, None)
        if why is not None and task.cancelled():
            return _Restarted(why)
        return asyncio.CancelledError("it cancelled itself") if task.cancelled() else task.exception()


async def _await(factory: Callable[[], Awaitable[None]]) -> None:
    await factory()  # in the task, so that an error of the factory itself is a crash like any other


def _describe(error: BaseException | None) -> str:
    if error is None:
        return "ended unexpectedly"
    if isinstance(error, _Restarted):
        return printable(f"restarted: {error}", limit=200)
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a TaskGroup's wrapping says nothing
    return printable(f"{type(error).__name__}: {error}", limit=200)

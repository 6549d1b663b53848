"""Screens that die, readers that are pulled out, parts that crash: taps go on, and what failed comes back by itself."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from edge_agent.readers.service import ReaderState
from edge_agent.tokens.tap_token import parse
from firmware_bridge.cues import CueName, Tick
from tests.fakes.waiting import eventually
from tests.fakes.whole_agent import WEB_SCREEN, WholePath, whole_path

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def taken() -> AsyncIterator[socket.socket]:
    """A port that another program has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(tmp_path_factory: pytest.TempPathFactory, taken: socket.socket) -> AsyncIterator[WholePath]:
    page = WEB_SCREEN.format(port=taken.getsockname()[1])
    async with whole_path(tmp_path_factory.mktemp("faults"), screens=[page]) as running:
        yield running
        await running.all_stored()
        await running.audit()


async def the_screen(path: WholePath, name: str, state: str) -> dict[str, Any]:
    """Wait until the status says this of a screen."""
    while True:
        status = await path.terminal.status()
        screen = next(screen for screen in status["screens"] if screen["name"] == name)
        if screen["state"] == state:
            return dict(screen)
        await asyncio.sleep(0.05)


async def thanks_are_shown(path: WholePath) -> None:
    """Tap until the display shows it: its link may come and go once more before it is really back."""
    terminal = path.terminal
    async with asyncio.timeout(60):
        while True:
            shown = len(terminal.display.cues)
            await terminal.good_tap()
            with contextlib.suppress(TimeoutError):
                await eventually(
                    lambda shown=shown: CueName.THANKS in [cue for _, cue, _ in terminal.display.cues[shown:]],
                    deadline_s=5,  # by then this tap's thanks are over
                )
                return


async def test_a_page_port_in_use_is_named_and_the_page_comes_when_it_is_free(
    path: WholePath, taken: socket.socket
) -> None:
    await path.terminal.good_tap()
    screen = await the_screen(path, "web1", "down")
    assert str(taken.getsockname()[1]) in screen["detail"]
    part = await path.terminal.has_component("screens", "degraded")
    assert part["detail"] == "web1"
    status = await path.terminal.status()
    assert status["health"]["state"] == "degraded"
    taken.close()
    await the_screen(path, "web1", "up")
    await path.terminal.has_component("screens", "ok")


async def test_a_stuck_display_delays_no_tap_and_follows_again_when_it_reads(path: WholePath) -> None:
    terminal = path.terminal
    terminal.display.faults.stuck = True
    for _ in range(2):
        await terminal.good_tap()
    await the_screen(path, "serial0", "down")
    await terminal.good_tap()
    terminal.display.faults.stuck = False
    await the_screen(path, "serial0", "up")
    await thanks_are_shown(path)


async def test_a_display_that_is_pulled_out_delays_no_tap_and_follows_again_when_it_is_back(path: WholePath) -> None:
    terminal = path.terminal
    terminal.display.unplug()
    await terminal.good_tap()
    await the_screen(path, "serial0", "down")
    await terminal.good_tap()
    terminal.display.replug()
    await the_screen(path, "serial0", "up")
    await thanks_are_shown(path)


async def test_a_tap_is_committed_and_delivered_without_a_word_from_the_screen(path: WholePath) -> None:
    terminal = path.terminal
    terminal.display.faults.deaf = True
    shown = len(terminal.display.cues)
    claims = parse(await terminal.good_tap()).claims
    await path.all_stored()
    times = terminal.steps[-1]
    assert times.seq == claims.seq
    assert times.stored is not None
    assert terminal.display.cues[shown:] == []
    terminal.display.faults.deaf = False
    await the_screen(path, "serial0", "up")


async def test_a_reader_that_is_pulled_out_is_told_and_works_again_when_it_is_back(path: WholePath) -> None:
    terminal = path.terminal
    before = await terminal.status()
    terminal.emulator.unplug()
    await terminal.until(lambda: terminal.reader.state is ReaderState.LOST)
    await eventually(lambda: terminal.display.showing.cue is CueName.FAULT)
    part = await terminal.has_component("nfc0", "failed")
    assert part["detail"]
    status = await terminal.status()
    assert status["health"]["state"] == "failed"
    assert status["health"]["late"] == []  # a lost reader is no hung reader: the watchdog is fed
    terminal.emulator.replug()
    await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING)
    await eventually(lambda: terminal.display.showing.cue is CueName.INVITE)
    await terminal.good_tap()
    await terminal.has_component("nfc0", "ok")
    after = await terminal.status()
    assert after["readers"][0]["reopens"] > before["readers"][0]["reopens"]
    assert after["uplink"]["since_s"] > before["uplink"]["since_s"]
    assert [part["restarts"] for part in after["health"]["components"]] == [
        part["restarts"] for part in before["health"]["components"]
    ]


class Once:
    """Calls through, but for the first call, which raises."""

    def __init__(self, real: Callable[..., Any], error: Exception) -> None:
        self._real = real
        self._error: Exception | None = error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._real(*args, **kwargs)


async def test_a_crashed_uplink_starts_again_and_loses_nothing(path: WholePath) -> None:
    terminal = path.terminal
    restarts = (await terminal.component("uplink"))["restarts"]
    terminal.agent.trace.on_sent = Once(terminal.agent.trace.on_sent, RuntimeError("a fault in our own program"))  # type: ignore[method-assign]  # the fault
    token = await terminal.good_tap()
    tokens = [token, await terminal.good_tap()]
    await path.all_stored()
    assert [row.token for row in path.rows][-2:] == tokens
    part = await terminal.has_component("uplink", "ok")
    assert part["restarts"] == restarts + 1


async def test_crashed_screens_start_again_and_no_tap_waits_for_them(path: WholePath, taken: socket.socket) -> None:
    taken.close()  # also where this test runs alone
    terminal = path.terminal
    await the_screen(path, "web1", "up")
    bridge = terminal.agent.bridge
    real = bridge._handle

    def handle(event: Any) -> None:
        tick = isinstance(event, Tick)
        if tick:
            bridge._handle = real  # type: ignore[method-assign]  # once
            raise RuntimeError("a fault in our own program")
        real(event)

    bridge._handle = handle  # type: ignore[method-assign]  # the fault
    await terminal.good_tap()
    await terminal.until(lambda: bridge._handle == real)
    while not (await terminal.component("screens"))["restarts"]:  # noqa: ASYNC110 - the answer comes over a socket
        await asyncio.sleep(0.02)
    await terminal.has_component("screens", "ok")
    await thanks_are_shown(path)


async def test_a_reader_that_crashes_again_and_again_tells_its_error_and_serves_again_once_it_can(
    path: WholePath,
) -> None:
    terminal = path.terminal

    async def crash() -> None:
        raise RuntimeError("a fault in our own program")

    (service,) = terminal.agent._readers
    real = service._poll
    service._poll = crash  # type: ignore[method-assign,assignment]  # the fault, again and again
    terminal.emulator.unplug()
    part = await terminal.has_component("nfc0", "failed")
    while part["detail"] != "RuntimeError: a fault in our own program":
        terminal.emulator.replug()
        await asyncio.sleep(0.02)
        part = await terminal.component("nfc0")
    assert part["restarts"] >= 1
    service._poll = real  # type: ignore[method-assign]  # the cure
    await terminal.until(lambda: terminal.reader.state is ReaderState.POLLING, deadline_s=60)
    await terminal.good_tap()
    await terminal.has_component("nfc0", "ok")

"""The tap path never waits for a screen: every kind of blocked link at once, and people tap as if there were none.

Nothing here looks at a clock: taps and the cues of the healthy display come while no blocked link has moved.
"""

import asyncio
import os
import socket
import tty
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from edge_agent.app import Agent
from edge_agent.tokens.tap_token import parse
from firmware_bridge.bridge import Bridge, _Supervised
from firmware_bridge.cues import Cue, CueName
from firmware_bridge.links.base import LinkObserver, LinkState, LinkStatus, ScreenLink
from firmware_bridge.links.serial import SerialLink
from tests.fakes.mosquitto import free_port
from tests.fakes.whole_agent import SERIAL_SCREEN, WEB_SCREEN, WholeAgent

TAPS = 5


@pytest.fixture
def stuck_pty() -> Iterator[str]:
    """An MCU that reads nothing, and a line full to the brim."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    with suppress(BlockingIOError):
        while True:
            os.write(slave, bytes(4096))
    os.set_blocking(slave, True)
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.fixture
def hanging() -> Iterator[str]:
    """A TCP port that answers no connection: opening it hangs in the link's thread."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"tcp:127.0.0.1:{server.getsockname()[1]}"


class NeverReturns:
    """A link whose serve never comes back and takes no notice of anything."""

    kind, detail = "paper", ""

    def __init__(self) -> None:
        self.name = "never"
        self.shown: list[Cue] = []

    def show(self, cue: Cue) -> None:
        self.shown.append(cue)

    async def serve(self, observer: LinkObserver) -> None:
        await asyncio.get_running_loop().create_future()


class Surrounded(WholeAgent):
    """A terminal with more screens than a configuration can name."""

    more: tuple[ScreenLink, ...] = ()

    def built(self, agent: Agent) -> None:
        for link in self.more:
            status = LinkStatus(link.name, link.kind, LinkState.STARTING)
            agent.bridge._links[link.name] = _Supervised(link, status)


async def page_that_reads_nothing(port: int) -> socket.socket:
    """A browser that asks for the stream and never takes a byte of it."""
    page = socket.socket()
    page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    page.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(page, ("127.0.0.1", port))
    await loop.sock_sendall(page, f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return page


async def test_no_blocked_screen_keeps_a_tap_or_another_screen_waiting(
    tmp_path: Path, stuck_pty: str, hanging: str
) -> None:
    port = free_port()
    screens = (SERIAL_SCREEN.format(device=stuck_pty), WEB_SCREEN.format(port=port))
    terminal = Surrounded(tmp_path, screens=screens)
    never = NeverReturns()
    terminal.more = (SerialLink("hanging", hanging, terminal_id="sh-1"), never)
    with ExitStack() as stack:
        stack.enter_context(terminal.emulator)
        stack.enter_context(terminal.display)
        await terminal.start()
        try:
            bridge = terminal.agent.bridge
            assert {link.name for link in bridge.snapshot()} == {"serial0", "serial1", "web2", "hanging", "never"}
            await terminal.until(lambda: _named(bridge)["web2"].state is LinkState.UP)
            stack.callback((await page_that_reads_nothing(port)).close)
            for number in range(1, TAPS + 1):
                shown = len(terminal.display.cues)
                assert parse(await terminal.good_tap()).claims.seq == number
                await terminal.until(
                    lambda shown=shown: CueName.THANKS in {cue for _, cue, _ in terminal.display.cues[shown:]}
                )
                links = _named(bridge)
                assert links["serial0"].state is LinkState.UP
                blocked = [links[name].figures for name in ("serial1", "hanging", "never")]
                assert [(figures.opened, figures.sent) for figures in blocked] == [(0, 0)] * 3
            assert CueName.READING in terminal.cues  # one that is overtaken is never sent
            assert links["web2"].figures.sent > TAPS, "written to a page that takes nothing"
            assert [cue.name for cue in never.shown].count(CueName.THANKS) >= TAPS
        finally:
            await terminal.stop()


def _named(bridge: Bridge) -> dict[str, LinkStatus]:
    return {link.name: link for link in bridge.snapshot()}

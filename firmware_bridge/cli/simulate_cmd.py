"""``firmware-bridge simulate``: be a screen. An MCU on a pty that draws its cues here, and on the web page if asked."""

import argparse
import asyncio
import signal
import sys
import time
import webbrowser
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from firmware_bridge.cli.arguments import OK, PROBLEM, add_command, complain, number
from firmware_bridge.cues import BASE_RESEND_S, BASE_TTL_S, MAX_TTL_MS, Cue, CueName
from firmware_bridge.device import Display
from firmware_bridge.links.base import LinkError, LinkEvent
from firmware_bridge.messages import AMOUNT_SEPARATOR
from firmware_bridge.paper import Paper
from firmware_bridge.simulator import McuSimulator
from firmware_bridge.terminal_screen import TerminalScreen

if TYPE_CHECKING:
    from firmware_bridge.cli.arguments import Commands
    from firmware_bridge.links.web import WebLink

_REDRAW_S = 0.25


def add(commands: "Commands") -> None:
    """Add the command and its arguments."""
    parser = add_command(commands, "simulate", _simulate, endless=True)
    parser.add_argument("--link", metavar="PATH", help="put a link to the pty here, in the place of an older one")
    parser.add_argument("--page", action="store_true", help="serve the web page, too: it shows the same cues")
    parser.add_argument("--page-port", type=number(0, 65535), default=0, help="its port (default: a free one)")
    parser.add_argument("--open", action="store_true", help="open the web page in the browser (with --page)")


def _simulate(arguments: argparse.Namespace) -> int:
    try:
        return asyncio.run(_Simulation(arguments).run())
    except LinkError as error:
        complain(error.text)
    except OSError as error:
        # os.symlink names the pty first and the link, which is what cannot be made, second.
        complain(f"{error.filename2 or error.filename or arguments.link}: {error.strerror}")
    return PROBLEM


class _Simulation:
    """The MCU in its thread; the drawing and the page on the event loop."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._screen = TerminalScreen(sys.stdout)
        self._page: WebLink | None = None
        self._simulator: McuSimulator | None = None

    async def run(self) -> int:
        """Serve until SIGINT or SIGTERM; raises LinkError for the page, OSError for the link to the pty."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stop.set)

        def displayed(display: Display) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody is left to draw for
                loop.call_soon_threadsafe(self._show, display)

        async with AsyncExitStack() as stack:
            stack.callback(self._screen.close)
            if self._arguments.page or self._arguments.open:
                await self._serve_page(stack)
            self._simulator = stack.enter_context(McuSimulator(path=self._arguments.link, on_display=displayed))
            Paper(sys.stdout).print(f"simulated screen on {self._simulator.device_path}; Ctrl-C ends it")
            self._show(self._simulator.showing)
            await self._keep_drawing(stop)
        return OK

    async def _keep_drawing(self, stop: asyncio.Event) -> None:
        renew_at = time.monotonic() + BASE_RESEND_S
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_REDRAW_S):
                    await stop.wait()
            self._screen.tick()
            if self._page and self._simulator and time.monotonic() >= renew_at:
                renew_at = time.monotonic() + BASE_RESEND_S
                self._show_on_page(self._simulator.showing)

    def _show(self, display: Display) -> None:
        self._screen.show(display, self._simulator.falls_back_at if self._simulator else None)
        self._show_on_page(display)

    def _show_on_page(self, display: Display) -> None:
        if self._page is None or self._simulator is None:
            return
        amount, separator, text = display.text.partition(AMOUNT_SEPARATOR)
        if not separator:
            amount, text = "", display.text
        until = self._simulator.falls_back_at
        left_s = BASE_TTL_S if until is None else until - time.monotonic()
        ttl_ms = min(max(1, round(left_s * 1000)), MAX_TTL_MS)
        self._page.show(Cue(display.cue, text, amount or None, ttl_ms, display.level))

    async def _serve_page(self, stack: AsyncExitStack) -> None:
        from firmware_bridge.links.web import WebLink  # noqa: PLC0415 - h11: only with --page

        self._page = WebLink("page", self._arguments.page_port, terminal_id="simulated")
        address = _Address()
        serving = asyncio.create_task(self._page.serve(address))
        stack.push_async_callback(_ended, serving)
        listening = asyncio.create_task(address.there.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if serving.done():
            serving.result()
        url = self._page.url
        print(f"the same on the web page: {url}", flush=True)
        if self._arguments.open and not await asyncio.to_thread(webbrowser.open, url):
            complain(f"no browser could be started; open {url} yourself")


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Address:
    """Learns when the page is there (LinkObserver)."""

    def __init__(self) -> None:
        self.there = asyncio.Event()

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 - one link, a page has no firmware
        """The page can be opened."""
        self.there.set()

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """Say nothing: the page shows it."""

    def link_event(self, link: str, event: LinkEvent) -> None:
        """Say nothing: a page never speaks."""

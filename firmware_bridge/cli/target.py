"""The display that a command speaks to: its arguments, its link, and what helps when it does not answer."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from firmware_bridge.cli.arguments import complain, number
from firmware_bridge.cues import CueName, Lang
from firmware_bridge.links.base import LinkError, LinkEvent, LinkFault, ScreenLink
from firmware_bridge.messages import McuHello
from firmware_bridge.protocol import DEFAULT_BAUD, Ask

# A BLE display is looked for, connected and subscribed to before HELLO; a serial port answers in three seconds or not.
_SERIAL_UP_WITHIN_S = 5.0
_BLE_UP_WITHIN_S = 30.0

_PORT_REMEDIES = MappingProxyType(
    {
        LinkFault.NOT_FOUND: "Is it plugged in? `ls -l /dev/serial/by-id/` shows the ports that are there.",
        LinkFault.NO_PERMISSION: "Join the group of the port, usually: sudo usermod -aG dialout $USER; log in anew.",
        LinkFault.BUSY: "Another process has it: stop the agent (sudo systemctl stop edge-agent), or the terminal.",
        LinkFault.NO_ANSWER: "Try another --baud; look whether TX and RX are swapped, ground is joined, power is on.",
        LinkFault.UNPLUGGED: "Look at plug and power; a board that resets itself drops off the bus as well.",
    }
)

_T = TypeVar("_T")


class TargetLink(ScreenLink, Protocol):
    """A link to an MCU: beside cues it takes the occasional messages."""

    def ask(self, message: Ask) -> None:
        """Send LEVEL, ASK_STATUS or RESET when the line is free."""


def add_port(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add ``--port`` and ``--baud``."""
    parser.add_argument(
        "--port", required=required, metavar="DEV", help="serial port of the MCU, a pty, or tcp:HOST:PORT"
    )
    _add_baud(parser)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add what names a display: ``--port`` or ``--ble``, and how to speak to it."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--port", metavar="DEV", help="serial port of the MCU, a pty, or tcp:HOST:PORT")
    target.add_argument("--ble", metavar="NAME", help="a display over Bluetooth LE, by its name or address")
    _add_baud(parser)
    parser.add_argument("--terminal", default="bring-up", metavar="ID", help="terminal id told in HELLO")


def _add_baud(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baud", type=number(50, 4_000_000), default=DEFAULT_BAUD, help="line speed (default %(default)s)"
    )


def add_lang(parser: argparse.ArgumentParser) -> None:
    """Add ``--lang``, the language of the words that are sent."""
    parser.add_argument("--lang", choices=list(Lang), default=Lang.EN, help="zh-CN or en (default)")


def target_of(arguments: argparse.Namespace) -> str:
    """Return the name of the display as it was given."""
    return str(arguments.port or arguments.ble)


def link_to(arguments: argparse.Namespace, *, lang: Lang = Lang.EN) -> TargetLink:
    """Return the link that the arguments of ``add_target`` name; it is not open yet."""
    if arguments.ble:
        from firmware_bridge.links.ble import BleLink  # noqa: PLC0415 - bleak, only where it is asked for

        return BleLink("screen", arguments.ble, terminal_id=arguments.terminal, lang=lang)
    from firmware_bridge.links.serial import SerialLink  # noqa: PLC0415 - pyserial, as above

    return SerialLink("screen", arguments.port, terminal_id=arguments.terminal, baud=arguments.baud, lang=lang)


class Conversation:
    """What one link reports, for a command that waits for it (LinkObserver, HearsHello)."""

    def __init__(self, link: TargetLink, name: str) -> None:
        self.link = link
        self.name = name
        self.hello: McuHello | None = None
        self.firmware = ""
        """What the MCU says of itself, sanitised."""
        self._up = asyncio.Event()
        self._events: asyncio.Queue[LinkEvent] = asyncio.Queue()
        self._serving: asyncio.Task[None] | None = None

    async def start(self, within_s: float) -> None:
        """Serve the link until it is up; raises LinkError, also after ``within_s`` without an answer."""
        self._serving = asyncio.create_task(self.link.serve(self))
        if await self._within(self._up.wait(), within_s) is None:
            raise LinkError(LinkFault.NO_ANSWER, f"{self.name}: no answer for {within_s:.0f} s")

    async def event(self, within_s: float) -> LinkEvent | None:
        """Return the next thing that the MCU said, None when that takes longer; raises LinkError."""
        return await self._within(self._events.get(), within_s)

    async def stop(self) -> None:
        """End the link. Idempotent."""
        if self._serving:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)

    async def _within(self, waited: Coroutine[Any, Any, _T], within_s: float) -> _T | None:
        assert self._serving is not None  # noqa: S101 - start() comes first
        waiting = asyncio.create_task(waited)
        try:
            await asyncio.wait({self._serving, waiting}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if self._serving.done():
                self._serving.result()
            return None
        finally:
            waiting.cancel()

    def hello_heard(self, link: str, hello: McuHello) -> None:  # noqa: ARG002 - one link, its name says nothing
        """Keep what the MCU says of itself."""
        self.hello = hello

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 - as above
        """The MCU answers."""
        self.firmware = firmware
        self._up.set()

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """Say nothing: what counts is what the MCU answers."""

    def link_event(self, link: str, event: LinkEvent) -> None:  # noqa: ARG002 - as above
        """Keep it for who waits."""
        self._events.put_nowait(event)


@asynccontextmanager
async def talking(arguments: argparse.Namespace, *, lang: Lang = Lang.EN) -> AsyncIterator[Conversation]:
    """Open the display that the arguments name and wait until its MCU answers; raises LinkError."""
    conversation = Conversation(link_to(arguments, lang=lang), target_of(arguments))
    try:
        await conversation.start(_BLE_UP_WITHIN_S if arguments.ble else _SERIAL_UP_WITHIN_S)
        yield conversation
    finally:
        await conversation.stop()


def port_remedy(error: LinkError, port: str) -> str:
    """Return what a person can do about a port that cannot be used; empty where the error says it already."""
    if port.startswith("tcp:") and error.fault in (LinkFault.NOT_FOUND, LinkFault.UNPLUGGED):
        return "Look whether something listens at that address, and whether the network lets you through."
    return _PORT_REMEDIES.get(error.fault, "")


def remedy_for(error: LinkError, arguments: argparse.Namespace) -> str:
    """Return what a person can do about the display of ``add_target``; errors of BLE say it already."""
    return "" if arguments.ble else port_remedy(error, arguments.port)


def complain_of(error: LinkError, remedy: str) -> None:
    """Say on stderr what is wrong with the display, and in a second line what to do."""
    complain(error.text)
    if remedy:
        complain(remedy)

"""Says HELLO to the MCU of a screen on a port that nobody has open, and asks how it is. Shows nothing on it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkError, LinkEvent, LinkFault
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.messages import AskStatus, Status
from firmware_bridge.protocol import DEFAULT_BAUD, Ask, Refused, Told

WITHIN_S = 4.0
_STATUS_WITHIN_S = 0.8


@dataclass(slots=True)
class Screen:
    """What came back; ``firmware`` is sanitised, ``error`` why nothing did."""

    answers: bool = False
    firmware: str = ""
    status: Status | None = None
    error: LinkError | None = None


class _Listener:
    """LinkObserver of one short conversation."""

    def __init__(self) -> None:
        self.screen = Screen()
        self.up = asyncio.Event()
        self.told = asyncio.Event()

    def link_up(self, link: str, firmware: str) -> None:  # noqa: ARG002 -- one link, its name says nothing
        self.screen.answers, self.screen.firmware = True, firmware
        self.up.set()

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        """No cue is shown."""

    def link_event(self, link: str, event: LinkEvent) -> None:  # noqa: ARG002 -- as above
        if isinstance(event, Told) and isinstance(event.message, Status):
            self.screen.status = event.message
            self.told.set()
        elif isinstance(event, Refused):
            self.told.set()


def greet(device: str, baud: int = DEFAULT_BAUD, *, within_s: float = WITHIN_S) -> Screen:
    """Talk to it for ``within_s`` seconds at most and let the port go again. Never raises for what the port does."""
    (screen,) = greet_all([(device, baud)], within_s=within_s)
    return screen


def greet_all(ports: Sequence[tuple[str, int]], *, within_s: float = WITHIN_S) -> list[Screen]:
    """Talk to several at once, each a device and its speed; see ``greet``."""

    async def talk() -> list[Screen]:
        return list(await asyncio.gather(*(_greet(device, baud, within_s) for device, baud in ports)))

    return asyncio.run(talk())


async def _greet(device: str, baud: int, within_s: float) -> Screen:
    listener = _Listener()
    link = SerialLink("screen", device, terminal_id="doctor", baud=baud)
    serving = asyncio.create_task(link.serve(listener))
    up = asyncio.create_task(listener.up.wait())
    await asyncio.wait({serving, up}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    if listener.screen.answers:
        link.ask(Ask(AskStatus()))
        told = asyncio.create_task(listener.told.wait())
        await asyncio.wait({serving, told}, timeout=_STATUS_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
    up.cancel()
    if not serving.done():
        serving.cancel()
        await asyncio.wait({serving})
    if not listener.screen.answers:
        error = None if serving.cancelled() else serving.exception()
        silent = LinkError(LinkFault.NO_ANSWER, f"{device}: no answer for {within_s:.0f} s")
        listener.screen.error = error if isinstance(error, LinkError) else silent
    elif not serving.cancelled():
        serving.exception()  # taken: the conversation was over
    return listener.screen

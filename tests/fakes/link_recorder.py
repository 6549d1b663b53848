"""A LinkObserver that keeps what it is told, and a link that is served to one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkEvent, ScreenLink


class LinkRecorder:
    """`ups`: firmware texts; `wire`: (link, cue, at); `events`: what displays said."""

    def __init__(self) -> None:
        self.ups: list[str] = []
        self.wire: list[tuple[str, CueName, float]] = []
        self.events: list[LinkEvent] = []

    def link_up(self, link: str, firmware: str) -> None:
        self.ups.append(firmware)

    def cue_on_wire(self, link: str, cue: CueName, at: float) -> None:
        self.wire.append((link, cue, at))

    def link_event(self, link: str, event: LinkEvent) -> None:
        self.events.append(event)


@asynccontextmanager
async def recorded(link: ScreenLink) -> AsyncIterator[tuple[LinkRecorder, asyncio.Task[None]]]:
    """Serve a link; yields its recorder and the task, whose exception is what the link ended with."""
    recorder = LinkRecorder()
    task = asyncio.create_task(link.serve(recorder))
    try:
        yield recorder, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

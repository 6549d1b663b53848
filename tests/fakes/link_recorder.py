"""A LinkObserver that keeps what it is told."""

from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkEvent


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

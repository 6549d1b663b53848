"""An MQTT client for tests: a PahoLink and all that it said, in order."""

from typing import TypeVar

from edge_agent.uplink.base import LinkDown, LinkEvent, LinkSettings, LinkUp, Received, Subscribed
from edge_agent.uplink.paho_link import PahoLink
from tests.fakes.waiting import eventually

EventT = TypeVar("EventT")


class Probe:
    """One connection; never comes back by itself."""

    def __init__(self, settings: LinkSettings) -> None:
        self.events: list[LinkEvent] = []
        self.link = PahoLink(settings, self.events.append)

    def of(self, kind: type[EventT]) -> list[EventT]:
        """The events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def payloads(self, topic: str) -> list[bytes]:
        """What came on a topic so far."""
        return [received.payload for received in self.of(Received) if received.topic == topic]

    async def up(self, *filters: str) -> LinkUp:
        """Connect, and subscribe if there are filters."""
        self.link.start()
        await eventually(lambda: self.events)
        up = self.events[0]
        assert isinstance(up, LinkUp), up
        if filters:
            self.link.subscribe(filters)
            await eventually(lambda: self.of(Subscribed))
        return up

    def listens_as_if(self, keepalive_s: int) -> None:
        """From now on judge silence by this keep-alive; the broker keeps to the one of CONNECT and hangs up later."""
        self.link._client._keepalive = keepalive_s
        self.link._wakeup.wake()

    async def down(self, *, deadline_s: float = 30.0) -> LinkDown:
        """Wait for the end, which comes once and last."""
        await eventually(lambda: self.of(LinkDown), deadline_s=deadline_s)
        (down,) = self.of(LinkDown)
        assert self.events[-1] is down
        return down

"""A Link without a network: the test says what the broker does. It watches that links follow one another."""

import asyncio
from collections.abc import Callable, Sequence

from edge_agent.errors import UplinkError
from edge_agent.uplink.base import (
    Acked,
    DownReason,
    LinkDown,
    LinkEvent,
    LinkSettings,
    LinkUp,
    Message,
    Received,
    Subscribed,
)


class FakeLink:
    """One connection of a FakeBroker."""

    def __init__(self, broker: "FakeBroker", settings: LinkSettings, on_event: Callable[[LinkEvent], None]) -> None:
        self.settings = settings
        self.published: list[Message] = []
        self.acknowledged: list[Received] = []
        self.subscribed: tuple[str, ...] = ()
        self.sent_will: bool | None = None
        self.ended = False
        self._broker = broker
        self._emit = on_event

    def start(self) -> None:
        assert all(link.ended for link in self._broker.links if link is not self), "two links at a time"
        if self._broker.start_fails is not None:
            self.ended = True
            raise self._broker.start_fails
        for event in self._broker.at_start:
            self.say(event)

    def say(self, event: LinkEvent) -> None:
        """Let the network or the broker say something."""
        if isinstance(event, LinkDown):
            if self.ended:
                return
            self.ended = True
        self._emit(event)

    def publish(self, message: Message) -> int:
        if self.ended:
            raise UplinkError("the link has ended")
        self.published.append(message)
        if self._broker.acknowledges:
            asyncio.get_running_loop().call_soon(self.say, Acked(len(self.published), 0))
        return len(self.published)

    def subscribe(self, filters: Sequence[str]) -> None:
        self.subscribed = tuple(filters)
        if self._broker.suback is not None:
            self.say(Subscribed(self.subscribed, self._broker.suback))

    def ack(self, received: Received) -> None:
        self.acknowledged.append(received)

    async def close(self, *, send_will: bool = False) -> None:
        self.sent_will = send_will
        self.say(LinkDown(DownReason.STOPPED, "stopped"))


class FakeBroker:
    """Makes links; ``at_start`` is what each link says when it is started, ``suback`` the codes of a SUBACK."""

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.at_start: list[LinkEvent] = [LinkUp(session_present=False, receive_maximum=20)]
        self.suback: tuple[int, ...] | None = (1,)
        self.acknowledges = False
        self.start_fails: UplinkError | None = None

    def __call__(self, settings: LinkSettings, on_event: Callable[[LinkEvent], None]) -> FakeLink:
        self.links.append(FakeLink(self, settings, on_event))
        return self.links[-1]

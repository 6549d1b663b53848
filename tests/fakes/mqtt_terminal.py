"""The wire side of a terminal, made by hand: publishes what a test wants and keeps what the cloud says."""

import asyncio
from typing import Self

from edge_agent.uplink.base import Acked, LinkDown, LinkEvent, LinkSettings, LinkUp, Message, Received, Subscribed
from edge_agent.uplink.paho_link import PahoLink
from edge_agent.uplink.wire import Ack, Command, Result, Topics
from tests.fakes.waiting import eventually


class MqttTerminal:
    """``async with MqttTerminal(...) as wire``: connected and subscribed to all that a terminal listens to."""

    def __init__(self, host: str, port: int, topics: Topics, *, client_id: str | None = None) -> None:
        self.topics = topics
        self.acks: list[Ack] = []
        self.results: list[Result] = []
        self.commands: list[Command] = []
        self._settings = LinkSettings(host, port, client_id or topics.terminal)
        self._link: PahoLink | None = None
        self._up = asyncio.Event()
        self._acked: set[int] = set()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the PUBACK of the broker."""
        assert self._link is not None
        mid = self._link.publish(Message(topic, payload, retain=retain))
        await eventually(lambda: mid in self._acked)

    async def tap(self, token: bytes) -> None:
        """Publish to evt/tap."""
        await self.publish(self.topics.evt_tap, token)

    async def batch(self, payload: bytes) -> None:
        """Publish to evt/batch."""
        await self.publish(self.topics.evt_batch, payload)

    async def gap(self, record: bytes) -> None:
        """Publish to evt/gap."""
        await self.publish(self.topics.evt_gap, record)

    async def checkpoint(self, record: bytes) -> None:
        """Publish to evt/chk."""
        await self.publish(self.topics.evt_chk, record)

    async def acked(self, through: int, missing: tuple[tuple[int, int], ...] = ()) -> None:
        """Wait until the last ack says exactly this."""
        await eventually(lambda: self.acks and (self.acks[-1].through, self.acks[-1].missing) == (through, missing))

    async def __aenter__(self) -> Self:
        self._link = PahoLink(self._settings, self._on_event)
        self._link.start()
        async with asyncio.timeout(30):
            await self._up.wait()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._link is not None
        await self._link.close()

    def _on_event(self, event: LinkEvent) -> None:
        match event:
            case LinkUp():
                assert self._link is not None
                self._link.subscribe([self.topics.ack, self.topics.result, self.topics.cmd_filter])
            case Subscribed():
                self._up.set()
            case Acked():
                self._acked.add(event.mid)
            case Received(topic=topic, payload=payload) if topic == self.topics.ack:
                self.acks.append(Ack.decode(payload))
            case Received(topic=topic, payload=payload) if "/cmd/" in topic:
                self.commands.append(Command.decode(topic.removeprefix(f"{self.topics.prefix}/"), payload))
            case Received(payload=payload):
                self.results.append(Result.decode(payload))
            case LinkDown():
                pass

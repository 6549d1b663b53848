"""A session over anything that takes pieces: what is under way is finished, a newer cue is next, all ends in time."""

import asyncio

import pytest

from firmware_bridge.cues import Cue, CueName
from firmware_bridge.device import DeviceSession, Send
from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.talk import Talk
from firmware_bridge.protocol import Effect, HostSession, Received, Shown, Up, Want, Write
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.usefixtures("patient_host")


class Peer:
    """An MCU at the end of pieces of five bytes, taken when ``open`` lets them."""

    def __init__(self) -> None:
        self.device = DeviceSession()
        self.told: list[Effect] = []
        self.pieces: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.talk = Talk(
            HostSession("sh-1"),
            write=self._take,
            piece_size=lambda: 5,
            tell=lambda effect, _: self.told.append(effect),
        )

    async def _take(self, piece: bytes) -> None:
        await self.open.wait()
        self.pieces.append(piece)
        for effect in self.device.handle(Received(piece), 0.0):
            if isinstance(effect, Send):
                self.talk.handle(Received(effect.data))

    def of(self, kind: type) -> list[Effect]:
        return [effect for effect in self.told if isinstance(effect, kind)]


async def up() -> tuple[Peer, asyncio.Task[None]]:
    peer = Peer()
    task = asyncio.create_task(peer.talk.run())
    await eventually(lambda: peer.of(Up))
    return peer, task


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_piece_under_way_is_finished_and_only_the_newest_cue_follows() -> None:
    peer, task = await up()
    peer.open.clear()
    peer.talk.handle(Want(Cue(CueName.READING, "first")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(100):
        peer.talk.handle(Want(Cue(CueName.THANKS, f"then {number}")))
    peer.open.set()
    await eventually(lambda: any(shown.cue is CueName.THANKS for shown in peer.of(Shown)))
    assert peer.device.showing.text == "then 99"
    assert peer.device.decoder.errors == 0
    begun = [write.cue for write in peer.of(Write) if write.cue is not None and not write.repeat]
    assert begun == [CueName.READING, CueName.THANKS]
    await end(task)


async def test_it_ends_with_the_first_reason_and_sends_nothing_more() -> None:
    peer, task = await up()
    peer.talk.end(LinkError(LinkFault.UNPLUGGED, "gone"))
    peer.talk.end(LinkError(LinkFault.IO, "and then"))
    before = len(peer.pieces)
    with pytest.raises(LinkError, match="gone"):
        await task
    peer.talk.handle(Want(Cue(CueName.READING)))
    assert len(peer.pieces) == before

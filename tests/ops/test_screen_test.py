"""A technician sees each cue, short and marked as a test, and hears which display confirmed it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge_agent.errors import ControlError
from edge_agent.ops import screen_test
from edge_agent.ops.screen_test import TEXT, ops
from firmware_bridge import cues
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkState, ScreenLink
from firmware_bridge.links.serial import SerialLink
from firmware_bridge.links.web import WebLink
from firmware_bridge.simulator import McuSimulator
from tests.fakes.waiting import eventually


@pytest.fixture(name="mcu")
def _mcu() -> Iterator[McuSimulator]:
    with McuSimulator() as mcu:
        yield mcu


@asynccontextmanager
async def screens(mcu: McuSimulator, *others: ScreenLink) -> AsyncIterator[Bridge]:
    """A display with an MCU, and others, all up."""
    bridge = Bridge([SerialLink("serial0", mcu.device_path, terminal_id="sh-1"), *others], terminal_id="sh-1")
    task = asyncio.create_task(bridge.run())
    try:
        await eventually(lambda: all(link.state is LinkState.UP for link in bridge.snapshot()))
        await eventually(lambda: bridge.snapshot()[0].figures.confirmed > 0)
        yield bridge
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def shown(mcu: McuSimulator, since: int) -> list[tuple[CueName, str]]:
    """What the display showed from then on; one that it shows now may be over before anybody looks."""
    return [(cue, text) for _, cue, text in mcu.cues[since:]]


async def ask(bridge: Bridge, **request: object) -> dict[str, Any]:
    return await ops(bridge)["screen-test"](request)


async def test_each_cue_is_shown_marked_and_confirmed_by_the_display(
    mcu: McuSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_test, "CONFIRMED_WITHIN_S", 30.0)
    async with screens(mcu) as bridge:
        for cue in CueName:
            if cue is CueName.QUIET:
                continue  # this display says that it does not know it, and is told `resting` in its place
            before = len(mcu.cues)
            answer = await ask(bridge, cue=cue.value, seconds=3)
            (serial,) = answer["screens"]
            assert answer["shown"] is True
            assert (serial["confirmed"], serial["ms"] >= 0) == (True, True)
            assert (cue, TEXT) in shown(mcu, before)  # after an invitation, where the cue before it was over
        assert bridge.current is CueName.INVITE  # for everybody else nothing has changed
        assert await ask(bridge, cue=None) == {"cue": None, "shown": False, "screens": []}
        await eventually(lambda: (mcu.showing.cue, mcu.showing.text) == (CueName.INVITE, ""))


async def test_a_page_that_nobody_has_open_was_told_nothing(mcu: McuSimulator) -> None:
    async with screens(mcu, WebLink("web1", 0)) as bridge:
        serial, page = (await ask(bridge, cue="thanks", seconds=3))["screens"]
        assert serial["confirmed"] is True
        assert (page["acknowledges"], page["confirmed"], page["sent"]) == (False, False, False)


async def test_a_test_that_nobody_ends_is_over_by_itself(mcu: McuSimulator) -> None:
    async with screens(mcu) as bridge:
        before = len(mcu.cues)
        await ask(bridge, cue="fault", seconds=0.3)
        await eventually(lambda: (CueName.FAULT, TEXT) in shown(mcu, before))
        await eventually(lambda: mcu.showing.cue is CueName.INVITE)


async def test_a_tap_has_precedence(mcu: McuSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cues, "HOLD_S", {**cues.HOLD_S, CueName.READING: 60.0})
    async with screens(mcu) as bridge:
        await ask(bridge, cue="fault", seconds=3)
        bridge.show(CueName.READING)
        await eventually(lambda: mcu.showing.cue is CueName.READING)
        answer = await ask(bridge, cue="fault")
        assert answer["shown"] is False
        assert [screen["confirmed"] for screen in answer["screens"]] == [False]
        assert mcu.showing.cue is CueName.READING


async def test_a_display_that_does_not_answer_is_told(mcu: McuSimulator) -> None:
    async with screens(mcu) as bridge:
        mcu.faults.deaf = True
        (serial,) = (await ask(bridge, cue="thanks"))["screens"]
        assert (serial["sent"], serial["confirmed"], serial["ms"]) == (True, False, None)
        mcu.unplug()
        await eventually(lambda: bridge.snapshot()[0].state is LinkState.DOWN)
        (serial,) = (await ask(bridge, cue="thanks"))["screens"]
        assert (serial["state"], serial["sent"]) == ("down", False)


@pytest.mark.parametrize(
    "request_",
    [{"cue": "hello"}, {"cue": 3}, {"cue": "thanks", "seconds": 3.1}, {"cue": "thanks", "seconds": True}],
)
async def test_what_makes_no_sense_is_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ControlError):
        await ask(Bridge([], terminal_id="sh-1"), **request_)

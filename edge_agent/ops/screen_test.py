"""Shows one cue after the other to a technician, asked over the control socket, and tells which display confirmed it.

Each cue is short and says that it is a test; a tap has precedence, and what the screens really have to show comes back
by itself, whatever becomes of the technician's program.
"""

import asyncio
from collections.abc import Mapping

from edge_agent.control import Op
from edge_agent.errors import ControlError
from edge_agent.sanitize import printable
from firmware_bridge.bridge import Bridge
from firmware_bridge.cues import CueName
from firmware_bridge.links.base import LinkState, LinkStatus

TEXT = "测试 TEST"
LONGEST_S = 3.0
CONFIRMED_WITHIN_S = 1.0
"""An MCU at the slowest line says ACK sooner, after the last repetition, too."""
_LOOK_EVERY_S = 0.01
_PAGE_WITHIN_S = 0.2
"""An open page is told sooner; one that nobody has open is not waited for."""
_WITHOUT_ACK = frozenset({"web"})
"""Kinds of links that tell a cue to whoever listens and hear nothing back."""


def ops(bridge: Bridge) -> dict[str, Op]:
    """Name and handler for the control server.

    ``{"op": "screen-test", "cue": "thanks", "seconds": 2}`` shows it, ``"cue": null`` ends the test. Answers
    ``shown``, false while a tap is shown, and for each of the ``screens`` what came back. Raises ControlError.
    """

    async def screen_test(request: Mapping[str, object]) -> dict[str, object]:
        asked, seconds = request.get("cue"), request.get("seconds", 2.0)
        if asked is None:
            bridge.try_cue(None)
            return {"cue": None, "shown": False, "screens": []}
        if asked not in set(CueName):
            raise ControlError(f"no such cue: {printable(str(asked))}; there are {', '.join(CueName)}")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.2 <= seconds <= LONGEST_S:
            raise ControlError(f"seconds is no number from 0.2 to {LONGEST_S:g}")
        before = {link.name: link for link in bridge.snapshot()}
        shown = bridge.try_cue(CueName(str(asked)), text=TEXT, seconds=float(seconds))
        if shown:
            await _until_all_answered(bridge, before, min(CONFIRMED_WITHIN_S, float(seconds)))
        screens = [_told(before[link.name], link, shown=shown) for link in bridge.snapshot()]
        return {"cue": asked, "shown": shown, "screens": screens}

    return {"screen-test": screen_test}


async def _until_all_answered(bridge: Bridge, before: Mapping[str, LinkStatus], within_s: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (waited_s := loop.time() - began) < within_s:
        if all(_is_done(before[link.name], link, waited_s) for link in bridge.snapshot()):
            return
        await asyncio.sleep(_LOOK_EVERY_S)  # the figures are plain counters, and a test is rare


def _is_done(before: LinkStatus, now: LinkStatus, waited_s: float) -> bool:
    """Whether nothing more can be heard of it."""
    if now.state is not LinkState.UP:
        return True
    if now.kind in _WITHOUT_ACK:
        return now.figures.sent > before.figures.sent or waited_s >= _PAGE_WITHIN_S
    return now.figures.confirmed > before.figures.confirmed or now.figures.refused > before.figures.refused


def _told(before: LinkStatus, now: LinkStatus, *, shown: bool) -> dict[str, object]:
    figures, was = now.figures, before.figures
    confirmed = shown and figures.confirmed > was.confirmed
    return {
        "name": now.name,
        "kind": now.kind,
        "state": now.state.value,
        "detail": printable(now.detail, 120),
        "acknowledges": now.kind not in _WITHOUT_ACK,
        "sent": shown and figures.sent > was.sent,
        "confirmed": confirmed,
        "refused": shown and figures.refused > was.refused,
        "ms": round(figures.rtt_ms, 1) if confirmed and figures.rtt_ms is not None else None,
    }

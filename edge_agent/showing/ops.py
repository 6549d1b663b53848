"""What the control socket is asked about the advert on the screen: what is showing, and a player's word of it."""

import time
from collections.abc import Awaitable, Callable

from edge_agent.showing.base import Look, Source, Tell
from edge_agent.showing.request import as_json, told_of

OP = "now-playing"


def now_playing_ops(
    tell: Tell, showing: Look, *, wall: Callable[[], float] = time.time
) -> dict[str, Callable[[dict[str, object]], Awaitable[dict[str, object]]]]:
    """Name and handler for the control server.

    ``{"op": "now-playing"}`` asks; with ``campaign`` and ``until`` it tells, and raises PlayerError for what makes no
    sense. Both answer what is showing then: ``campaign``, ``until`` in unix seconds, ``source``; each may be null.
    """

    async def now_playing(request: dict[str, object]) -> dict[str, object]:
        word = {key: value for key, value in request.items() if key != "op"}
        if word:
            tell(told_of(word, now=wall(), source=Source.SOCKET))
        return as_json(showing(), now=wall())

    return {OP: now_playing}

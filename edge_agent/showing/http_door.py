"""`PUT /now-playing` on 127.0.0.1: the ad player of this machine tells what is showing. GET tells it its developer.

Takes nothing from a browser page, whatever its origin, and answers none. A port that cannot be had is told and tried
again; no tap waits for any of it.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable

import structlog

from edge_agent.backoff import Backoff
from edge_agent.errors import PlayerError
from edge_agent.logs import Repeats
from edge_agent.models import ComponentState
from edge_agent.showing.base import Look, Report, Source, Tell
from edge_agent.showing.request import MAX_BYTES, as_json, read_told
from firmware_bridge.loopback import HOST, Answer, Call, Limits, Loopback, Request, line

DEFAULT_PORT = 8788
PATH = "/now-playing"
_JSON = "application/json"
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
_LIMITS = Limits(connections=8, body_bytes=MAX_BYTES)

log = structlog.get_logger(__name__)


class HttpDoor:
    """One port. ``wall`` is the unix time; after ``serve`` has begun, ``url`` is where it is."""

    def __init__(
        self,
        port: int = DEFAULT_PORT,
        *,
        tell: Tell,
        showing: Look,
        report: Report,
        wall: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._tell = tell
        self._showing = showing
        self._report = report
        self._wall = wall
        self._backoff = backoff or Backoff(base=1.0, cap=30.0)
        self._repeats = Repeats(log, "player_door_closed", "player_door_open")
        routes = {PATH: {"GET": Call(self._look), "PUT": Call(self._put, takes=_JSON)}}
        self._server = Loopback(routes, port, policy=_POLICY, limits=_LIMITS)

    @property
    def port(self) -> int:
        """The port asked for; with 0 the kernel's choice stands here while it listens."""
        return self._server.port

    @property
    def url(self) -> str:
        """What a player is configured with."""
        return f"http://{HOST}:{self.port}{PATH}"

    async def serve(self) -> None:
        """Listen until cancelled; a port that is taken is tried again."""
        while True:
            try:
                await self._server.serve(self._opened)
            except OSError as error:
                text = str(self._refused(error))
                self._report(ComponentState.DEGRADED, text)
                delay = self._backoff.next_delay(time.monotonic())
                self._repeats.failed(text, retry_in_s=round(delay, 1))
                await asyncio.sleep(delay)

    def _opened(self) -> None:
        self._backoff.succeeded(time.monotonic())
        self._repeats.recovered(url=self.url)
        self._report(ComponentState.OK, self.url)

    def _refused(self, error: OSError) -> PlayerError:
        # Its strerror is asyncio's own, with the address in it once more.
        why = os.strerror(error.errno) if error.errno else str(error)
        return PlayerError(
            f"cannot listen on {HOST}:{self.port} for the player: {why}",
            remedy="end the program that has this port (ss -ltnp shows it), or give the agent another one",
        )

    def _put(self, request: Request) -> Answer:
        try:
            told = read_told(request.body, now=self._wall(), source=Source.HTTP)
        except PlayerError as error:
            return line(400, str(error))
        self._tell(told)
        return Answer(204)

    def _look(self, request: Request) -> Answer:
        if request.from_page:
            return line(403, "not for a browser page; ask from a program, or type the address yourself")
        told = json.dumps(as_json(self._showing(), now=self._wall()), ensure_ascii=False)
        return Answer(200, f"{told}\n".encode(), _JSON)

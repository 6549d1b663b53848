"""The agent behind the player's HTTP door: what it was told, and a client as a player has one."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from edge_agent.backoff import Backoff
from edge_agent.models import ComponentState
from edge_agent.showing.base import Showing, Source, Told
from edge_agent.showing.http_door import HttpDoor
from tests.fakes.waiting import eventually

NOW = 1_790_000_000.0


class PlayerTerminal:
    """One door, and all that the agent heard through it."""

    def __init__(self, port: int = 0) -> None:
        self.told: list[Told] = []
        self.shown = Showing("c-0", Source.SCHEDULE, None)
        self.reports: list[tuple[ComponentState, str]] = []
        self.door = HttpDoor(
            port,
            tell=self.told.append,
            showing=lambda: self.shown,
            report=lambda *said: self.reports.append(said),
            wall=lambda: NOW,
            backoff=Backoff(0.01, 0.02),
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["PlayerTerminal"]:
        task = asyncio.create_task(self.door.serve())
        try:
            await eventually(lambda: self.reports)
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def ask(self, method: str, body: object = None, **headers: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._ask, method, body, headers)

    def _ask(self, method: str, body: object, headers: dict[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=45)
        try:
            text = body if isinstance(body, str | None) else json.dumps(body)
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if text is not None:
                named.setdefault("Content-Type", "application/json")
            connection.request(method, "/now-playing", body=text, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

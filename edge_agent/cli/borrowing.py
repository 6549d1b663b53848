"""Borrows a reader from the running agent for as long as it is used, and gives it back whatever happens.

A command that dies renews nothing: then the agent takes its reader back by itself, seconds later.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge_agent.control_client import NotRunning, ask
from edge_agent.errors import ControlError

LEASE_S = 5
RENEW_EVERY_S = 1.5
_ASK_WITHIN_S = 6.0
"""The agent ends the tap that goes on, and closes the reader, before it answers."""


class Borrowed:
    """A reader of ours for a while; set ``empty`` if nothing was in its field."""

    def __init__(self) -> None:
        self.of_agent = True
        self.empty = False


@asynccontextmanager
async def borrowed(socket: Path, name: str) -> AsyncIterator[Borrowed]:
    """The reader is closed by the agent while inside; where no agent runs, nobody has it.

    Raises ControlError where the agent does not let it go, or may not be asked.
    """
    mine = Borrowed()
    try:
        answer = await _ask(socket, {"op": "lend-reader", "name": name, "seconds": LEASE_S})
    except NotRunning:
        mine.of_agent = False
        yield mine
        return
    loan = answer.get("loan")
    renewing = asyncio.create_task(_renew(socket, name, loan))
    try:
        yield mine
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(ControlError):  # then the loan ends by itself
            await _ask(socket, {"op": "return-reader", "name": name, "loan": loan, "empty": mine.empty})


async def _renew(socket: Path, name: str, loan: object) -> None:
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        with contextlib.suppress(ControlError):  # an agent that is busy is asked again before the loan is over
            await _ask(socket, {"op": "lend-reader", "name": name, "loan": loan, "seconds": LEASE_S})


async def _ask(socket: Path, request: dict[str, object]) -> dict[str, object]:
    return await asyncio.to_thread(ask, socket, request, _ASK_WITHIN_S)

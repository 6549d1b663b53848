"""Borrows a reader from the running agent for as long as it is used, and gives it back whatever happens.

A command that dies renews nothing: then the agent takes its reader back by itself, seconds later. One that lives lets
go of the reader by then, too: whoever holds on to a port keeps the agent from its reader.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
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

    What goes on inside is cut off once the agent has its reader back, or one was started that wants it. Raises
    ControlError then, and where the agent does not let it go, or may not be asked.
    """
    mine = Borrowed()
    loan: object = None
    try:
        loan = (await _ask(socket, {"op": "lend-reader", "name": name, "seconds": LEASE_S})).get("loan")
    except NotRunning:
        mine.of_agent = False
    until = asyncio.timeout(LEASE_S if mine.of_agent else None)
    try:
        with _not_suspended():
            async with until:
                watching = asyncio.create_task(_keep(socket, name, loan, until))
                try:
                    yield mine
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
    except TimeoutError:
        if not until.expired():
            raise
        raise ControlError(f"the agent has to have {name} back", remedy="try again") from None
    finally:
        if mine.of_agent:
            with contextlib.suppress(ControlError):  # then the loan ends by itself
                await _ask(socket, {"op": "return-reader", "name": name, "loan": loan, "empty": mine.empty})


async def _keep(socket: Path, name: str, loan: object, until: asyncio.Timeout) -> None:
    """Renew the loan and move its end; without a loan, see whether an agent was started meanwhile."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        asked_at = loop.time()
        try:
            answer = await _ask(socket, {"op": "lend-reader", "name": name, "loan": loan or "", "seconds": LEASE_S})
        except NotRunning:
            continue  # nobody wants the reader now; an agent that comes back knows of no loan
        except ControlError:
            if loan is None:
                until.reschedule(asked_at)
            continue  # an agent that is busy is asked again before the loan is over
        left_s = answer.get("seconds")
        until.reschedule(asked_at + left_s if isinstance(left_s, int | float) else asked_at)


@contextmanager
def _not_suspended() -> Iterator[None]:
    """Ctrl-Z would keep the port from the agent until somebody thinks of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # it has no say in signals
        return
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


async def _ask(socket: Path, request: dict[str, object]) -> dict[str, object]:
    return await asyncio.to_thread(ask, socket, request, _ASK_WITHIN_S)

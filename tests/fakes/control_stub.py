"""The control socket of an agent that answers what a test says, in a thread of its own: like another process."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edge_agent.control import ControlServer, Op


@contextmanager
def serving(path: Path, ops: Mapping[str, Op]) -> Iterator[None]:
    """Serve these ops at this socket."""
    loop = asyncio.new_event_loop()
    done = asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        server = ControlServer(path, ops, read_timeout_s=45)
        await server.start()
        ready.set()
        await done.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(45)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(45)
        loop.close()


@contextmanager
def answering(path: Path, result: dict[str, object]) -> Iterator[None]:
    """Serve ``result`` as the status at this socket."""

    async def status(_request: dict[str, object]) -> dict[str, object]:
        return result

    with serving(path, {"status": status}):
        yield

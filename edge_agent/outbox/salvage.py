"""Takes the readable rows of quarantined files over into the outbox, under their own chains, behind every live tap."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from edge_agent.outbox.base import Codec, Notice
from edge_agent.outbox.database import Database
from edge_agent.outbox.rows import ChainLoad


class Call(Protocol):
    """Runs a piece of work on the writer thread; taps overtake it."""

    def __call__(self, run: Callable[[Database], Any]) -> Awaitable[Any]:
        """Raises OutboxError."""


class Salvage:
    """The quarantined files of one outbox; ``run`` once after each opening."""

    def __init__(
        self,
        path: Path,
        codec: Codec,
        *,
        call: Call,
        adopt: Callable[[ChainLoad], None],
        notice: Callable[[Notice], None],
    ) -> None:
        self._path = path
        self._codec = codec
        self._call = call
        self._adopt = adopt
        self._notice = notice
        self.busy = False

    def quarantined(self) -> tuple[str, ...]:
        """Names of the damaged files beside the outbox, oldest first."""
        return ()

    async def run(self) -> None:
        """Take over what was not taken over yet; ends by itself."""

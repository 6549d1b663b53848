"""Runs a HostSession on the event loop over anything that takes bytes in pieces. It must never queue a late cue."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from firmware_bridge.links.base import LinkError, LinkFault
from firmware_bridge.links.driving import UnsentWrites
from firmware_bridge.protocol import Down, Effect, HostEvent, HostSession, Opened, Tick, Write


class Talk:
    """One connection. ``write`` hands one piece to the peer, ``piece_size`` says how long it may be now.

    ``tell(effect, at)`` is told what the session says, and each frame at the moment its first piece was taken.
    """

    def __init__(
        self,
        session: HostSession,
        *,
        write: Callable[[bytes], Awaitable[None]],
        piece_size: Callable[[], int],
        tell: Callable[[Effect, float], None],
    ) -> None:
        self.session = session
        self._write = write
        self._piece_size = piece_size
        self._tell = tell
        self._unsent = UnsentWrites()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._error: LinkError | None = None
        self._ended = False

    def handle(self, event: HostEvent) -> None:
        """Take one event; after the end of the talk nothing happens any more."""
        if self._ended:
            return
        for effect in self.session.handle(event, time.monotonic()):
            match effect:
                case Write():
                    self._unsent.put(effect)
                    self._wake.set()
                case Down(reason=reason):
                    self.end(LinkError(LinkFault.NO_ANSWER, reason))
                case _:
                    self._tell(effect, time.monotonic())
        self._set_timer()

    def end(self, error: LinkError) -> None:
        """Let ``run`` raise this error, unless it has another reason already."""
        self._error = self._error or error
        self._wake.set()

    async def run(self) -> None:
        """Greet the peer and talk until it is gone; raises LinkError, and what ``write`` raises."""
        try:
            self.handle(Opened())
            while True:
                await self._wake.wait()
                self._wake.clear()
                while not self._error and (piece := self._unsent.piece(self._piece_size())):
                    # Taken before it is written: a newer cue must not take the place of what is under way.
                    begun = self._unsent.took(len(piece))
                    await self._write(piece)
                    if begun:
                        self._tell(begun, time.monotonic())
                if self._error:
                    raise self._error
        finally:
            self._ended = True
            if self._timer:
                self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        due = self.session.due
        if due is not None:
            delay = max(0.0, due - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self.handle, Tick())

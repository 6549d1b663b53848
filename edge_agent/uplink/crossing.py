"""The crossing from a link's thread to the event loop: events in order, in batches, and no more than the loop can take.

``add`` and ``flush`` are of the thread; delivery is on the loop. Nothing is dropped: a full crossing says so, and the
thread stops reading its socket.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

EventT = TypeVar("EventT")


class Crossing(Generic[EventT]):
    """Built on the event loop, where ``deliver`` gets one event at a time, and ``room_again`` is called after a jam."""

    def __init__(self, deliver: Callable[[EventT], None], *, most: int, room_again: Callable[[], None]) -> None:
        self._deliver = deliver
        self._most = most
        self._room_again = room_again
        self._loop = asyncio.get_running_loop()
        self._events: list[EventT] = []  # of the thread only
        self._lock = threading.Lock()
        self._undelivered = 0

    @property
    def is_full(self) -> bool:
        """Whether the thread must not bring more for now; without the lock: a late answer only comes one turn late."""
        return self._undelivered >= self._most

    @property
    def leads_nowhere(self) -> bool:
        """The event loop is closed: nobody is left to hear anything."""
        return self._loop.is_closed()

    def add(self, event: EventT) -> None:
        """Keep an event until ``flush``."""
        self._events.append(event)

    def flush(self) -> None:
        """Send what was added."""
        if self._events:
            events, self._events = self._events, []
            with self._lock:
                self._undelivered += len(events)
            self.call(self._arrive, events)

    def call(self, callback: Callable[..., None], *args: object) -> None:
        """Have ``callback`` called on the loop, behind what was flushed."""
        with suppress(RuntimeError):  # the event loop is closed: nobody is left to hear it, and the thread will end
            self._loop.call_soon_threadsafe(callback, *args)

    def _arrive(self, events: list[EventT]) -> None:
        with self._lock:
            was_full = self._undelivered >= self._most
            self._undelivered -= len(events)
        for event in events:
            self._deliver(event)
        if was_full:
            self._room_again()

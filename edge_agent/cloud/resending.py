"""Orders to terminals: ``cmd/resend`` for what is missing. Which and when is decided in ``holes``.

Each order has an id of its own and ends with its expiry, so that a terminal that comes back late is not asked for
what has come meanwhile.
"""

import secrets
from collections import deque
from collections.abc import Callable

from edge_agent.cloud.holes import AskAgain
from edge_agent.uplink.base import Message
from edge_agent.uplink.wire import CONTENT_JSON, Command, Topics

EXPIRY_S = 60
_MOST = 1000


class Orders:
    """Orders that wait for a place in our window to the broker; ``now`` is CLOCK_MONOTONIC, ``unix`` the wall clock."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Message]] = deque()
        self.dropped = 0
        """Orders that found no place in time; their streams will be asked again."""

    def add(self, ask: AskAgain, now: float, unix: float) -> None:
        """Write one order."""
        stream = ask.stream
        args = {"chain": stream.chain.hex(), "from": ask.first, "to": ask.last}
        command = Command("resend", f"resend-{secrets.token_hex(8)}", int(unix) + EXPIRY_S, args)
        topic = Topics(stream.fleet, stream.terminal).cmd(command.name)
        message = Message(topic, command.encode(), content_type=CONTENT_JSON, expiry_s=EXPIRY_S)
        if len(self._waiting) >= _MOST:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((now + EXPIRY_S, message))

    def send(self, publish: Callable[[Message], bool], now: float) -> bool:
        """Publish what waits; False if ``publish`` had no room for all of it."""
        while self._waiting:
            void_at, message = self._waiting[0]
            if void_at <= now:
                self.dropped += 1
            elif not publish(message):
                return False
            self._waiting.popleft()
        return True

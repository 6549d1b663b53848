"""Sorts what the broker sends to the terminal: ack, result, command, its own state. Drops what is none of these.

A hostile or broken peer can make it log one warning for each kind, and count; it can never make it raise.
"""

from collections import Counter
from collections.abc import Callable

import structlog

from edge_agent.sanitize import printable
from edge_agent.uplink.base import Received
from edge_agent.uplink.wire import Ack, Command, Result, State, Topics, WireError

log = structlog.get_logger(__name__)

_KINDS = frozenset({"ack", "result", "cmd", "state"})


class Inbox:
    """Decodes received messages and hands them on; ``on_state`` also hears whether the broker had retained it."""

    def __init__(
        self,
        topics: Topics,
        *,
        on_ack: Callable[[Ack], None],
        on_result: Callable[[Result], None],
        on_command: Callable[[Command], None],
        on_state: Callable[[State, bool], None],
    ) -> None:
        self._topics = topics
        self._on_ack = on_ack
        self._on_result = on_result
        self._on_command = on_command
        self._on_state = on_state
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> int:
        """Messages that were not of the contract."""
        return self._dropped.total()

    def take(self, received: Received) -> None:
        """Hand one message on, or drop it."""
        try:
            content = self._decode(received)
        except WireError as error:
            self._drop(received.topic, error)
            return
        match content:
            case Ack():
                self._on_ack(content)
            case Result():
                self._on_result(content)
            case Command():
                self._on_command(content)
            case State():
                self._on_state(content, received.retain)

    def _decode(self, received: Received) -> Ack | Result | State | Command:
        if received.topic == self._topics.ack:
            return Ack.decode(received.payload)
        if received.topic == self._topics.result:
            return Result.decode(received.payload)
        if received.topic == self._topics.state:
            return State.decode(received.payload)
        return Command.decode(received.topic.removeprefix(f"{self._topics.prefix}/"), received.payload)

    def _drop(self, topic: str, error: WireError) -> None:
        kind = topic.removeprefix(f"{self._topics.prefix}/").partition("/")[0]
        kind = kind if kind in _KINDS else "other"
        self._dropped[kind] += 1
        level = log.warning if self._dropped[kind] == 1 else log.debug
        level("message_dropped", topic=printable(topic, 120), error=error.text, count=self._dropped[kind])

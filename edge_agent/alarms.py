"""Takes what a person must hear of to the uplink; what comes before there is one waits for it.

Never blocks, never raises. None is lost for being too long: its text is cut, and then its data left out.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from edge_agent.outbox.base import Notice
from edge_agent.sanitize import printable
from edge_agent.uplink.base import Message
from edge_agent.uplink.publisher import Publisher
from edge_agent.uplink.wire import ALARM_TEXT_CHARS, WireError

log = structlog.get_logger(__name__)

WAITING = 32
"""Alarms that wait for the first publisher; the oldest go first, and the log has them all."""


class Alarms:
    """``uplink`` returns the publisher of the moment; call ``deliver`` when there is a new one."""

    def __init__(self, uplink: Callable[[], Publisher | None]) -> None:
        self._uplink = uplink
        self._waiting: deque[Notice] = deque(maxlen=WAITING)
        self._again: deque[Message] = deque(maxlen=WAITING)

    def tell(self, notice: Notice) -> None:
        """Log it, and say it in `evt/alarm`."""
        log.warning("alarm", code=notice.code, text=notice.text, **{"data": notice.data} if notice.data else {})
        self._waiting.append(notice)
        self.deliver()

    def take_back(self, unheard: Sequence[Message]) -> None:
        """An uplink ended before the broker had these: the next one says them, before all others."""
        self._again.extend(unheard)

    def deliver(self) -> None:
        """Hand over what waits."""
        publisher = self._uplink()
        while publisher is not None and self._again:
            publisher.alarm_again(self._again.popleft())
        while publisher is not None and self._waiting:
            _say(publisher, self._waiting.popleft())


def _say(publisher: Publisher, notice: Notice) -> None:
    """As much of it as an Alarm has room for."""
    # A character may take twelve bytes of JSON: what is short enough in characters may still be too many bytes.
    shorter: list[tuple[int, Mapping[str, int | str]]] = [
        (ALARM_TEXT_CHARS, notice.data),
        (ALARM_TEXT_CHARS, {}),
        (128, {}),
    ]
    for chars, data in shorter:
        try:
            publisher.alarm(notice.code, printable(notice.text or notice.code, chars), data)
        except WireError as error:
            log.warning("alarm_not_valid", code=notice.code, error=error.text)
        else:
            return

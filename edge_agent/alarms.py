"""Takes what a person must hear of to the uplink; what comes before there is one waits for it.

Never blocks, never raises.
"""

from collections import deque
from collections.abc import Callable

import structlog

from edge_agent.outbox.base import Notice
from edge_agent.uplink.publisher import Publisher
from edge_agent.uplink.wire import WireError

log = structlog.get_logger(__name__)

WAITING = 32
"""Alarms that wait for the first publisher; the oldest go first, and the log has them all."""


class Alarms:
    """``uplink`` returns the publisher of the moment; call ``deliver`` when there is a new one."""

    def __init__(self, uplink: Callable[[], Publisher | None]) -> None:
        self._uplink = uplink
        self._waiting: deque[Notice] = deque(maxlen=WAITING)

    def tell(self, notice: Notice) -> None:
        """Log it, and say it in `evt/alarm`."""
        log.warning("alarm", code=notice.code, text=notice.text, **{"data": notice.data} if notice.data else {})
        self._waiting.append(notice)
        self.deliver()

    def deliver(self) -> None:
        """Hand over what waits."""
        publisher = self._uplink()
        while publisher is not None and self._waiting:
            notice = self._waiting.popleft()
            try:
                publisher.alarm(notice.code, notice.text, notice.data)
            except WireError as error:
                log.warning("alarm_not_valid", code=notice.code, error=error.text)

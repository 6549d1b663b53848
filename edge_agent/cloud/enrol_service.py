"""Listens for requests on MQTT and answers them at the desk. Bad requests are logged and answered by nothing.

It keeps nothing itself: who was not answered asks again, and gets the same certificate from the desk.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from edge_agent.backoff import Backoff
from edge_agent.clock import SystemClock
from edge_agent.cloud.enrolling import Desk, read_expected
from edge_agent.enrolment.answer import Answer
from edge_agent.enrolment.checks import EnrolError
from edge_agent.enrolment.request import Request, parse_request
from edge_agent.errors import ConfigError, UplinkError
from edge_agent.sanitize import printable
from edge_agent.strict_json import WireError
from edge_agent.uplink.base import Acked, LinkDown, LinkSettings, LinkUp, Message, Received
from edge_agent.uplink.connection import Connection
from edge_agent.uplink.topics import ENROL_REQUEST, ROOT, Topics, parse_topic

log = structlog.get_logger(__name__)


class EnrolService:
    """One listener; ``expected`` is read anew for each request. A ConnectionHandler."""

    def __init__(
        self, desk: Desk, link: LinkSettings, *, expected: Path, fleet: str, wall: Callable[[], float]
    ) -> None:
        self._desk = desk
        self._expected = expected
        self._wall = wall
        self._stopped = asyncio.Event()
        self.answered = 0
        self.connection = Connection(
            lambda: link,
            subscriptions=(f"{ROOT}/{fleet}/+/{ENROL_REQUEST}",),
            handler=self,
            clock=SystemClock(assume_synced=True),  # a server's clock
            backoff=Backoff(1.0, 60.0),
        )

    async def run(self) -> None:
        """Answer until ``stop``."""
        stopping = asyncio.create_task(self._stop_when_told())
        try:
            await self.connection.run()
        finally:
            stopping.cancel()
            with suppress(asyncio.CancelledError):
                await stopping

    async def _stop_when_told(self) -> None:
        await self._stopped.wait()
        await self.connection.stop()

    def stop(self) -> None:
        """End ``run``."""
        self._stopped.set()

    def on_up(self, _up: LinkUp) -> None:
        """See the port."""
        log.info("enrolments_are_answered", expected=str(self._expected))

    def on_down(self, down: LinkDown) -> None:
        """See the port."""

    def on_ack(self, acked: Acked) -> None:
        """See the port."""

    def on_message(self, received: Received) -> None:
        """Answer one request; the work is a few milliseconds, for a terminal that comes once a year."""
        try:
            request = _request_of(received)
        except WireError as error:
            problem = printable(error.text, 200)
            log.warning("enrol_request_refused", topic=printable(received.topic, 80), problem=problem)
            return
        try:
            answer = self._desk.answer(request, now=self._wall(), expected=read_expected(self._expected))
        except (ConfigError, EnrolError, OSError) as error:
            problem = error.problems[0] if isinstance(error, ConfigError) else str(error)
            log.warning("enrol_desk_failed", problem=printable(problem, 200), remedy="put it right; it is asked again")
            return
        taken = isinstance(answer, Answer)
        log.info(
            "enrol_answered" if taken else "enrol_refused",
            terminal=request.terminal,
            fleet=request.fleet,
            kid=request.tap_key.kid.hex(),
            serial=printable(request.serial),
            why="" if isinstance(answer, Answer) else answer.code,
        )
        topic = Topics(request.fleet, request.terminal).enrol_answer
        try:
            self.connection.publish(Message(topic, answer.to_json(), qos=1, content_type="application/json"))
        except UplinkError as error:
            log.warning("enrol_answer_not_sent", problem=error.text)
            return
        self.answered += 1


def _request_of(received: Received) -> Request:
    where, request = parse_topic(received.topic), parse_request(received.payload)
    if (where.fleet, where.terminal) != (request.fleet, request.terminal):
        raise WireError("the request is for another terminal than its topic")
    return request

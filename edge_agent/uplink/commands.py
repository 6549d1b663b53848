"""Commands from the cloud (contract, section 4): each id is run at most once and gets exactly one final answer.

Only harmless commands are known yet; everything else is answered as unsupported, nothing is silently ignored.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

import structlog

from edge_agent.clock import Clock
from edge_agent.errors import EdgeAgentError
from edge_agent.models import ClockTrust
from edge_agent.sanitize import printable
from edge_agent.uplink.wire import Command, Response, ResponseStatus, WireError

log = structlog.get_logger(__name__)

Action = Callable[[Command], str | None]
"""Carries a command out and returns the detail of the answer, if there is something to tell.

Raises EdgeAgentError with the reason why it cannot; WireError for arguments that are not of the contract.
"""

REMEMBERED_IDS = 256


class Commands:
    """Knows the commands and remembers the last ids."""

    def __init__(self, actions: Mapping[str, Action], *, clock: Clock) -> None:
        self._actions = dict(actions)
        self._clock = clock
        self._seen: OrderedDict[str, None] = OrderedDict()

    def handle(self, command: Command) -> Response | None:
        """Run the command and return its answer; None if this id was answered already."""
        if command.id in self._seen:
            log.debug("command_repeated", command=command.name, id=printable(command.id))
            return None
        self._seen[command.id] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        response = self._answer(command)
        log.info("command", command=command.name, id=printable(command.id), status=response.status.value)
        return response

    def _answer(self, command: Command) -> Response:
        if self._expired(command):
            return Response(command.id, ResponseStatus.REFUSED, "expired", "exp is in the past")
        action = self._actions.get(command.name)
        if action is None:
            return Response(command.id, ResponseStatus.UNSUPPORTED, "unsupported", "this agent does not know it")
        try:
            detail = action(command)
        except WireError as error:
            return Response(command.id, ResponseStatus.REFUSED, "bad_args", printable(error.text, 200))
        except EdgeAgentError as error:
            return Response(command.id, ResponseStatus.FAILED, error.code, printable(error.text, 200))
        return Response(command.id, ResponseStatus.DONE, "ok", detail or "")

    def _expired(self, command: Command) -> bool:
        now = self._clock.read()
        # An unset clock cannot tell. What is known here does no harm when late, and the broker expires messages too.
        return now.trust is not ClockTrust.UNSET and now.unix > command.exp

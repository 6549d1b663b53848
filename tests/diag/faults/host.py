"""What breaks in the host below the agent: service, configuration, disk, clock, power."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.diag.faults.base import Fault
from tests.diag.faults.terminal import Terminal


@contextmanager
def agent_stopped(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    yield


@contextmanager
def typing_error(terminal: Terminal) -> Iterator[None]:
    terminal.stop_agent()
    terminal.edit("poll_ms = 20", "poll_ms = twenty")
    yield


FAULTS = (
    Fault("agent stopped", agent_stopped, "agent-down"),
    Fault("typing error in the configuration, agent down", typing_error, "config-invalid"),
)

"""What the publisher asks of its surroundings, and what it shows of itself: the connection, the agent, the status."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.outbox.base import Head
from edge_agent.uplink.base import DownReason, LinkDown, Message
from edge_agent.uplink.commands import Action
from edge_agent.uplink.echo import NOTHING_HEARD, Heard
from edge_agent.uplink.sender import Refusal, UplinkObserver
from edge_agent.uplink.wire import Health, Result


class ConnectionLike(Protocol):
    """What the publisher needs of a Connection."""

    last_failure: LinkDown | None
    """Why the last attempt or connection ended; None while connected."""

    async def run(self) -> None:
        """Stay connected until ``stop``."""

    def publish(self, message: Message) -> int:
        """Send now; raises UplinkError."""

    def give_up(self, reason: DownReason, text: str) -> None:
        """Close this link and connect again."""

    def poke(self) -> None:
        """Connect now instead of at the end of the back-off."""

    def slow_down(self) -> None:
        """Wait longer after each end, until a connection lasts."""

    async def stop(self, last: Message | None = None) -> None:
        """Say ``last`` and end."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the agent wants to be asked and told. All but ``health`` are called on the event loop and must be quick."""

    health: Callable[[], Awaitable[Health]] | None = None
    """None: no telemetry."""
    actions: Mapping[str, Action] = field(default_factory=dict)
    """Commands beside ``rebirth`` and ``resend``, by name; each raises EdgeAgentError if it cannot be done."""
    on_result: Callable[[Result], None] | None = None
    observer: UplinkObserver | None = None
    checkpoint: Callable[[Head], bytes] | None = None
    """Signs a checkpoint; None: none are sent."""
    on_online: Callable[[], None] | None = None
    """The broker has our state ``online`` (PUBACK)."""


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class UplinkSnapshot:
    """The uplink at one moment, for the status; counts since start.

    ``since`` and ``ticked``, the last time that its loop came by, are CLOCK_MONOTONIC seconds.
    """

    up: bool
    since: float
    reason: str
    text: str
    session: str
    in_flight: int
    sent: int
    acked: int
    stored: int
    refused: int
    parked: int
    requeued: int
    dropped: int
    ticked: float
    identity: str = ""
    """What speaks for another terminal with our identity; empty: nothing does."""
    identity_code: str = ""
    """The same as a word: ``identity_conflict`` or ``identity_suspected``."""
    code: int = 0
    """Reason code that came with ``reason``; 0: none did."""
    refusal: Refusal | None = None
    """What the broker does not take at the moment."""
    heard: Heard = NOTHING_HEARD

"""Joins surfaces to the rest of the agent: the terminal's key seals their tickets, their reads become its taps.

A terminal without [[tags]] must not pay for the room ``tags``: it is imported here only where there is one.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edge_agent.clock import Clock
from edge_agent.errors import ConfigError
from edge_agent.models import StoredTap, TapFacts
from edge_agent.screen import ScreenCues
from edge_agent.tokens.sign1 import Signer

if TYPE_CHECKING:
    from edge_agent.config import Settings
    from edge_agent.tags.base import TicketSurface
    from edge_agent.tags.service import TagService


def services(
    surfaces: "tuple[TicketSurface, ...]",
    settings: "Settings",
    key: Signer,
    *,
    issue: Callable[[TapFacts], Awaitable[StoredTap]],
    cues: ScreenCues,
    clock: Clock,
) -> "tuple[TagService, ...]":
    """Return what keeps these surfaces at work, in the order of the settings."""
    if not surfaces:
        return ()
    from edge_agent.tags.service import Issuing, TagService  # noqa: PLC0415 - see above

    tickets = settings.tickets
    if tickets.host is None:
        raise ConfigError(["tickets: [[tags]] need `host`"])
    issuing = Issuing(tickets.host, tickets.ttl, key.kid, key.sign)
    pauses = {tag.name: float(tag.rotate_s) for tag in settings.tags if tag.driver == "qr"}
    return tuple(
        TagService(
            surface,
            issuing=issuing,
            issue=issue,
            show=cues.for_reader(surface.name),
            clock=clock,
            every_s=pauses.get(surface.name),
        )
        for surface in surfaces
    )

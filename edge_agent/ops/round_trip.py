"""What `doctor` asks of the running agent: one round to the broker and the receiver and back, measured.

While the link is down it is tried at once, so that doctor need not connect under the agent's name and push it out.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_agent.clock import Clock
from edge_agent.control import Op
from edge_agent.errors import ControlError
from edge_agent.sanitize import printable
from edge_agent.uplink.base import LinkDown
from edge_agent.uplink.echo import Echo
from edge_agent.uplink.hooks import UplinkSnapshot

OP = "round-trip"
WAIT_S = 3.0
"""Less than the control server gives an op, and doctor a check."""
_LOOK_EVERY_S = 0.02


class Asked(Protocol):
    """The publisher, as far as this needs it."""

    echo: Echo

    @property
    def last_failure(self) -> LinkDown | None:
        """See the publisher."""

    def ask_for_echo(self) -> bool:
        """See the publisher."""

    def poke(self) -> None:
        """See the publisher."""

    def snapshot(self) -> UplinkSnapshot:
        """See the publisher."""


@dataclass(frozen=True, slots=True)
class RoundTripOps:
    """The op of one agent; one round at a time, a second question measures anew."""

    uplink: Callable[[], Asked | None]
    clock: Clock
    wait_s: float = WAIT_S

    def ops(self) -> dict[str, Op]:
        """Name and handler for the control server."""
        return {OP: self.measure}

    async def measure(self, _request: Mapping[str, object]) -> dict[str, object]:
        """Times in milliseconds, None for what did not come within ``wait_s``; raises ControlError while it starts.

        ``ahead_s`` is ``[least, most]``: by how many seconds the receiver's clock is ahead of ours.
        """
        uplink = self.uplink()
        if uplink is None:
            raise ControlError("the uplink is just starting", remedy="ask again in a few seconds")
        ends = self.clock.monotonic() + self.wait_s
        failed = uplink.last_failure
        if not uplink.snapshot().up:
            uplink.poke()
            await self._until(lambda: uplink.snapshot().up or uplink.last_failure is not failed, ends)
        if uplink.ask_for_echo():
            await self._until(lambda: _is_done(uplink), ends)
        return _told(uplink)

    async def _until(self, done: Callable[[], bool], ends: float) -> None:
        while not done() and self.clock.monotonic() < ends:  # noqa: ASYNC110 -- asked by a person, bounded, rare
            await asyncio.sleep(_LOOK_EVERY_S)


def _is_done(uplink: Asked) -> bool:
    found, refusal = uplink.echo.round, uplink.snapshot().refusal
    if found is None or found.cut or (refusal is not None and refusal.suffix == "state"):
        return True
    return None not in (found.puback_s, found.ack_s)


def _told(uplink: Asked) -> dict[str, object]:
    snap, found = uplink.snapshot(), uplink.echo.round if uplink.snapshot().up else None
    return {
        "up": snap.up,
        "reason": snap.reason,
        "text": printable(snap.text, 200),
        "code": snap.code,
        "refusal": None if snap.refusal is None else {"topic": snap.refusal.suffix, "code": snap.refusal.code},
        "puback_ms": _ms(found.puback_s if found else None),
        "ack_ms": _ms(found.ack_s if found else None),
        "ahead_s": list(found.ahead) if found and found.ahead else None,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)

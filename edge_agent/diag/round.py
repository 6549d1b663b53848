"""The running agent's word on its uplink: connected or why not, and one round to the receiver and back. Asked once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.diag.finding import CannotLook
from edge_agent.errors import ControlError
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

ASK_S = 4.0
"""The agent takes three seconds at most."""


@dataclass(frozen=True, slots=True)
class Round:
    """The answer to ``round-trip``; times in milliseconds, None: did not come."""

    up: bool
    reason: str
    """A DownReason; empty while connected."""
    text: str
    code: int
    refused: tuple[str, int] | None
    """What the broker does not take, by the end of its topic, and the code of the PUBACK."""
    puback_ms: float | None
    ack_ms: float | None
    ahead_s: tuple[int, int] | None
    """The receiver's clock is ahead of ours by so many seconds at least and at most."""


def round_trip(site: "Site") -> Round:
    """Ask for it; raises CannotLook where no agent answers."""
    site.status  # noqa: B018 -- raises what tells why nobody can be asked
    found = site.once("round-trip", lambda: _ask(site))
    if isinstance(found, str):
        raise CannotLook(found, remedy="ask again in a few seconds")
    return found


def _ask(site: "Site") -> "Round | str":
    try:
        return _read(site.ask({"op": "round-trip"}, ASK_S))
    except ControlError as error:
        return error.text


def _read(answer: Mapping[str, Any]) -> Round:
    refusal, ahead = answer.get("refusal"), answer.get("ahead_s")
    refused = None
    if isinstance(refusal, dict):
        refused = (printable(str(refusal.get("topic")), 40), int(_number(refusal.get("code")) or 0))
    least_most = None
    if isinstance(ahead, list) and len(ahead) == 2 and None not in (pair := [_number(one) for one in ahead]):
        least_most = (int(pair[0] or 0), int(pair[1] or 0))
    return Round(
        up=answer.get("up") is True,
        reason=printable(str(answer.get("reason") or ""), 20),
        text=printable(str(answer.get("text") or ""), 200),
        code=int(_number(answer.get("code")) or 0),
        refused=refused,
        puback_ms=_number(answer.get("puback_ms")),
        ack_ms=_number(answer.get("ack_ms")),
        ahead_s=least_most,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 else None  # NaN is below nothing

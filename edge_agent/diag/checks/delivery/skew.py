"""This terminal's clock and the receiver's tell the same time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag.check import Check
from edge_agent.diag.checks.delivery.login import TOPICS, kind_of
from edge_agent.diag.finding import CannotLook, Finding, Kind, NotHere, Seen, Severity
from edge_agent.diag.round import round_trip

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

SKEWED_S = 5

FAR_OFF = Kind(
    "clock-far-off",
    Severity.ERROR,
    "This clock is so far off that tokens are worthless",
    "Tokens hold for seconds, and by the receiver's clock these are over, or of the future. Set the clock, and see why "
    "it is wrong although it may seem synchronised: a wrong time server.",
    ("timedatectl", "timedatectl timesync-status"),
    hides=("clock-skewed",),
)
SKEWED = Kind(
    "clock-skewed",
    Severity.WARNING,
    "This clock and the receiver's are not the same",
    "One of the two is wrong. Compare both with a third one; see which time server this machine uses.",
    ("timedatectl", "timedatectl timesync-status"),
)


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Ask the running agent, which heard the receiver's time in its last ``ack``."""
    found = round_trip(site)
    if not found.up:
        raise CannotLook("the agent is not connected", because=kind_of(found.reason, found.code, found.text).id)
    if found.ack_ms is None:
        if found.refused is not None:
            raise CannotLook("the broker does not take the question", because=TOPICS.id)
        raise NotHere("no receiver answers")  # whether that is a fault, `round-trip` says
    if found.ahead_s is None:
        raise NotHere("the receiver does not tell its time")
    least, most = found.ahead_s
    off = least if least > 0 else min(most, 0)
    if abs(off) <= SKEWED_S:
        yield Seen(f"within {max(abs(least), abs(most))} s of the receiver's")
        return
    ttl = site.settings.token.ttl
    text = f"the receiver's clock is {_span(abs(off))} {'ahead of' if off > 0 else 'behind'} this one"
    yield Finding(FAR_OFF if abs(off) > ttl else SKEWED, f"{text}; a token holds for {ttl} s")


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * 86_400 else f"{seconds // 86_400} days"


CHECK = Check("skew", "this clock is the receiver's, too", (FAR_OFF, SKEWED), look)

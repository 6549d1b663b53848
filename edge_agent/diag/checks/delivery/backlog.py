"""What waits in the outbox goes out: it drains, it is not old, and what went out is confirmed."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.outbox_look import Outbox, outbox_of

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

STUCK = Kind(
    "backlog-stuck",
    Severity.ERROR,
    "The agent is connected, but what waits is not sent",
    "The broker refuses it, or the agent has a fault. See what the log says, then restart the agent: nothing is lost.",
    ("edge-agent logs -n 50", "edge-agent outbox stats", "sudo systemctl restart edge-agent"),
)
OLD = Kind(
    "backlog-old",
    Severity.WARNING,
    "Taps have been waiting for long",
    "They are kept, but nobody is rewarded yet. The terminal needs a connection.",
    ("edge-agent outbox stats", "edge-agent status"),
)
UNCONFIRMED = Kind(
    "backlog-unconfirmed",
    Severity.WARNING,
    "What was delivered long ago is not confirmed",
    "The receiver answers, but not about these: it may not know the key that signed them, or hold them for forged. Its "
    "operators see why.",
    ("edge-agent outbox verify", "edge-agent keys show"),
)

OLD_S = 3600
STUCK_S = 120
"""So old is what waits, and so long has the link been up."""
LOOK_S = 1.5


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Count what waits, and while the agent is connected look again a moment later."""
    found = outbox_of(site)
    uplink = _uplink(site.running or {})
    ttl, now = site.settings.token.ttl, time.time()
    waits = _age(found.waits_exp, ttl, now) if found.pending else 0
    if found.pending and uplink.get("up") is True:
        yield from _draining(site, found, uplink, waits)
    elif found.pending and waits > OLD_S:
        yield Finding(OLD, f"{found.pending} taps wait, the oldest for {_span(waits)}")
    else:
        yield Seen(f"{found.pending} taps wait" + (f", the oldest for {_span(waits)}" if waits else ""))
    resend = site.settings.uplink.resend_after_s
    late = _age(found.unconfirmed_exp, ttl, now) if found.sent else 0
    if site.settings.uplink.confirm == "receiver" and late > 2 * resend:
        yield Finding(UNCONFIRMED, f"{found.sent} taps are sent and unconfirmed, the oldest for {_span(late)}")
    elif found.gaps and _number(uplink.get("since_s")) > 2 * resend and uplink.get("up") is True:
        yield Finding(UNCONFIRMED, f"{found.gaps} gap records are unconfirmed, {_span(2 * resend)} and more")


def _draining(site: "Site", found: Outbox, uplink: Mapping[str, Any], waits: float) -> Iterator[Finding | Seen]:
    time.sleep(LOOK_S)
    after = _uplink(site.ask({"op": "status"}))
    gone = _number(after.get("acked")) - _number(uplink.get("acked"))
    if gone <= 0 and min(waits, _number(uplink.get("since_s"))) > STUCK_S and after.get("up") is True:
        yield Finding(STUCK, f"{found.pending} taps wait, the oldest for {_span(waits)}; none left in {LOOK_S:g} s")
        return
    left = f"; {gone / LOOK_S:.0f} a second go out" if gone > 0 else ""
    yield Seen(f"{found.pending} taps wait{left}")


def _uplink(status: Mapping[str, Any]) -> Mapping[str, Any]:
    found = status.get("uplink")
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _age(exp: int | None, ttl: int, now: float) -> float:
    """How old a token is that ends at ``exp``; 0 where nobody knows: an unset clock, a clock that was set back."""
    age = 0.0 if not exp else now - (exp - ttl)
    return age if 0 < age < 10 * 365 * 86_400 else 0.0


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


CHECK = Check("backlog", "what waits goes out", (STUCK, OLD, UNCONFIRMED), look)

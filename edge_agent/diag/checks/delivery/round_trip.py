"""From the agent to the broker and the receiver and back: who answers, and how long it takes."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.checks.delivery.login import TOPICS, kind_of
from edge_agent.diag.finding import CannotLook, Finding, Kind, Seen, Severity
from edge_agent.diag.round import round_trip

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

SLOW_MS = 2000

SWALLOWS = Kind(
    "broker-swallows",
    Severity.ERROR,
    "The broker takes messages, but acknowledges none",
    "The connection is there and nothing comes back: a broker that hangs, or a network that loses all in one "
    "direction. The agent begins a new connection by itself after half a minute.",
    ("edge-agent status", "edge-agent logs -n 30"),
    hides=("receiver-silent", "receiver-unheard", "broker-slow", *way.BACKLOG),
)
SLOW = Kind(
    "broker-slow",
    Severity.WARNING,
    "The broker answers slowly",
    "Taps arrive late. A weak radio link, a full line, or a broker with too much to do.",
    ("edge-agent status",),
)
SILENT = Kind(
    "receiver-silent",
    Severity.ERROR,
    "The broker takes the taps, but nobody confirms them",
    "The receiver behind the broker does not run, does not know this terminal's key, or reads another fleet. Nothing "
    "is lost: taps are kept and sent again. Tell its operators.",
    ("edge-agent keys show", "edge-agent outbox stats"),
    hides=("receiver-unheard", "backlog-unconfirmed"),
)
UNHEARD = Kind(
    "receiver-unheard",
    Severity.WARNING,
    "Nobody behind the broker answers",
    "No tap waits for it yet. Make a test tap; if it is not confirmed, tell the receiver's operators.",
    ("edge-agent tap simulate", "edge-agent outbox stats"),
)


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Ask the running agent."""
    found = round_trip(site)
    if not found.up:
        kind = kind_of(found.reason, found.code, found.text)
        raise CannotLook("the agent is not connected", because=kind.id)
    if found.refused is not None and found.refused[0] == "state":
        raise CannotLook("the broker does not take the question", because=TOPICS.id)
    if found.puback_ms is None:
        yield Finding(SWALLOWS, "connected, and no PUBACK came within 3 s")
        return
    if found.puback_ms > SLOW_MS:
        yield Finding(SLOW, f"PUBACK after {found.puback_ms / 1000:.1f} s")
    if found.ack_ms is not None:
        yield Seen(f"PUBACK after {found.puback_ms:.0f} ms, the receiver's ack after {found.ack_ms:.0f} ms")
    elif way.uplink_of(site).confirm == "receiver":
        yield _nobody(site.status)
    else:
        yield Seen(f"PUBACK after {found.puback_ms:.0f} ms; the receiver is not asked (confirm = broker)")


def _nobody(status: Mapping[str, Any]) -> Finding:
    outbox, uplink = status.get("outbox"), status.get("uplink")
    sent = outbox.get("sent") if isinstance(outbox, dict) else None
    last = uplink.get("ack_s") if isinstance(uplink, dict) else None
    heard = (
        f"the last ack came {last:.0f} s ago" if isinstance(last, int | float) else "no ack has come since the start"
    )
    if isinstance(sent, int) and sent > 0:
        return Finding(SILENT, f"{sent} delivered taps wait for an ack; {heard}")
    return Finding(UNHEARD, f"our state was taken, and no ack came within 3 s; {heard}")


CHECK = Check("round-trip", "broker and receiver answer", (SWALLOWS, SLOW, SILENT, UNHEARD), look)

"""Nobody else uses this terminal's identity, and it is no longer the sample's."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

CONFLICT = Kind(
    "identity-conflict",
    Severity.ERROR,
    "Another terminal uses this one's identity",
    "A cloned SD card, or an id given twice: both push each other out. Find the other one, and let one of the two "
    "enrol under an id and a key of its own.",
    ("edge-agent status", "edge-agent enrol --help"),
    hides=("identity-suspected", *way.AFTER_LOGIN),
)
SUSPECTED = Kind(
    "identity-suspected",
    Severity.WARNING,
    "Connections end at once, again and again",
    "A bad network, a broker that restarts, or another terminal with this one's identity. See whether the broker's log "
    "names the same client from two addresses.",
    ("edge-agent status", "edge-agent logs -n 30"),
)
SAMPLE = Kind(
    "sample-identity",
    Severity.WARNING,
    "The terminal has the sample's id",
    "Every terminal that was set up from the sample would have it. Write its own into [terminal] id, or let "
    "`edge-agent enrol` make one.",
    ("edge-agent config explain terminal.id",),
)
NOT_ENROLLED = Kind(
    "not-enrolled",
    Severity.ERROR,
    "This terminal has not been set up yet",
    "Enrol it: that makes its keys and brings its id, its broker and its certificates. The page of this finding says "
    "how.",
    ("sudo edge-agent enrol", "edge-agent enrol status"),
    hides=(
        SAMPLE.id,
        "sample-broker",
        "signing-key-unusable",
        *way.NO_START,
        *way.AFTER_NETWORK,
    ),
)
SAMPLE_ID = "sh-000123-a"
"""Of config/edge-agent.toml; a test compares the two."""


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Ask the agent what speaks for another one; the id is looked at in any case."""
    terminal, uplink = site.settings.terminal, way.uplink_of(site)
    if terminal.id == SAMPLE_ID and way.is_sample(uplink.host):
        yield Finding(NOT_ENROLLED, f"terminal.id and the broker {uplink.host} are those of the sample")
    elif terminal.id == SAMPLE_ID and not way.is_this_machine(uplink.host):
        yield Finding(SAMPLE, f"terminal.id is {SAMPLE_ID}")
    told = site.status.get("uplink")
    text = printable(str(told.get("identity") or ""), 250) if isinstance(told, dict) else ""
    if not text:
        yield Seen(f"nothing speaks for a second {terminal.id}")
        return
    suspected = isinstance(told, dict) and told.get("identity_code") == "identity_suspected"
    yield Finding(SUSPECTED if suspected else CONFLICT, text)


CHECK = Check("identity", "nobody else is this terminal", (CONFLICT, SUSPECTED, SAMPLE, NOT_ENROLLED), look)

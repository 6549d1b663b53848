"""The outbox keeps taps: it is sound, has room, and holds nothing that was given up."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge_agent.diag import way
from edge_agent.diag.check import Check
from edge_agent.diag.finding import Finding, Kind, Seen, Severity
from edge_agent.diag.outbox_look import Outbox, outbox_of

if TYPE_CHECKING:
    from edge_agent.diag.site import Site

NEARLY_FULL = 0.8

DAMAGED = Kind(
    "outbox-damaged",
    Severity.ERROR,
    "The outbox is damaged",
    "Start the agent: it sets the file aside, delivers what can be read of it, and begins a new one. Then look for the "
    "cause: a dying SD card, a power cut on a disk that lies.",
    ("sudo dmesg | grep -i -e mmc -e error | tail", "sudo systemctl start edge-agent"),
    hides=("outbox-set-aside", *way.BACKLOG),
)
FULL = Kind(
    "outbox-full",
    Severity.ERROR,
    "There is no room for another tap",
    "Make room on the disk, or connect the terminal so that it delivers what it holds.",
    ("df -h", "edge-agent outbox stats"),
    hides=("outbox-nearly-full",),
)
READ_ONLY = Kind(
    "outbox-read-only",
    Severity.ERROR,
    "The outbox cannot be written",
    "The file system is read-only: as it was configured, or because the kernel found it damaged. Its messages tell.",
    ("sudo dmesg | grep -i -e ext4 -e mmc -e remount | tail", "findmnt -T /var/lib/edge-agent"),
)
FAILING = Kind(
    "outbox-failing",
    Severity.ERROR,
    "The disk of the outbox fails",
    "Taps are refused while it does. Save what can be saved, and replace the card or disk.",
    ("sudo dmesg | grep -i -e mmc -e error | tail", "edge-agent outbox export --help"),
)
UNUSABLE = Kind(
    "outbox-unusable",
    Severity.ERROR,
    "The outbox cannot be used",
    "A missing folder, a wrong owner, a foreign file or one of a newer version: the text tells. The agent cannot mend "
    "this by itself.",
    ("edge-agent config explain outbox.path", "ls -la /var/lib/edge-agent"),
    hides=(*way.NO_START, *way.BACKLOG),
)
NEARLY_FULL_KIND = Kind(
    "outbox-nearly-full",
    Severity.WARNING,
    "The outbox is nearly full",
    "When it is, the oldest taps are given up. See why they are not delivered.",
    ("edge-agent outbox stats", "edge-agent status"),
)
SET_ASIDE = Kind(
    "outbox-set-aside",
    Severity.WARNING,
    "A damaged outbox was set aside",
    "What could be read of it is delivered. Look for the cause, keep the file until the cloud has no gap, then remove "
    "it.",
    ("ls -la /var/lib/edge-agent", "sudo dmesg | grep -i -e mmc -e error | tail"),
)
PARKED = Kind(
    "taps-parked",
    Severity.WARNING,
    "The broker finally refused some taps",
    "They are kept, and not sent again by themselves. The reason stands beside them; once it is removed, have them "
    "sent again.",
    ("edge-agent outbox list --help", "edge-agent outbox resend --help"),
)
EVICTED = Kind(
    "taps-evicted",
    Severity.WARNING,
    "Taps were given up undelivered",
    "There was no room for them; the cloud is told by a gap record. Deliver more often, or give the outbox more room.",
    ("edge-agent outbox stats", "edge-agent config explain outbox.max_rows"),
)
_BY_FAULT = {"full": FULL, "damaged": DAMAGED, "read_only": READ_ONLY, "failing": FAILING, "busy": FAILING}


def look(site: "Site") -> Iterator[Finding | Seen]:
    """Ask the running agent, or open the file to read it."""
    found, path = outbox_of(site), str(site.settings.outbox.path)
    if found.fault:
        kind = _BY_FAULT.get(found.fault, UNUSABLE)
        yield Finding(kind, found.text or f"the agent says: {found.fault.replace('_', ' ')}", path)
    if found.quarantined:
        more = "; its rows are being taken over" if found.salvaging else ""
        yield Finding(SET_ASIDE, f"{', '.join(found.quarantined[:3])}{more}", path)
    if found.parked:
        yield Finding(PARKED, f"{found.parked} of them")
    if found.evicted and found.gaps:  # once the cloud knows it, it is history
        yield Finding(EVICTED, f"{found.evicted} of them since this outbox began; {found.gaps} gap records wait")
    used = _used(found)
    told = f"{found.rows} rows, {found.bytes_on_disk / 1024 / 1024:.1f} MiB, {used:.0%} of its bounds"
    if used >= NEARLY_FULL and found.pending + found.sent:
        yield Finding(NEARLY_FULL_KIND, told, path)
    elif not found.fault:
        yield Seen(told)


def _used(found: Outbox) -> float:
    rows = found.rows / found.max_rows if found.max_rows else 0.0
    return max(rows, found.bytes_on_disk / found.max_bytes if found.max_bytes else 0.0)


KINDS = (DAMAGED, FULL, READ_ONLY, FAILING, UNUSABLE, NEARLY_FULL_KIND, SET_ASIDE, PARKED, EVICTED)
CHECK = Check("outbox", "the outbox keeps taps", KINDS, look)

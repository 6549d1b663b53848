"""Write docs/findings/README.md, the list of all findings: `python -m tests.diag.findings_index`."""

from collections.abc import Iterator
from pathlib import Path

from edge_agent.diag.check import ROOMS, all_checks
from edge_agent.diag.finding import Kind
from edge_agent.diag.runner import KINDS

INDEX = Path(__file__).parents[2] / "docs" / "findings" / "README.md"
ABOUT = {
    "host": "The machine below the agent: service, clock, disk, power, who may read what.",
    "devices": "Readers, screens, tags, and the lines to them.",
    "delivery": "From the outbox over network, TLS and login to the receiver's word that a tap is stored.",
}
HEAD = """\
# Findings

All that `edge-agent doctor` can find, each with a page: what it means, what to do, when it is gone. On the terminal
`edge-agent doctor --explain FINDING` prints it. About `doctor` itself: [for the technician](../technician.md).
"""


def index() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_lines()])


def _lines() -> Iterator[str]:
    for room in ROOMS:
        yield from (f"## {room.capitalize()}", "", ABOUT[room], "", "| Finding | | |", "|---|---|---|")
        kinds = [kind for check in all_checks() if check.room == room for kind in check.kinds]
        yield from map(_line, sorted(kinds, key=lambda kind: kind.id))
        yield ""
    yield from ("## Doctor itself", "", "| Finding | | |", "|---|---|---|")
    yield from map(_line, KINDS)
    yield ""


def _line(kind: Kind) -> str:
    return f"| [`{kind.id}`]({kind.id}.md) | {kind.severity.value} | {kind.title} |"


if __name__ == "__main__":
    INDEX.write_text(index(), encoding="utf-8")

"""`edge-agent outbox export FILE`: what the cloud may not have yet, in one file that a person can carry to it.

Nothing leaves the outbox: the receiver knows a tap that it has already.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_agent.cli.new_file import appearing
from edge_agent.cli.outbox_agent import Source
from edge_agent.cli.outbox_source import rows_of
from edge_agent.uplink.export_file import (
    CHECKPOINT,
    GAP,
    MAX_CONTENT_BYTES,
    TAP,
    ExportHeader,
    ExportItem,
    write_export,
)

WAITING = ("pending", "leased", "sent", "parked")
_KEPT = (*WAITING, "stored")


@dataclass(slots=True)
class Exported:
    """What is in the file; ``left_out`` rows have no readable token of the contract's size."""

    file: Path
    taps: int = 0
    gaps: int = 0
    checkpoints: int = 0
    left_out: int = 0
    bytes: int = 0

    def as_json(self) -> dict[str, object]:
        """Return the machine-readable form."""
        return {**asdict(self), "file": str(self.file)}


def export(source: Source, file: Path, *, whole: bool, force: bool, progress: Callable[[int], None]) -> Exported:
    """Write the file; ``whole``: with the rows that the cloud is known to have. Raises NotWritten, and as Source."""
    facts = source.facts()
    header = ExportHeader(facts.fleet, facts.terminal, int(time.time()))
    exported = Exported(file)
    with appearing(file, force=force) as stream:
        write_export(stream, header, _items(source, _KEPT if whole else WAITING, exported, progress))
        exported.bytes = stream.tell()
    return exported


def _items(
    source: Source, states: tuple[str, ...], exported: Exported, progress: Callable[[int], None]
) -> Iterator[ExportItem]:
    checkpoint = source.checkpoint()  # first: it swears to no tap that is not in the file
    for gap in source.gaps():
        exported.gaps += 1
        yield ExportItem(GAP, gap.token)
    for row in rows_of(source, [one for one in source.ranges() if one.state in states]):
        if row.state not in states:
            continue
        if not 1 <= len(row.token) <= MAX_CONTENT_BYTES:
            exported.left_out += 1
            continue
        exported.taps += 1
        progress(exported.taps)
        yield ExportItem(TAP, row.token)
    if checkpoint is not None:
        exported.checkpoints = 1
        yield ExportItem(CHECKPOINT, checkpoint)

"""A terminal's outbox that came on a stick instead of by MQTT: into the ledger the same way, only without a broker.

Batch by batch, each durable before the next is read: what a torn file holds up to the tear is kept, and importing it
again changes nothing. The receiver may run on the same ledger meanwhile.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from edge_agent.cloud.base import Disposition, Stream
from edge_agent.cloud.ingest import Arrival
from edge_agent.cloud.keeping import Keeper
from edge_agent.uplink.export_file import ExportHeader, ExportItem, read_export
from edge_agent.uplink.wire import Topics, WireError

_BATCH = 256


@dataclass(slots=True)
class Imported:
    """What one file came to; ``fault`` says what was wrong with the file itself."""

    header: ExportHeader | None = None
    tokens: int = 0
    records: int = 0
    stored: int = 0
    """Tokens that are rows of the ledger now and were not before."""
    verdicts: Counter[str] = field(default_factory=Counter)
    """What those count for: after a week they are ``expired``."""
    duplicates: int = 0
    """Tokens that were rows already."""
    refused: Counter[str] = field(default_factory=Counter)
    """Tokens and records that count for nothing, by verdict."""
    streams: dict[Stream, None] = field(default_factory=dict)
    breaks: int = 0
    fault: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the file was whole and all of it is in the ledger."""
        return not (self.fault or self.refused or self.breaks)


async def import_export(file: BinaryIO, keeper: Keeper, now: float) -> Imported:
    """Take in one file, at ``now`` in unix seconds; raises LedgerError, never for the file or what it holds."""
    done = Imported()
    try:
        done.header, items = read_export(file)
    except (WireError, OSError) as error:
        done.fault = _fault(error)
        return done
    source = _Source(done.header, items, now)
    while batch := source.take():
        await _keep(batch, keeper, done)
    done.fault = source.fault
    return done


class _Source:
    """Messages as the terminal would have published them, up to the end of the file or its first fault."""

    def __init__(self, header: ExportHeader, items: Iterator[ExportItem], now: float) -> None:
        self._prefix = Topics(header.fleet, header.terminal).prefix
        self._items = self._until_fault(items)
        self._now = now
        self.fault = ""

    def take(self) -> list[Arrival]:
        return [
            Arrival(f"{self._prefix}/{item.suffix}", item.content, self._now) for item in islice(self._items, _BATCH)
        ]

    def _until_fault(self, items: Iterator[ExportItem]) -> Iterator[ExportItem]:
        try:
            yield from items
        except (WireError, OSError) as error:
            self.fault = _fault(error)


def _fault(error: WireError | OSError) -> str:
    return error.text if isinstance(error, WireError) else f"it cannot be read: {error.strerror}"


async def _keep(batch: list[Arrival], keeper: Keeper, done: Imported) -> None:
    ingested, report = await keeper.store(batch, await keeper.judge(batch))
    done.tokens += len(ingested.items)
    done.records += len(ingested.records)
    for row, disposition in zip(ingested.rows, report.dispositions, strict=True):
        if row.withheld or disposition is Disposition.CONFLICT:
            done.refused[row.verdict if row.withheld else disposition.value] += 1
        elif disposition is Disposition.STORED:
            done.stored += 1
            done.verdicts[row.verdict] += 1
        else:
            done.duplicates += 1
    done.refused.update(evidence.verdict for evidence in ingested.evidence)
    done.breaks += len(report.breaks)
    done.streams.update(ingested.touched)

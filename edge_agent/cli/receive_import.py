"""`edge-agent receive --import`: what a technician carried home goes into the ledger, without a broker."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.render import Paper
from edge_agent.errors import ExitCode
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.cloud.base import Standing, Stream
    from edge_agent.cloud.carry_home import Imported

_SHOWN_MISSING = 6


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What to read, and where it goes."""

    files: tuple[Path, ...]
    ledger: Path
    keys: Path
    json: bool


def run_import(plan: ImportPlan) -> ExitCode:
    """Take in the files in order; 1 if one of them is torn, unreadable or holds what cannot be taken."""
    import asyncio  # noqa: PLC0415 -- a wrong command line is told before the heavy parts are imported

    return ExitCode.OK if asyncio.run(_import(plan)) else ExitCode.PROBLEM


async def _import(plan: ImportPlan) -> bool:
    import time  # noqa: PLC0415 -- the heavy half of the command

    from edge_agent.cloud.carry_home import Imported, import_export  # noqa: PLC0415 -- as above
    from edge_agent.cloud.keeping import Keeper  # noqa: PLC0415 -- as above
    from edge_agent.cloud.keyset import KeySet  # noqa: PLC0415 -- as above
    from edge_agent.cloud.ledger import SqliteLedger  # noqa: PLC0415 -- as above

    keys = KeySet.load(plan.keys)
    ledger = SqliteLedger(plan.ledger)
    keeper = Keeper(ledger, keys.lookup)
    good = True
    try:
        await ledger.open()
        for path in plan.files:
            try:
                with path.open("rb") as file:
                    done = await import_export(file, keeper, time.time())
            except OSError as error:
                done = Imported(fault=f"it cannot be read: {error.strerror}")
            standings = await ledger.standings(done.streams)
            show = _print_json if plan.json else _print_lines
            show(path, done, list(zip(done.streams, standings, strict=True)))
            good = good and done.is_good
    finally:
        keeper.close()
        await ledger.close()
    return good


def _print_json(path: Path, done: "Imported", chains: "list[tuple[Stream, Standing]]") -> None:
    header = done.header
    line: dict[str, Any] = {
        "event": "import",
        "file": str(path),
        "fleet": None if header is None else header.fleet,
        "terminal": None if header is None else header.terminal,
        "exported_at": None if header is None else header.at,
        "tokens": done.tokens,
        "records": done.records,
        "stored": done.stored,
        "duplicates": done.duplicates,
        "refused": dict(done.refused),
        "chain_breaks": done.breaks,
        "fault": done.fault,
        "chains": [
            {"chain": stream.chain.hex(), "through": standing.last, "missing": [list(pair) for pair in standing.holes]}
            for stream, standing in chains
        ],
    }
    print(json.dumps(line), flush=True)


def _print_lines(path: Path, done: "Imported", chains: "list[tuple[Stream, Standing]]") -> None:
    from edge_agent.cloud.stream_events import shown  # noqa: PLC0415 -- the cloud half

    paper = Paper(sys.stdout)
    who = "" if done.header is None else f" of {done.header.fleet}/{done.header.terminal}"
    name = printable(str(path), limit=160)
    paper.print(f"{name}: {done.tokens} tokens and {done.records} records{who}")
    refused = ", ".join(f"{count} {verdict}" for verdict, count in sorted(done.refused.items())) or "none"
    paper.print(f"  stored {done.stored}, there already {done.duplicates}, refused {refused}")
    if done.breaks:
        paper.print(f"  {paper.paint('chain break', 'bad')}: {done.breaks} links do not hold")
    for stream, standing in chains:
        missing = shown(standing.holes, _SHOWN_MISSING) or "nothing"
        paper.print(f"  chain {stream.chain.hex()}: through {standing.last}, missing {missing}")
    if done.fault:
        paper.print(f"  {paper.paint('fault', 'bad')}: {done.fault}")
    sys.stdout.flush()

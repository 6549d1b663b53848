"""`edge-agent receive --import`: what a technician carried home goes into the ledger, without a broker."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.cli.render import Paper, counted
from edge_agent.errors import ExitCode
from edge_agent.sanitize import printable

if TYPE_CHECKING:
    from edge_agent.cloud.base import Standing, Stream
    from edge_agent.cloud.carry_home import Imported

_SHOWN_MISSING = 6
_SHOWN_CHAINS = 8


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
        "verdicts": dict(done.verdicts),
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
    verdict = "OK, all of it is in the ledger" if done.is_good else "PROBLEM, " + "; ".join(_troubles(done))
    paper.wrapped(f"{printable(str(path), limit=160)}: {verdict}", kind="good" if done.is_good else "bad")
    paper.print()
    who = "" if done.header is None else f" of {done.header.fleet}/{done.header.terminal}"
    stored = f"{done.stored} ({_listed(done.verdicts)})" if done.stored else "0"
    refused = _listed(done.refused) or "none"
    rows = [
        ("held", f"{counted(done.tokens, 'token')} and {counted(done.records, 'record')}{who}"),
        ("kept", f"stored {stored}, there already {done.duplicates}, refused {refused}"),
    ]
    for stream, standing in chains[:_SHOWN_CHAINS]:
        missing = shown(standing.holes, _SHOWN_MISSING) or "nothing"
        rows.append(("chain", f"{stream.chain.hex()}: through {standing.last}, missing {missing}"))
    if len(chains) > _SHOWN_CHAINS:
        rows.append(("", f"and {counted(len(chains) - _SHOWN_CHAINS, 'chain')} more: --json lists all"))
    paper.fields(rows)
    paper.print()
    paper.wrapped(f"Next: {_next_step(done, missing=any(standing.holes for _, standing in chains))}")
    paper.print()
    sys.stdout.flush()


def _listed(counts: "Counter[str]") -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def _troubles(done: "Imported") -> Iterator[str]:
    if done.fault:
        yield done.fault
    if done.breaks:
        yield f"{counted(done.breaks, 'link')} of the chain do not hold"
    if done.refused:
        yield f"{counted(sum(done.refused.values()), 'item')} refused"


def _next_step(done: "Imported", *, missing: bool) -> str:
    if done.header is None:
        return "see that this is the file that `edge-agent outbox export` wrote."
    if done.fault:
        return "export it once more, on another stick; what was read of this file is kept."
    if done.refused["unknown_key"]:
        return "put the terminal's key into the registry (edge-agent keys show --json), and import it again."
    if done.refused or done.breaks:
        return "look into the ledger's tables evidence and withheld: a key was revoked, or somebody cloned something."
    if missing:
        return "what is missing may still be in the terminal or come over the network: see again when it is online."
    return "nothing to do."
